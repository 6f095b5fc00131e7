//! The streams of a worker that reads several, as far as it has leases of them or looks after them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kcl_lease::{HeldLease, HeldState, LeaseKey, LeaseWriteError, Problem, StreamIdentity};
use tokio::sync::Notify;

use super::agenda::{Named, naming};
use super::read_stream::{MemberParts, ReadStream, StreamParts};
use super::several::SeveralStreams;
use crate::config::StreamId;
use crate::status::{ShardMonitor, ShardState};

/// What a shard's status says while its stream is not named.
pub(crate) const NOT_NAMED: &str =
    "its stream is not among those that this worker was told to read; nothing is read until it is";

/// One of the streams, and who it is.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: StreamId,
    pub(super) read: ReadStream,
    pub(super) parts: StreamParts,
}

impl Entry {
    /// As whom this worker began with it.
    pub(super) fn identity(id: &StreamId) -> StreamIdentity {
        StreamIdentity::new(id.name(), Some(id.created_at()))
    }
}

/// Streams by their ids.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(super) several: SeveralStreams,
    member: MemberParts,
    entries: Mutex<BTreeMap<StreamId, Entry>>,
    /// Those that nobody looks after yet.
    fresh: Mutex<Vec<Entry>>,
    pub(super) news: Notify,
}

impl Registry {
    pub(crate) fn new(several: SeveralStreams, member: MemberParts) -> Self {
        Self {
            several,
            member,
            entries: Mutex::default(),
            fresh: Mutex::default(),
            news: Notify::new(),
        }
    }

    pub(super) fn member(&self) -> &MemberParts {
        &self.member
    }

    /// What the shards of a lease's stream share, if the stream is named.
    pub(crate) fn of_lease(&self, key: &LeaseKey) -> Option<StreamParts> {
        let (id, _) = StreamId::of_lease(key)?;
        let named = self.several.named.borrow().clone();
        naming(&named, &id).map(|named| self.begin(&id, named))
    }

    /// What it shares with whoever began it before.
    pub(super) fn begin(&self, id: &StreamId, named: &Named) -> StreamParts {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(id) {
            return entry.parts.clone();
        }
        let read = self.several.read(id, named);
        let parts = StreamParts::new(&read, Entry::identity(id), &self.member);
        let entry = Entry {
            id: id.clone(),
            read,
            parts: parts.clone(),
        };
        entries.insert(id.clone(), entry.clone());
        drop(entries);
        self.fresh().push(entry);
        self.news.notify_one();
        parts
    }

    /// A stream was just found to be there.
    pub(super) fn settle(&self, id: &StreamId) {
        if let Some(entry) = self.entries().get(id) {
            entry.read.doubt.settle_all();
        }
    }

    /// Those that were begun since this was asked last.
    pub(super) fn take_fresh(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.fresh())
    }

    /// What is wrong with those that are read. A problem that several have is told once.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let named = self.several.named.borrow().clone();
        let healths: Vec<_> = {
            let entries = self.entries();
            let read = entries
                .values()
                .filter(|entry| naming(&named, &entry.id).is_some());
            read.map(|entry| (entry.id.clone(), entry.read.health.clone()))
                .collect()
        };
        let mut by_code: BTreeMap<&'static str, (StreamId, Problem, usize)> = BTreeMap::new();
        for (id, health) in healths {
            for problem in health.list() {
                let first = by_code.entry(problem.code).or_insert((id.clone(), problem, 0));
                first.2 += 1;
            }
        }
        let told = by_code.into_values().map(|(id, mut problem, streams)| {
            let others = match streams - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            problem.text = format!("stream {id}{others}: {}", problem.text);
            problem
        });
        told.collect()
    }

    /// Those that were begun, and are not named any more.
    pub(super) fn unnamed(&self) -> Vec<StreamId> {
        let named = self.several.named.borrow().clone();
        let entries = self.entries();
        let unnamed = entries.keys().filter(|id| naming(&named, id).is_none());
        unnamed.cloned().collect()
    }

    /// Waits with a lease until its stream is named; `None` when the lease is given up or lost before.
    pub(crate) async fn until_named(&self, held: &HeldLease, monitor: &ShardMonitor) -> Option<StreamParts> {
        let (mut named, mut state) = (self.several.named.subscribe(), held.watch());
        loop {
            named.mark_unchanged();
            if let Some(parts) = self.of_lease(held.key()) {
                return Some(parts);
            }
            monitor.enter(ShardState::Paused, Some(NOT_NAMED.to_owned()));
            match &*state.borrow_and_update() {
                HeldState::Held => {}
                HeldState::Lost(_) => return None,
                HeldState::Draining { .. } => break,
            }
            tokio::select! {
                _ = named.changed() => {}
                changed = state.changed() => if changed.is_err() { return None },
            }
        }
        match held.give_up().await {
            Ok(()) | Err(LeaseWriteError::Lost(_)) => {}
            Err(error) => {
                tracing::warn!(shard = %held.key(), %error, "cannot give the lease up; letting go of it");
                held.forsake();
            }
        }
        None
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<StreamId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
