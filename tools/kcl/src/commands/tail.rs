//! `kcl tail`: the records of a stream as JSON lines, without an application.

mod order;

use aws_types::SdkConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_core::reading::{ListedShard, ReadFailed, ReadFrom, StreamReader};
use kcl_core::{Record, RecordBatch};
use kcl_lease::Environment;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::order::Order;
use super::lag::kinesis;
use crate::arguments::{TailArguments, Target};
use crate::failure::{Failure, Status};
use crate::screen::Screen;

/// Batches that wait to be written.
const AHEAD: usize = 4;

/// What a shard's task brings.
enum Brought {
    Batch(String, Box<RecordBatch>),
    /// The shard is read to its end, or to where it ends now.
    Done {
        shard: String,
        has_ended: bool,
    },
    Failed(ReadFailed),
}

pub(super) async fn run(
    sdk: &SdkConfig,
    env: &Environment,
    arguments: &TailArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let reader = StreamReader::new(kinesis(sdk), arguments.stream.clone());
    let reader = if arguments.whole { reader.whole() } else { reader };
    let from = match &arguments.from {
        Target::Beginning => ReadFrom::TrimHorizon,
        Target::Latest => ReadFrom::Latest,
        Target::Time(moment) => ReadFrom::AtTimestamp(moment.time(env.now())),
        Target::Behind(position) => ReadFrom::After(position.clone()),
    };
    let shards = reader.shards().await?;
    let only = arguments.shard.as_deref();
    if only.is_none() && matches!(arguments.from, Target::Behind(_)) {
        return Err(Failure::Usage(
            "a position is one of a single shard: name it with --shard".to_owned(),
        ));
    }
    if let Some(only) = only
        && !shards.iter().any(|shard| shard.id.as_str() == only)
    {
        let ids: Vec<_> = shards.iter().take(10).map(|shard| shard.id.to_string()).collect();
        return Err(Failure::Refused(format!(
            "the stream {} has no shard {only}; it has {}",
            arguments.stream,
            ids.join(", ")
        )));
    }
    let mut order = Order::new(&shards, only, from == ReadFrom::Latest);
    let (sender, mut brought) = mpsc::channel(AHEAD);
    // Dropped with this function, which ends them.
    let mut tasks = JoinSet::new();
    for shard in order.first(&shards) {
        spawn(
            &mut tasks,
            &reader,
            shard,
            from.clone(),
            arguments.no_follow,
            &sender,
        );
    }
    let mut written = 0;
    while order.is_reading() {
        let Some(brought) = brought.recv().await else {
            break;
        };
        match brought {
            Brought::Failed(failure) => return Err(failure.into()),
            Brought::Batch(shard, batch) => {
                if let Some(gap) = batch.gap() {
                    screen.complain(format!(
                        "{shard}: records behind {:?} may have been trimmed",
                        gap.after
                    ))?;
                }
                for record in batch.iter() {
                    if arguments.limit.is_some_and(|limit| written >= limit) {
                        return Ok(Status::Fine);
                    }
                    let line = Written::of(arguments.stream.name(), &shard, record, arguments.base64);
                    screen.report(&line, true)?;
                    written += 1;
                }
                screen.flush()?;
            }
            Brought::Done { shard, has_ended } => {
                order.done(&shard, has_ended);
                if has_ended {
                    let shards = reader.shards().await?;
                    for shard in order.following(&shards) {
                        let from = ReadFrom::TrimHorizon;
                        spawn(&mut tasks, &reader, shard, from, arguments.no_follow, &sender);
                    }
                }
            }
        }
        if arguments.limit.is_some_and(|limit| written >= limit) {
            break;
        }
    }
    Ok(Status::Fine)
}

fn spawn(
    tasks: &mut JoinSet<()>,
    reader: &StreamReader,
    shard: &ListedShard,
    from: ReadFrom,
    stops_at_tip: bool,
    sender: &mpsc::Sender<Brought>,
) {
    let (mut reading, id, sender) = (
        reader.read(shard, from),
        shard.id.as_str().to_owned(),
        sender.clone(),
    );
    tasks.spawn(async move {
        loop {
            let brought = match reading.next().await {
                Err(failure) => Brought::Failed(failure),
                Ok(None) => Brought::Done {
                    shard: id.clone(),
                    has_ended: true,
                },
                Ok(Some(batch)) => {
                    let is_at_tip = batch.millis_behind_latest().unwrap_or(0) == 0 && !batch.is_last();
                    let is_empty = batch.is_empty() && batch.gap().is_none();
                    if !is_empty
                        && sender
                            .send(Brought::Batch(id.clone(), Box::new(batch)))
                            .await
                            .is_err()
                    {
                        return;
                    }
                    if !(is_at_tip && stops_at_tip) {
                        continue;
                    }
                    Brought::Done {
                        shard: id.clone(),
                        has_ended: false,
                    }
                }
            };
            // If nobody listens, nobody wants to know.
            let _ = sender.send(brought).await;
            return;
        }
    });
}

/// A record on a line.
#[derive(Debug, Serialize)]
struct Written<'a> {
    stream: &'a str,
    shard: &'a str,
    sequence_number: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_sequence_number: Option<u64>,
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<&'a str>,
    /// To the millisecond, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<String>,
    /// The payload, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    /// The payload, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Written<'a> {
    fn of(stream: &'a str, shard: &'a str, record: &'a Record, always_base64: bool) -> Self {
        let data = std::str::from_utf8(record.data()).ok().filter(|_| !always_base64);
        Self {
            stream,
            shard,
            sequence_number: record.sequence_number().as_str(),
            sub_sequence_number: record.is_aggregated().then(|| record.sub_sequence_number()),
            partition_key: record.partition_key(),
            explicit_hash_key: record.explicit_hash_key(),
            arrival: record
                .approximate_arrival()
                .map(|at| humantime::format_rfc3339_millis(at).to_string()),
            data,
            data_base64: data.is_none().then(|| STANDARD.encode(record.data())),
        }
    }
}
