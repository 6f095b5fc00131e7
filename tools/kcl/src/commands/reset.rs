//! `kcl reset`: lets shards be processed anew from another position, while no worker runs.

mod seek;

use std::collections::{BTreeMap, BTreeSet};

use aws_types::SdkConfig;
use kcl_core::reading::{ListedShard, StreamReader};
use kcl_lease::{Checkpoint, Lease, LeaseChange, LeaseKey};

use self::seek::{Place, before};
use super::changing::{Intent, Outcome, carry_out, refuse_strange_rows, refuse_strangers};
use super::lag::{kinesis, shard_of};
use super::moving::find;
use crate::arguments::{ResetArguments, Target};
use crate::failure::{Failure, Status};
use crate::screen::{Screen, count, date};
use crate::table::{Evidence, Look, Table, watch};

pub(super) async fn run(
    table: &Table,
    sdk: &SdkConfig,
    arguments: &ResetArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    refuse_strangers(table).await?;
    let first = table.look().await?;
    refuse_strange_rows(&first)?;
    let chosen = chosen(&first, arguments)?;
    if matches!(arguments.to, Target::Behind(_)) && chosen.len() != 1 {
        return Err(Failure::Usage(
            "a position is one of a single shard: name that shard alone".to_owned(),
        ));
    }
    let (places, mut remarks) = places(table, sdk, arguments, &first, &chosen).await?;
    // It is looked last who is at work, so that little time passes until the writes.
    let watched = watch(table, &arguments.watching, screen).await?;
    refuse_strange_rows(&watched.last)?;
    refuse_workers(&watched.evidence)?;
    let mut intents = Vec::new();
    for key in &chosen {
        let Some(lease) = watched.last.lease(key) else {
            return Err(Failure::Refused(format!(
                "the lease {key} was deleted meanwhile: look again"
            )));
        };
        if let Some(intent) = places.get(key).and_then(|checkpoint| intent(lease, checkpoint)) {
            intents.push(intent);
        }
    }
    remarks.extend(remarks_on(&watched.last, &intents));
    match carry_out(table, intents, &remarks, &arguments.changing, screen).await? {
        Outcome::Declined => Ok(Status::Declined),
        _ => Ok(Status::Fine),
    }
}

/// The keys of the leases that are meant.
fn chosen(look: &Look, arguments: &ResetArguments) -> Result<Vec<LeaseKey>, Failure> {
    if arguments.all {
        return Ok(look
            .snapshot
            .leases
            .iter()
            .map(|lease| lease.key.clone())
            .collect());
    }
    if let Some(stream) = &arguments.stream_only {
        let is_of = |lease: &&Lease| {
            let named = lease.stream_shard.as_ref().map(|named| named.stream.as_str());
            named.is_some_and(|named| named == stream || named.split(':').nth(1) == Some(stream))
        };
        let keys: Vec<_> = look
            .snapshot
            .leases
            .iter()
            .filter(is_of)
            .map(|lease| lease.key.clone())
            .collect();
        return match keys.is_empty() {
            false => Ok(keys),
            true => Err(Failure::Refused(format!(
                "no lease of the table names the stream {stream}; in a table of a single stream, say --all"
            ))),
        };
    }
    // Who is named twice is meant once.
    let keys: BTreeSet<&LeaseKey> = arguments.shards.iter().collect();
    keys.into_iter()
        .map(|key| find(look, key).map(|lease| lease.key.clone()))
        .collect()
}

/// The checkpoint of each lease that is to have another one.
async fn places(
    table: &Table,
    sdk: &SdkConfig,
    arguments: &ResetArguments,
    look: &Look,
    chosen: &[LeaseKey],
) -> Result<(BTreeMap<LeaseKey, Checkpoint>, Vec<String>), Failure> {
    let mut places = BTreeMap::new();
    let mut remarks = Vec::new();
    match &arguments.to {
        Target::Beginning => {
            places.extend(chosen.iter().map(|key| (key.clone(), Checkpoint::TrimHorizon)));
        }
        Target::Latest => {
            // What is processed to its end has nothing newer.
            let open = chosen
                .iter()
                .filter(|key| look.lease(key).is_some_and(|lease| !lease.has_ended()));
            places.extend(open.map(|key| (key.clone(), Checkpoint::Latest)));
            remarks.push(
                "Records that are put before the workers start are skipped, too: LATEST is where they begin."
                    .to_owned(),
            );
        }
        Target::Behind(position) => {
            let shards = listed(table, sdk, arguments).await;
            for key in chosen {
                let lease = find(look, key)?;
                match &shards {
                    Ok((name, shards, _)) => {
                        let shard = shard_of(lease, name).and_then(|id| shards.get(id));
                        if shard.is_some_and(|shard| !shard.may_hold(&position.sequence)) {
                            return Err(Failure::Refused(format!(
                                "{position} cannot lie in {key}: it is outside of the shard's numbers"
                            )));
                        }
                    }
                    Err(failure) => {
                        remarks.push(format!(
                            "It was not checked whether the position lies in the shard: {failure}."
                        ));
                    }
                }
                places.insert(key.clone(), Checkpoint::At(position.clone()));
            }
        }
        Target::Time(moment) => {
            let time = moment.time(look.at);
            if time > look.at {
                return Err(Failure::Usage(format!("{} has not come yet", date(time))));
            }
            let (name, shards, reader) = listed(table, sdk, arguments).await?;
            let (mut gone, mut found) = (0, 0);
            for key in chosen {
                let lease = find(look, key)?;
                let Some(shard) = shard_of(lease, &name).and_then(|id| shards.get(id)) else {
                    gone += 1;
                    continue;
                };
                found += 1;
                match before(&reader, shard, time).await? {
                    Place::Behind(position) => places.insert(key.clone(), Checkpoint::At(position)),
                    Place::Beginning => places.insert(key.clone(), Checkpoint::TrimHorizon),
                    Place::End if lease.has_ended() => None,
                    Place::End => places.insert(key.clone(), Checkpoint::TrimHorizon),
                };
            }
            if found == 0 && !chosen.is_empty() {
                return Err(Failure::Refused(format!(
                    "none of these shards is in the stream {name}: name the right one with --stream"
                )));
            }
            if gone > 0 {
                remarks.push(format!(
                    "{} not in the stream {name} (any more), and left as they are.",
                    count(gone, "shard")
                ));
            }
            remarks.push(format!(
                "Processing begins with the first records that Kinesis received at {} or later.",
                date(time)
            ));
        }
    }
    Ok((places, remarks))
}

type Listed = (String, BTreeMap<String, ListedShard>, StreamReader);

/// The stream's name, its shards, and a reader of it.
async fn listed(table: &Table, sdk: &SdkConfig, arguments: &ResetArguments) -> Result<Listed, Failure> {
    let stream = table.stream(arguments.stream.as_ref()).await?;
    let name = stream.name().to_owned();
    let reader = StreamReader::new(kinesis(sdk), stream).whole();
    let shards = reader.shards().await?;
    let shards = shards
        .into_iter()
        .map(|shard| (shard.id.as_str().to_owned(), shard));
    Ok((name, shards.collect(), reader))
}

/// The owners of leases would overwrite what is reset, or process what is not theirs any more.
fn refuse_workers(evidence: &Evidence) -> Result<(), Failure> {
    if evidence.is_none() {
        return Ok(());
    }
    let living = evidence.living.iter().map(|(id, how)| format!("{id} ({how})"));
    let mut signs: Vec<_> = living.take(5).collect();
    if signs.is_empty() && evidence.lock_moved {
        signs.push("somebody refreshed the leader's lock".to_owned());
    }
    if signs.is_empty() {
        let keys = evidence
            .written
            .iter()
            .map(|key| format!("the lease of {key} was written"));
        signs.extend(keys.take(5));
    }
    Err(Failure::Refused(format!(
        "nothing is reset while workers run: {}. Stop the application first; a Java worker that has stopped counts as running for a minute",
        signs.join(", ")
    )))
}

fn intent(lease: &Lease, to: &Checkpoint) -> Option<Intent> {
    let is_there = lease.checkpoint == *to
        && lease.reading_since.is_none()
        && lease.pending_checkpoint.is_none()
        && lease.owner.is_none();
    (!is_there).then(|| Intent {
        seen: lease.clone(),
        change: LeaseChange::Reset {
            checkpoint: to.clone(),
        },
        what: format!("from {} to {to}, and without owner", lease.checkpoint),
    })
}

/// What else an operator should know.
fn remarks_on(look: &Look, intents: &[Intent]) -> Vec<String> {
    let mut remarks = Vec::new();
    let is_reopened = |intent: &&Intent| {
        let ends = matches!(
            &intent.change,
            LeaseChange::Reset {
                checkpoint: Checkpoint::ShardEnd
            }
        );
        intent.seen.has_ended() && !ends
    };
    let reopened: Vec<_> = intents
        .iter()
        .filter(is_reopened)
        .map(|it| &it.seen.key)
        .collect();
    let is_reset = |lease: &Lease| intents.iter().any(|intent| intent.seen.key == lease.key);
    let children = look.snapshot.leases.iter().filter(|lease| {
        let is_child = lease
            .parents
            .iter()
            .any(|parent| reopened.iter().any(|key| key.as_str() == parent));
        is_child && !is_reset(lease)
    });
    let children = children.count();
    if children > 0 {
        remarks.push(format!(
            "Shards that follow those, and are not reset: {children}. They wait until these are processed to their ends again, and go on \
             where they were."
        ));
    }
    if !intents.is_empty() && !look.snapshot.leases.iter().any(Lease::has_ended) {
        let has_children = look.snapshot.leases.iter().any(|lease| !lease.parents.is_empty());
        if has_children {
            remarks.push(
                "Shards whose leases were deleted after they were processed to their ends are not processed again. To have these too, \
                 delete the table and start with another initial position."
                    .to_owned(),
            );
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_not_written_and_what_has_ended_may_be_opened_again() {
        let fresh = Lease::new("s0", Checkpoint::TrimHorizon);
        assert_eq!(intent(&fresh, &Checkpoint::TrimHorizon), None);
        let mut begun = Lease::new("s0", Checkpoint::Latest);
        begun.reading_since = Some(5);
        assert!(intent(&begun, &Checkpoint::Latest).is_some(), "it began long ago");
        let ended = Lease::new("s0", Checkpoint::ShardEnd);
        let child = Lease::new("s1", Checkpoint::TrimHorizon).with_parents(["s0"]);
        let look = Look {
            snapshot: kcl_lease::TableSnapshot::new(vec![ended.clone(), child], Vec::new()),
            lock: Ok(None),
            at: std::time::UNIX_EPOCH,
        };
        let intents = vec![intent(&ended, &Checkpoint::TrimHorizon).expect("written")];
        let remarks = remarks_on(&look, &intents);
        assert!(
            remarks[0].starts_with("Shards that follow those, and are not reset: 1."),
            "{remarks:?}"
        );
    }
}
