//! What every source of a shard's records can do.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use kcl_lease::SequenceNumber;

use crate::aws::CallError;
use crate::memory::Wish;
use crate::record::Record;
use crate::stream::{Child, StartingPosition};

/// Brings the records of one shard, page after page, as Kinesis has them.
///
/// A feed knows nothing of checkpoints, of what was delivered before, or of records that are missing: that is the reader's part. It
/// knows how its source is asked, how much to ask for, and how often.
#[async_trait]
pub(crate) trait Feed: Debug + Send + Sync {
    /// Whether the next page continues behind the last one. If not, the feed has to be opened first.
    fn is_open(&self) -> bool;

    /// Waits until there is something to bring, as far as the source tells that without being asked. Only an open feed is waited for.
    async fn ready(&mut self) -> Result<(), CallError>;

    /// For how long it may be left waiting with what it holds, if it holds anything while no page is asked for.
    fn patience(&self) -> Option<Duration>;

    /// Nobody will ask for the next page for a while: lets go of what is held meanwhile.
    fn rest(&mut self);

    /// Begins at a position. Tells the time at the service, if the service told it.
    async fn open(&mut self, at: &StartingPosition) -> Result<Option<SystemTime>, CallError>;

    /// Forgets where it is.
    fn close(&mut self);

    /// The next page, which brings nothing if there is nothing to bring yet. A feed that cannot go on from where it is after a
    /// failure is closed by it.
    async fn next(&mut self, room: Room) -> Result<Page, CallError>;

    /// The memory that the next page needs. `usual_record` is what a record takes in other shards.
    fn wish(&self, usual_record: Option<u64>) -> Wish;

    /// What a record takes in this shard, in bytes, once one was read.
    fn usual_record(&self) -> Option<u64>;

    /// How long to wait after the source said that it was asked for too much.
    fn throttled(&mut self) -> Duration;

    /// The number of the oldest record that is left in the shard, if there is one.
    async fn oldest(&self) -> Result<Option<SequenceNumber>, CallError>;
}

/// Consecutive records of a shard, and what the source says of the shard.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    /// `None` when the source did not say.
    pub(crate) millis_behind_latest: Option<u64>,
    /// At the end of the shard: the shards that follow, as far as the source names them.
    pub(crate) end: Option<Vec<Child>>,
    /// The bytes of which all records are slices, if they are: whoever holds one of them holds all of it.
    pub(crate) block: Option<u64>,
    /// When the next page may be asked for.
    pub(crate) pause: Pause,
}

/// When the next page may be asked for: not before either has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pause {
    /// Since the last one was asked for.
    pub(crate) after_asking: Duration,
    /// Since it came.
    pub(crate) after_answer: Duration,
}

/// The memory that a page may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    /// What a record takes in other shards, if any of them knows.
    pub(crate) usual_record: Option<u64>,
}
