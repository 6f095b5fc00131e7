//! The streams that had the stream's name, one after the other, and what a history calls their shards: the ids of shards begin anew in
//! each.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::ShardContext;
use kcl_local::dynamodb::DynamoDb;

use crate::fleet::APPLICATION;
use crate::history::Name;
use crate::table::Table;

/// All of them. Clones are the same ones.
#[derive(Clone)]
pub struct Streams {
    state: Arc<Mutex<State>>,
}

struct State {
    table: Table,
    /// When each was created, in seconds since 1970.
    created: Vec<u64>,
    /// Whether one of them was deleted.
    was_deleted: bool,
    /// The one that the leases are of, as the table said when it was looked at last.
    recorded: usize,
}

impl Streams {
    /// No stream yet; the leases are in this DynamoDB, perhaps with those of others.
    pub fn new(dynamodb: &DynamoDb, are_several: bool) -> Self {
        let state = State {
            table: Table::new(dynamodb, APPLICATION).of_several(are_several),
            created: Vec::new(),
            was_deleted: false,
            recorded: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream was created.
    pub fn begin(&self, created: u64) {
        self.state().created.push(created);
    }

    /// The stream was deleted.
    pub fn end(&self) {
        self.state().was_deleted = true;
    }

    /// Whether a stream was deleted.
    pub fn was_deleted(&self) -> bool {
        self.state().was_deleted
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.state().created.len()
    }

    /// Whether the leases are of the stream that is there now.
    pub fn is_recorded(&self) -> bool {
        let state = self.state();
        state.recorded + 1 == state.created.len().max(1)
    }

    /// The leases are of the stream that was created then, as the table says.
    pub fn record(&self, created: u64) {
        let mut state = self.state();
        if let Some(stream) = state.stream(created) {
            state.recorded = stream;
        }
    }

    /// The key of a shard's lease, by which workers know it.
    pub fn key_of(&self, shard: &str) -> String {
        self.state().table.key_of(shard).into_owned()
    }

    /// What a shard of the present stream is called.
    pub fn name(&self, shard: &str) -> Name {
        name(shard, self.count().saturating_sub(1))
    }

    /// What the shard of a lease is called that is in the table now.
    pub fn name_of_row(&self, shard: &str) -> Name {
        name(shard, self.state().recorded)
    }

    /// What the shard of a lease is called that was set aside with the stream that was created then.
    pub fn name_of_kept(&self, shard: &str, created: u64) -> Name {
        let stream = self.state().stream(created);
        name(shard, stream.unwrap_or(usize::MAX - 1))
    }

    /// What the shard is called that a worker begins to process. The table may say by now that the leases are of another stream
    /// than the one whose lease it acquired: then the lease is not in the table any more.
    pub fn name_of_acquired(&self, worker: &str, shard: &ShardContext) -> Name {
        let state = self.state();
        let id = shard.shard_id.to_string();
        if state.created.len() < 2 {
            return id.into();
        }
        let recorded = state.table.recorded().and_then(|created| state.stream(created));
        let recorded = recorded.unwrap_or(state.recorded);
        let lease = state.table.item(&id).and_then(|item| item.into_lease());
        let is_it = lease.is_some_and(|lease| {
            lease.actual_owner() == Some(worker) && lease.counter >= shard.fencing_token.get()
        });
        if is_it {
            name(&id, recorded)
        } else {
            format!("{id} of a lease that is gone").into()
        }
    }
}

impl State {
    fn stream(&self, created: u64) -> Option<usize> {
        self.created.iter().position(|it| *it == created)
    }
}

/// The first stream's shards are called what they are called.
fn name(shard: &str, stream: usize) -> Name {
    match stream {
        0 => shard.into(),
        _ => format!("{shard} of stream {}", stream + 1).into(),
    }
}

/// The id by which workers know a shard of that name.
pub(crate) fn shard_id(name: &str) -> &str {
    name.split_once(" of ").map_or(name, |(id, _)| id)
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("created", &self.state().created)
            .finish_non_exhaustive()
    }
}
