//! Reads a stream without an application: no leases, no checkpoints, no buffer.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use kcl_lease::{Checkpoint, Environment, ExtendedSequenceNumber, HashRange, SequenceNumber};
use tokio::time::{Instant, sleep, sleep_until};

use super::cursor::Cursor;
use super::inquiry::Inquiry;
use super::read_error::ReadError;
use super::reader::{ShardReader, Start};
use super::unpacking::Unpacking;
use crate::config::{InitialPosition, RetrievalOptions, ShardId, Stream};
use crate::record::RecordBatch;
use crate::retry::Retry;
use crate::source::{Room, Source};
use crate::stream::{Shard, ShardProblems, StreamClient};

/// What one read may bring at most, in bytes.
const ROOM: u64 = 16 << 20;
/// So many failures in a row that may pass are repeated.
const ATTEMPTS: u32 = 6;

/// Reads the shards of a stream by polling, outside of any application. It knows no leases and makes no checkpoints, and takes its part of
/// the five reads per second that each shard has for all who poll it.
///
/// ```no_run
/// use kcl_core::Stream;
/// use kcl_core::reading::{ReadFailed, ReadFrom, StreamReader};
///
/// async fn print(client: aws_sdk_kinesis::Client, stream: Stream) -> Result<(), ReadFailed> {
///     let reader = StreamReader::new(client, stream);
///     for shard in reader.shards().await? {
///         let mut reading = reader.read(&shard, ReadFrom::TrimHorizon);
///         while let Some(batch) = reading.next().await? {
///             println!("{}: {} records", shard.id, batch.len());
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct StreamReader {
    stream: StreamClient,
    options: RetrievalOptions,
    env: Environment,
}

/// A shard as Kinesis lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedShard {
    /// Its id.
    pub id: ShardId,
    /// The shards that were split or merged into this one, as far as Kinesis says.
    pub parents: Vec<ShardId>,
    /// The hash keys of its records.
    pub hash_range: HashRange,
    /// No record of the shard has this number; all have greater ones.
    pub starts_at: SequenceNumber,
    /// Once the shard takes no new records: all have smaller numbers than this one.
    pub ends_at: Option<SequenceNumber>,
}

impl ListedShard {
    /// An open shard of all hash keys, for tests of what is made of a listing.
    pub fn open(
        id: impl Into<ShardId>,
        parents: impl IntoIterator<Item = ShardId>,
        starts_at: SequenceNumber,
    ) -> Self {
        Self {
            id: id.into(),
            parents: parents.into_iter().collect(),
            hash_range: HashRange::FULL,
            starts_at,
            ends_at: None,
        }
    }

    /// Whether it takes new records.
    pub fn is_open(&self) -> bool {
        self.ends_at.is_none()
    }

    /// Whether a position can lie in it.
    pub fn may_hold(&self, position: &SequenceNumber) -> bool {
        *position >= self.starts_at && self.ends_at.as_ref().is_none_or(|end| position <= end)
    }
}

impl From<&Shard> for ListedShard {
    fn from(shard: &Shard) -> Self {
        Self {
            id: shard.id.clone(),
            parents: shard.parents.iter().cloned().collect(),
            hash_range: shard.hash_range,
            starts_at: shard.starts_at.clone(),
            ends_at: shard.ends_at.clone(),
        }
    }
}

/// Where the reading of a shard begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFrom {
    /// With the oldest record that is retained.
    TrimHorizon,
    /// With records that are put from now on.
    Latest,
    /// With the first record that arrived at this time or later.
    AtTimestamp(SystemTime),
    /// With the first record, or user record, behind this one.
    After(ExtendedSequenceNumber),
    /// With the record of this number.
    At(SequenceNumber),
}

/// Why a stream cannot be read. Failures that pass were repeated before.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ReadFailed(#[from] ReadError);

impl ReadFailed {
    /// Stable name of what is wrong, such as `stream-not-found` or `reads-denied`.
    pub fn code(&self) -> &'static str {
        self.0.code()
    }
}

impl StreamReader {
    /// A reader of this stream, which takes aggregates apart.
    pub fn new(client: Client, stream: Stream) -> Self {
        Self {
            stream: StreamClient::new(client, stream),
            options: RetrievalOptions::default(),
            env: Environment::system(),
        }
    }

    /// Leaves aggregates as they are.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.options.deaggregate = false;
        self
    }

    /// Asks for so many records of a shard at once, 1 to 10,000. Default 10,000.
    #[must_use]
    pub fn max_records(mut self, most: u32) -> Self {
        self.options.max_records = most.clamp(1, 10_000);
        self
    }

    /// Asks each shard so often at most. Default 200 ms, which is all that Kinesis allows.
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.options.min_read_interval = interval;
        self.options.idle_time = self.options.idle_time.max(interval);
        self
    }

    /// The shards of the stream, by id, closed ones included.
    ///
    /// # Errors
    /// The stream cannot be listed.
    pub async fn shards(&self) -> Result<Vec<ListedShard>, ReadFailed> {
        let graph = self.stream.list_shards(None).await.map_err(ReadError::from)?;
        Ok(graph.iter().map(ListedShard::from).collect())
    }

    /// Begins to read a shard.
    pub fn read(&self, shard: &ListedShard, from: ReadFrom) -> ShardReading {
        let (cursor, checkpoint) = from.start();
        let hash_range = Some(shard.hash_range);
        let source = Source {
            stream: self.stream.clone(),
            env: self.env.clone(),
            options: self.options.clone(),
            consumer: None,
            problems: ShardProblems::default(),
        };
        let inquiry = Inquiry {
            shard: shard.id.clone(),
            stream: self.stream.clone(),
            env: self.env.clone(),
            hash_range,
        };
        let start = Start {
            cursor,
            checkpoint,
            hash_range,
        };
        ShardReading {
            reader: ShardReader::new(source.feed(&shard.id), inquiry, start, self.options.deaggregate),
            unpacking: Unpacking::new(hash_range),
            env: self.env.clone(),
            next: Instant::now(),
            has_ended: false,
        }
    }
}

impl ReadFrom {
    fn start(self) -> (Cursor, Checkpoint) {
        let (checkpoint, initial) = match self {
            Self::TrimHorizon => (Checkpoint::TrimHorizon, InitialPosition::TrimHorizon),
            Self::Latest => (Checkpoint::Latest, InitialPosition::Latest),
            Self::AtTimestamp(at) => (Checkpoint::AtTimestamp, InitialPosition::AtTimestamp(at)),
            Self::After(position) => (Checkpoint::At(position), InitialPosition::TrimHorizon),
            Self::At(number) => {
                return (Cursor::at_record(number), Checkpoint::TrimHorizon);
            }
        };
        let cursor = Cursor::from_checkpoint(&checkpoint, initial);
        // Only the end of a shard has none, and that is no place to begin.
        let cursor = cursor.unwrap_or_else(|| Cursor::from_time(SystemTime::UNIX_EPOCH));
        (cursor, checkpoint)
    }
}

/// One shard, read in order.
#[derive(Debug)]
pub struct ShardReading {
    reader: ShardReader,
    unpacking: Unpacking,
    env: Environment,
    /// When the shard may be asked again.
    next: Instant,
    has_ended: bool,
}

impl ShardReading {
    /// The next records, as soon as the shard may be asked; a batch without records if there are none yet, which tells how far behind
    /// the newest record it lies. `None` behind the end of the shard. If the future is dropped, nothing is lost but time.
    ///
    /// # Errors
    /// The shard cannot be read.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, ReadFailed> {
        if self.has_ended {
            return Ok(None);
        }
        let mut retry = Retry::new(
            self.env.clone(),
            Duration::from_millis(200),
            Duration::from_secs(5),
        );
        sleep_until(self.next).await;
        loop {
            let started = Instant::now();
            let room = Room {
                bytes: ROOM,
                usual_record: None,
            };
            let error = match self.reader.read(room).await {
                Ok(reading) => {
                    let pause = reading.pause;
                    self.next = (started + pause.after_asking).max(Instant::now() + pause.after_answer);
                    self.has_ended = reading.end.is_some();
                    let page = RecordBatch::new(
                        reading.records,
                        reading.millis_behind_latest,
                        self.has_ended,
                        self.env.now(),
                    );
                    return Ok(Some(self.unpacked(page.behind(reading.gap))));
                }
                Err(error) => error,
            };
            if error.is_throttling() {
                sleep(self.reader.throttled()).await;
            } else if error.is_transient() && retry.attempts() < ATTEMPTS {
                sleep(retry.pause()).await;
            } else {
                return Err(error.into());
            }
        }
    }

    fn unpacked(&mut self, page: RecordBatch) -> RecordBatch {
        let (is_last, gap) = (page.is_last(), page.gap().cloned());
        let (mut opened, _) = self.unpacking.open(page);
        let mut records = Vec::new();
        while let Some(record) = self.unpacking.next_if(&mut opened, |_| true) {
            records.push(record);
        }
        opened.page().with(records, is_last).behind(gap)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_sdk_kinesis::primitives::Blob;
    use kcl_local::Backend;
    use kcl_local::faults::{Fault, FaultScript, Rule};

    use super::*;

    async fn reader(faults: &Arc<FaultScript>) -> (Backend, Client, StreamReader) {
        let backend = Backend::builder().faults((**faults).clone()).build();
        let client = Client::new(&backend.sdk_config());
        let creation = client.create_stream().stream_name("orders").shard_count(1);
        creation.send().await.expect("created");
        sleep(Duration::from_secs(60)).await;
        let stream = Stream::parse("orders").expect("a name");
        let reader = StreamReader::new(client.clone(), stream);
        (backend, client, reader)
    }

    async fn put(client: &Client, data: impl Into<Vec<u8>>) {
        let record = client.put_record().stream_name("orders").partition_key("k");
        let record = record.data(Blob::new(data.into()));
        record.send().await.expect("put");
    }

    fn texts(batch: &RecordBatch) -> Vec<String> {
        let text = |record: &crate::Record| String::from_utf8_lossy(record.data()).into_owned();
        batch.iter().map(text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_is_read_from_any_place_with_aggregates_taken_apart_and_failures_that_pass_repeated() {
        let faults = Arc::new(FaultScript::new());
        let (_backend, client, reader) = reader(&faults).await;
        put(&client, "a").await;
        let mut aggregator = kcl_aggregation::Aggregator::default();
        for line in ["b", "c"] {
            aggregator
                .push(kcl_aggregation::UserRecord::new("k", line))
                .expect("fits");
        }
        put(&client, aggregator.finish().expect("two").data).await;
        let shard = reader.shards().await.expect("listed").remove(0);
        assert!(shard.is_open());
        for code in ["ProvisionedThroughputExceededException", "InternalFailure"] {
            faults.add(Rule::on("GetRecords").times(1).fault(Fault::respond(400, code)));
        }
        let mut reading = reader.read(&shard, ReadFrom::TrimHorizon);
        let batch = reading.next().await.expect("read").expect("open");
        assert_eq!(texts(&batch), ["a", "b", "c"]);
        let (first, second) = (batch.records()[0].position(), batch.records()[1].position());
        for (from, expected) in [
            (ReadFrom::After(first.clone()), &["b", "c"][..]),
            (ReadFrom::After(second.clone()), &["c"]),
            (ReadFrom::At(second.sequence.clone()), &["b", "c"]),
            (ReadFrom::Latest, &[]),
            (ReadFrom::AtTimestamp(SystemTime::UNIX_EPOCH), &["a", "b", "c"]),
        ] {
            let mut reading = reader.read(&shard, from.clone());
            let batch = reading.next().await.expect("read").expect("open");
            assert_eq!(texts(&batch), expected, "{from:?}");
        }
        let whole = reader.clone().whole();
        let batch = whole.read(&shard, ReadFrom::TrimHorizon).next().await;
        assert_eq!(batch.expect("read").expect("open").len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_told() {
        let faults = Arc::new(FaultScript::new());
        let (_backend, _, reader) = reader(&faults).await;
        let shard = reader.shards().await.expect("listed").remove(0);
        faults.add(Rule::on("GetRecords").fault(Fault::respond(400, "AccessDeniedException")));
        let failed = reader.read(&shard, ReadFrom::TrimHorizon).next().await;
        assert_eq!(failed.expect_err("denied").code(), "reads-denied");
    }
}
