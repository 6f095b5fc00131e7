//! What is done to the stream itself: made, split, merged.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Shard, StreamDescriptionSummary, StreamStatus};
use tokio::time::{Instant, sleep};

use crate::{AnyError, chain};

const PATIENCE: Duration = Duration::from_secs(120);

/// Makes the stream unless it exists; true if it was made.
pub async fn ensure(kinesis: &Client, stream: &str, shards: i32) -> Result<bool, AnyError> {
    let created = kinesis
        .create_stream()
        .stream_name(stream)
        .shard_count(shards)
        .send()
        .await;
    let is_new = match created {
        Ok(_) => true,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_resource_in_use_exception()) =>
        {
            false
        }
        Err(error) => return Err(format!("cannot create {stream}: {}", chain(&error)).into()),
    };
    until_active(kinesis, stream).await?;
    Ok(is_new)
}

/// What tells the stream from another one that had its name before: the name and when it was created. Positions of one stream mean
/// nothing in another.
pub async fn identity(kinesis: &Client, stream: &str) -> Result<String, AnyError> {
    let created = describe(kinesis, stream).await?.stream_creation_timestamp;
    Ok(format!("{stream} {}", created.as_nanos()))
}

/// Splits the open shard with the most hash keys in the middle. Says what it did.
pub async fn split(kinesis: &Client, stream: &str) -> Result<String, AnyError> {
    let shards = list(kinesis, stream).await?;
    let widest = open(&shards)
        .into_iter()
        .max_by_key(|shard| shard.end - shard.start);
    let Some(shard) = widest.filter(|shard| shard.end > shard.start) else {
        return Err(format!("{stream} has no shard that can be split").into());
    };
    let middle = shard.start + (shard.end - shard.start) / 2 + 1;
    let request = kinesis.split_shard().stream_name(stream).shard_to_split(shard.id);
    let request = request.new_starting_hash_key(middle.to_string()).send().await;
    request.map_err(|error| format!("cannot split {}: {}", shard.id, chain(&error)))?;
    until_active(kinesis, stream).await?;
    let shards = list(kinesis, stream).await?;
    let children = children(&shards, shard.id);
    Ok(format!("split {} into {}", shard.id, children.join(" and ")))
}

/// Merges two open shards side by side, those with the fewest hash keys. Says what it did.
pub async fn merge(kinesis: &Client, stream: &str) -> Result<String, AnyError> {
    let shards = list(kinesis, stream).await?;
    let mut open = open(&shards);
    open.sort_by_key(|shard| shard.start);
    let pairs = open
        .windows(2)
        .filter(|pair| pair[0].end.checked_add(1) == Some(pair[1].start));
    // The parts of the split come last: undoing it would show less.
    let Some(pair) = pairs.min_by_key(|pair| {
        (
            pair.iter().filter(|shard| shard.is_child).count(),
            pair[1].end - pair[0].start,
        )
    }) else {
        return Err(format!("{stream} has no two shards that can be merged").into());
    };
    let (left, right) = (pair[0].id, pair[1].id);
    let request = kinesis
        .merge_shards()
        .stream_name(stream)
        .shard_to_merge(left)
        .adjacent_shard_to_merge(right)
        .send()
        .await;
    request.map_err(|error| format!("cannot merge {left} and {right}: {}", chain(&error)))?;
    until_active(kinesis, stream).await?;
    let shards = list(kinesis, stream).await?;
    let children = children(&shards, left);
    Ok(format!(
        "merged {left} and {right} into {}",
        children.join(" and ")
    ))
}

/// An open shard and its hash keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open<'a> {
    id: &'a str,
    start: u128,
    end: u128,
    is_child: bool,
}

fn open(shards: &[Shard]) -> Vec<Open<'_>> {
    let open = shards.iter().filter_map(|shard| {
        let is_open = shard.sequence_number_range()?.ending_sequence_number().is_none();
        let keys = shard.hash_key_range()?;
        let (start, end) = (
            keys.starting_hash_key().parse().ok()?,
            keys.ending_hash_key().parse().ok()?,
        );
        let is_child = shard.parent_shard_id().is_some();
        is_open.then_some(Open {
            id: shard.shard_id(),
            start,
            end,
            is_child,
        })
    });
    open.collect()
}

fn children<'a>(shards: &'a [Shard], parent: &str) -> Vec<&'a str> {
    shards
        .iter()
        .filter(|shard| shard.parent_shard_id() == Some(parent))
        .map(Shard::shard_id)
        .collect()
}

async fn list(kinesis: &Client, stream: &str) -> Result<Vec<Shard>, AnyError> {
    let (mut shards, mut token) = (Vec::new(), None);
    loop {
        let request = kinesis.list_shards();
        // A token stands for the stream as well; both together are refused.
        let request = match token {
            Some(token) => request.next_token(token),
            None => request.stream_name(stream),
        };
        let page = request
            .send()
            .await
            .map_err(|error| format!("cannot list the shards of {stream}: {}", chain(&error)))?;
        shards.extend(page.shards.unwrap_or_default());
        token = page.next_token;
        if token.is_none() {
            return Ok(shards);
        }
    }
}

async fn until_active(kinesis: &Client, stream: &str) -> Result<(), AnyError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match describe(kinesis, stream).await?.stream_status {
            StreamStatus::Active => return Ok(()),
            status if Instant::now() > deadline => {
                return Err(
                    format!("{stream} is still {status:?} after two minutes; try again later").into(),
                );
            }
            _ => sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn describe(kinesis: &Client, stream: &str) -> Result<StreamDescriptionSummary, AnyError> {
    let summary = kinesis.describe_stream_summary().stream_name(stream).send().await;
    let summary = summary.map_err(|error| format!("cannot look at {stream}: {}", chain(&error)))?;
    Ok(summary
        .stream_description_summary
        .ok_or_else(|| format!("Kinesis says nothing of {stream}"))?)
}

#[cfg(test)]
mod tests {
    use kcl_local::Backend;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_split_and_a_merge_leave_the_stream_whole() {
        let kinesis = Client::new(&Backend::start().sdk_config());
        assert!(ensure(&kinesis, "clicks", 4).await.unwrap());
        assert!(!ensure(&kinesis, "clicks", 4).await.unwrap(), "it exists");
        let said = split(&kinesis, "clicks").await.unwrap();
        assert!(
            said.ends_with("into shardId-000000000004 and shardId-000000000005"),
            "{said}"
        );
        let said = merge(&kinesis, "clicks").await.unwrap();
        assert!(said.ends_with("into shardId-000000000006"), "{said}");
        let shards = list(&kinesis, "clicks").await.unwrap();
        let mut open = open(&shards);
        open.sort_by_key(|shard| shard.start);
        assert_eq!((open.len(), open[0].start, open[3].end), (4, 0, u128::MAX));
        assert!(open.windows(2).all(|pair| pair[0].end + 1 == pair[1].start));
        assert_eq!(
            open.iter().filter(|shard| shard.is_child).count(),
            3,
            "the merge took two others than the split"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_shard_cannot_be_merged() {
        let kinesis = Client::new(&Backend::start().sdk_config());
        ensure(&kinesis, "clicks", 1).await.unwrap();
        assert!(merge(&kinesis, "clicks").await.is_err());
        assert!(
            split(&kinesis, "nothing")
                .await
                .unwrap_err()
                .to_string()
                .contains("nothing")
        );
    }
}
