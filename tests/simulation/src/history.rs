//! What happened in a world, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::{Checkpoint, ExtendedSequenceNumber, SequenceNumber, ShardState};
use tokio::time::Instant;

use crate::damage::Damage;
use crate::edits::Edit;
use crate::load::Machine;
use crate::oracle::{Oracle, Violation};
use crate::policies::Policy;
use crate::singles::Limits;

/// A shared name: of a worker's life, a shard or a key.
pub type Name = Arc<str>;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Virtual time since the world began.
    pub at: Duration,
    /// The worker's life (`w3`, or `w3.2` when it lives again under its old id) that it happened to, or `world`.
    pub who: Name,
    /// What it was.
    pub what: What,
}

/// One processor's ownership of one shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ownership {
    /// The shard.
    pub shard: Name,
    /// The fencing token.
    pub token: u64,
}

/// What a status says of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The shard.
    pub shard: Name,
    /// What its consumer does.
    pub state: ShardState,
    /// Whether it gets no further.
    pub stalls: bool,
}

/// A record that is handled beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Single {
    /// Its place in the shard.
    pub position: ExtendedSequenceNumber,
    /// Records of one lane are handled in order, one at a time.
    pub lane: Option<Name>,
    /// Whether no handler can take it.
    pub is_unreadable: bool,
}

/// A row of the lease table, as far as the rules are about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `leaseOwner`: during a hand-off, the next owner.
    pub owner: Option<String>,
    /// `checkpointOwner`: during a hand-off, the one that still processes.
    pub checkpoint_owner: Option<String>,
    /// `leaseCounter`.
    pub counter: u64,
    /// `checkpoint`.
    pub checkpoint: Checkpoint,
    /// `rewindTo`: it is to be processed anew from there.
    pub rewind_to: Option<Checkpoint>,
}

impl Row {
    /// Whether the shard is processed to its end, and not to be processed anew.
    pub fn has_ended(&self) -> bool {
        self.checkpoint.is_shard_end() && self.rewind_to.is_none()
    }

    /// What the row may say a moment later: an order to process the shard anew may be carried out.
    pub fn furthest_back(&self) -> Checkpoint {
        let order = self.rewind_to.iter().chain([&self.checkpoint]);
        order.min().unwrap_or(&self.checkpoint).clone()
    }

    /// Who may process.
    pub fn actual_owner(&self) -> Option<&str> {
        self.checkpoint_owner.as_deref().or(self.owner.as_deref())
    }
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The stream has a new shard.
    ShardOpened {
        /// The shard.
        shard: Name,
        /// The shards that it came from.
        parents: Vec<Name>,
    },
    /// A record was put, and acknowledged: one of Kinesis, or a user record of an aggregate that went to the user record's shard.
    Put {
        /// Its partition key.
        key: Name,
        /// The key's counter, from 0.
        counter: u64,
        /// Where it was stored.
        shard: Name,
        /// Its place in the shard.
        position: ExtendedSequenceNumber,
    },
    /// Records of Kinesis have arrived at a worker, with their bytes.
    Read {
        /// Their numbers.
        records: Vec<(SequenceNumber, u64)>,
    },
    /// A worker may hold so much of its stream.
    Bounded {
        /// In bytes.
        bytes: u64,
    },
    /// A processor was initialized.
    Initialized {
        /// Whose.
        of: Ownership,
    },
    /// `process_records` was called.
    BatchBegan {
        /// Whose.
        of: Ownership,
        /// Tells calls apart.
        call: u64,
        /// Whether the lease was valid at that moment.
        is_valid: bool,
        /// The number of records.
        records: usize,
    },
    /// A record that no processor can take is put next.
    PutUnreadable {
        /// The partition key.
        key: Name,
        /// The key's counter.
        counter: u64,
        /// Whether it is to become a dead letter; else it may be skipped.
        is_kept: bool,
    },
    /// A record was written to the dead letters.
    DeadLettered {
        /// The partition key.
        key: Name,
        /// The key's counter.
        counter: u64,
        /// Its place in the shard.
        position: ExtendedSequenceNumber,
    },
    /// A call failed, and told with which record: it is done with all before that.
    Named {
        /// Whose.
        of: Ownership,
        /// The record's place.
        position: ExtendedSequenceNumber,
    },
    /// The processor took a record's effects.
    Delivered {
        /// Whose.
        of: Ownership,
        /// The partition key.
        key: Name,
        /// The key's counter.
        counter: u64,
        /// Its place in the shard.
        position: ExtendedSequenceNumber,
    },
    /// `process_records` returned, panicked or was cut short by the death of the worker.
    BatchEnded {
        /// Whose.
        of: Ownership,
        /// Tells calls apart.
        call: u64,
        /// Whether it returned `Ok`.
        is_ok: bool,
    },
    /// The lease table did not take a checkpoint that a processor made, in a call or beside it.
    CheckpointRefused {
        /// Whose.
        of: Ownership,
    },
    /// Nothing is to be delivered from now on.
    Paused {
        /// Of this shard; of none that the worker has, if it is not given.
        shard: Option<Name>,
    },
    /// That is over.
    Resumed {
        /// As it was paused.
        shard: Option<Name>,
    },
    /// The lease of a shard says that nothing of it is to be delivered, whoever has it.
    PausedForAll {
        /// The shard.
        shard: Name,
    },
    /// From now on whoever has it is asked to resume it.
    ResumedForAll {
        /// The shard.
        shard: Name,
    },
    /// A worker is told what to do with what keeps failing.
    Resorts {
        /// That.
        policy: Policy,
    },
    /// A worker has ended, since records kept failing.
    StoppedByPolicy {
        /// Their shard.
        shard: Name,
    },
    /// A worker is to tell of shards that get no further.
    TellsStalls {
        /// For so long.
        after: Duration,
    },
    /// A worker's hook was told that a shard gets no further, or does again.
    StallTold {
        /// The shard.
        shard: Name,
        /// Whether it stalls.
        stalls: bool,
    },
    /// What a worker's status says of its shards.
    Shown {
        /// One by one.
        shards: Vec<Shown>,
    },
    /// A worker handles records beside each other.
    HandlesSingly {
        /// As many of them as this says.
        limits: Limits,
    },
    /// `process_records` was called with these, to be handled beside each other.
    Given {
        /// Whose.
        of: Ownership,
        /// The records, in order.
        records: Vec<Single>,
    },
    /// The handler of one record was called.
    RecordBegan {
        /// Whose.
        of: Ownership,
        /// Tells calls apart.
        call: u64,
        /// The record's place.
        position: ExtendedSequenceNumber,
        /// Whether the lease was valid at that moment.
        is_valid: bool,
    },
    /// The handler of one record returned, or panicked. Those of a worker that is killed say nothing any more.
    RecordEnded {
        /// Whose.
        of: Ownership,
        /// Tells calls apart.
        call: u64,
        /// Whether it returned `Ok`.
        is_ok: bool,
    },
    /// A checkpoint was acknowledged.
    Checkpointed {
        /// Whose.
        of: Ownership,
        /// Where.
        to: Checkpoint,
    },
    /// The library accepted what it must refuse.
    Misled(String),
    /// The library said that records of a shard may have been trimmed before they were read.
    GapReported {
        /// Whose.
        of: Ownership,
        /// The last record read before the gap.
        after: Option<SequenceNumber>,
        /// The first record behind it; `None` at the end of the shard.
        before: Option<SequenceNumber>,
    },
    /// The processor was told that the lease is lost.
    LeaseLost {
        /// Whose.
        of: Ownership,
    },
    /// The processor was told that the shard ended, and agreed.
    ShardEnded {
        /// Whose.
        of: Ownership,
    },
    /// The processor was told to shut down.
    ShutdownRequested {
        /// Whose.
        of: Ownership,
    },
    /// A processor believes that it owns a shard that is somebody else's, as its row says.
    Mistaken {
        /// The shard.
        shard: Name,
        /// Whom the row names.
        owner: Option<String>,
    },
    /// More than one processor believes that it owns the shard.
    SeveralValid {
        /// The shard.
        shard: Name,
        /// Lives and tokens.
        holders: Vec<String>,
    },
    /// A row of the table is new or changed.
    Row {
        /// The shard.
        shard: Name,
        /// The row.
        row: Row,
    },
    /// A row is gone.
    RowGone {
        /// The shard.
        shard: Name,
    },
    /// A second process was started under the id of a worker that lives.
    NameTaken {
        /// The worker id.
        id: String,
        /// The leases that its first process holds.
        shards: Vec<Name>,
    },
    /// An operator deleted a lease's row.
    RowDeletedByHand {
        /// The shard.
        shard: Name,
    },
    /// An operator deleted the whole table, and what workers said of themselves with it.
    TableDeleted,
    /// The operator changed a row.
    RowEditedByHand {
        /// The shard.
        shard: Name,
        /// What was changed.
        edit: Edit,
        /// The row as it is now.
        row: Row,
    },
    /// The stream was deleted, and its records with it. Another one will have its name.
    StreamDeleted {
        /// Its shards.
        shards: Vec<Name>,
    },
    /// A lease that was set aside is in the table, at the end.
    Kept {
        /// The shard.
        shard: Name,
        /// How far it was processed.
        checkpoint: Checkpoint,
    },
    /// A closed shard has left the stream, and its records with it.
    ShardGone {
        /// The shard.
        shard: Name,
    },
    /// The operator made a row unreadable.
    RowDamaged {
        /// The shard.
        shard: Name,
        /// How.
        damage: Damage,
    },
    /// The operator brought back what the row was, unless its owner had mended it.
    RowMended {
        /// The shard.
        shard: Name,
    },
    /// Every record that a shard held was trimmed.
    Trimmed {
        /// The shard.
        shard: Name,
    },
    /// A worker is cut off, slow or frozen from now on, or one time more.
    Impaired,
    /// One such trouble of it is over.
    Recovered,
    /// A worker that is in trouble may not read shards from now on.
    Denied,
    /// It may again.
    Allowed,
    /// A worker that is in trouble may not query the owner index from now on.
    IndexDenied,
    /// It may again.
    IndexAllowed,
    /// A worker is in trouble only in that its processors, and its reads, stand still; it can reach the table.
    StandsStill,
    /// They go on.
    MovesOn,
    /// What a worker asked of DynamoDB lately.
    Spent {
        /// For how long.
        over: Duration,
        /// Requests, with those that the SDK repeated.
        requests: u64,
        /// How many of them met a fault.
        faults: u64,
    },
    /// A worker starts.
    Started {
        /// Under this id.
        id: String,
        /// How long it keeps its leases when it is silent.
        failover: Duration,
    },
    /// A worker was killed without warning.
    Killed {
        /// Its id.
        id: String,
    },
    /// A worker leaves by itself, because its stream was made anew.
    LeavesByItself {
        /// Its id.
        id: String,
    },
    /// A worker was told to stop.
    Stopping {
        /// Its id.
        id: String,
    },
    /// A worker that was told to stop is gone.
    Stopped {
        /// Its id.
        id: String,
        /// Leases that name it still.
        owned: Vec<String>,
        /// Whether its own row is still there.
        has_row: bool,
        /// Whether it had come so far as to have one.
        had_joined: bool,
        /// Requests of it that met a fault since it was told to stop.
        faults: u64,
    },
    /// A process ended because another one was started under its id.
    GaveWay {
        /// The id.
        id: String,
    },
    /// A worker ended and nobody asked it to.
    Ended {
        /// Why.
        reason: String,
    },
    /// Something was done to a worker, the network or the stream.
    Disturbed(String),
    /// A script waited in vain for what it needs to go on.
    Unplayable {
        /// What.
        waited_for: String,
    },
    /// What a script expects was not so.
    Unmet {
        /// The expectation, as a sentence.
        expectation: &'static str,
        /// What was seen.
        seen: String,
    },
    /// From here on nothing is disturbed any more.
    Healed,
    /// Everything is as it should be, but perhaps for who has which lease; nobody joins or leaves until it is `Weighed`.
    Calm {
        /// What the workers run on, by their ids.
        machines: BTreeMap<String, Machine>,
        /// A record per second, in millionths of an ordinary machine's capacity.
        record: u64,
        /// The operating range of every worker, in percent.
        max_utilization: u8,
    },
    /// The leases had time to be spread by load.
    Weighed,
    /// The fleet has come to rest.
    Settled,
    /// The fleet did not come to rest in time.
    Unsettled {
        /// What is not as it should be.
        because: Vec<String>,
    },
}

#[derive(Debug)]
struct Books {
    events: Vec<Event>,
    oracle: Oracle,
    violations: Vec<Violation>,
}

/// The account of a world; the oracle sees each event as it is written. Clones share it.
#[derive(Clone)]
pub struct History {
    origin: Instant,
    books: Arc<Mutex<Books>>,
}

impl History {
    /// An empty history that begins now.
    pub fn new(oracle: Oracle) -> Self {
        let books = Books {
            events: Vec::new(),
            oracle,
            violations: Vec::new(),
        };
        Self {
            origin: Instant::now(),
            books: Arc::new(Mutex::new(books)),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event down.
    pub fn record(&self, who: &Name, what: What) {
        let event = Event {
            at: self.origin.elapsed(),
            who: who.clone(),
            what,
        };
        let mut books = self.books();
        let found = books.oracle.see(&event);
        books.events.push(event);
        books.violations.extend(found);
    }

    /// How long the world has existed.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Whether a rule was broken.
    pub fn is_violated(&self) -> bool {
        !self.books().violations.is_empty()
    }

    /// Whether something happened, at this time or later.
    pub fn has_since(&self, time: Duration, is_it: impl Fn(&Event) -> bool) -> bool {
        let books = self.books();
        let mut late = books.events.iter().rev().take_while(|event| event.at >= time);
        late.any(is_it)
    }

    /// Looks at everything so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.books().events)
    }

    /// How many records were put and not processed so far.
    pub fn unprocessed(&self) -> usize {
        self.books().oracle.unprocessed()
    }

    /// Everything, at the end.
    pub fn take(&self) -> (Vec<Event>, Vec<Violation>) {
        let mut books = self.books();
        (
            std::mem::take(&mut books.events),
            std::mem::take(&mut books.violations),
        )
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}
