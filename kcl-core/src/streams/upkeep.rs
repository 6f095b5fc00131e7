//! What a leader does about its application's streams: it finds out who they are, sees to it that they are looked after, and deletes
//! what is left of those that are not read any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kcl_lease::{Activity, Health, Lease, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::agenda::{Agenda, Known, Named};
use super::registry::Registry;
use crate::aws::{CallError, ErrorClass};
use crate::config::{FormerStreams, Stream, StreamId};

const DESCRIBING: Activity = Activity {
    code: "stream-failing",
    doing: "looking at a stream that is to be read",
};
const CLEANING_UP: Activity = Activity {
    code: "cleanup-failing",
    doing: "deleting the leases of a stream that is not read any more",
};
/// There is no such stream.
const NOT_FOUND: &str = "stream-not-found";
/// A stream has the name of another one, of which there are leases.
const OTHER: &str = "other-stream";

/// How often a leader looks at what there is.
const LOOK: Duration = Duration::from_secs(2);
/// After so long it asks again for a stream that there was not.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
/// After so long it asks again whether a stream that is not named any more is still there.
const FORMER_ASKED_AGAIN: Duration = Duration::from_secs(60);
/// Streams that are asked for at the same time.
const CONCURRENCY: usize = 8;

/// The leader's part in reading several streams.
#[derive(Debug)]
pub(super) struct StreamsUpkeep {
    registry: Arc<Registry>,
    health: Health,
}

/// What a leader got to know.
#[derive(Debug, Default)]
struct Knowledge {
    described: BTreeMap<Stream, StreamId>,
    /// Those that there was no answer for, or that there are not, when that was, and why.
    missed: BTreeMap<Stream, (Instant, CallError)>,
    /// Since when streams with leases are not named, and whether they are gone.
    former: BTreeMap<StreamId, Former>,
}

#[derive(Debug)]
struct Former {
    since: Instant,
    asked_at: Option<Instant>,
    is_gone: bool,
}

impl StreamsUpkeep {
    pub(super) fn new(registry: Arc<Registry>, health: Health) -> Self {
        Self { registry, health }
    }

    /// Does it whenever this worker leads. Never returns.
    pub(super) async fn run(&self, remade: &watch::Sender<BTreeSet<StreamId>>) {
        let fleet = &self.registry.member().fleet;
        let mut leadership = fleet.leadership();
        let (mut named, mut remade) = (self.registry.several.named.subscribe(), remade.subscribe());
        loop {
            if leadership.wait_for(|leads| *leads).await.is_err() {
                // The fleet was left; the worker is about to stop.
                return std::future::pending().await;
            }
            let mut knowledge = Knowledge::default();
            loop {
                for id in &*remade.borrow_and_update() {
                    knowledge.described.retain(|_, now| now != id);
                }
                named.mark_unchanged();
                let look = async {
                    if let Err(error) = self.look(&mut knowledge).await {
                        self.health.failed(CLEANING_UP, &error);
                    }
                    tokio::select! {
                        () = sleep(LOOK) => {}
                        _ = named.changed() => {}
                        _ = remade.changed() => {}
                    }
                };
                tokio::select! {
                    biased;
                    _ = leadership.wait_for(|leads| !*leads) => break,
                    () = look => {}
                }
            }
            for activity in [DESCRIBING, CLEANING_UP] {
                self.health.ended(activity);
            }
            for code in [NOT_FOUND, OTHER] {
                self.health.settle(code);
            }
        }
    }

    async fn look(&self, knowledge: &mut Knowledge) -> Result<(), StoreError> {
        let leases = self.leases().await?;
        let leased: BTreeSet<_> = leases
            .iter()
            .filter_map(|lease| Some(StreamId::of_lease(&lease.key)?.0))
            .collect();
        let named = self.registry.several.named.borrow().clone();
        self.begin(&named, &leased, knowledge);
        self.describe(&named, &leased, knowledge).await;
        self.tell(&named, knowledge);
        let agenda = self.agenda(&named, &leased, &knowledge.described);
        let refused = agenda.refused.iter().map(|(before, now)| {
            format!("there are leases of {before}, and the stream of that name is {now} by now")
        });
        self.raise_or_settle(
            OTHER,
            refused.collect(),
            "let on_other_stream begin it anew, or correct the account, the region or the name",
        );
        let replaced = agenda.replaced.clone();
        let due = self.former_due(agenda.former, knowledge).await;
        self.delete(&leases, &replaced, &due).await?;
        self.health.succeeded(CLEANING_UP);
        Ok(())
    }

    fn agenda<'a>(
        &self,
        named: &'a [Named],
        leased: &'a BTreeSet<StreamId>,
        described: &'a BTreeMap<Stream, StreamId>,
    ) -> Agenda<'a> {
        Agenda::new(&Known {
            named,
            described,
            leased,
            policy: self.registry.several.policy,
        })
    }

    fn begin(&self, named: &[Named], leased: &BTreeSet<StreamId>, knowledge: &Knowledge) {
        for (id, named) in self.agenda(named, leased, &knowledge.described).looked_after {
            self.registry.begin(&id, named);
        }
    }

    /// Asks Kinesis who the streams are for which that is not known.
    async fn describe(&self, named: &[Named], leased: &BTreeSet<StreamId>, knowledge: &mut Knowledge) {
        let now = Instant::now();
        let unknown = named.iter().filter(|named| {
            let missed = knowledge.missed.get(&named.stream);
            !knowledge.described.contains_key(&named.stream)
                && missed.is_none_or(|(at, _)| *at + ASKED_AGAIN <= now)
        });
        let unknown: Vec<_> = unknown.map(|named| named.stream.clone()).collect();
        let several = &self.registry.several;
        let asked = unknown.into_iter().map(|stream| async {
            several.pace.turn().await;
            let answer = several.client(stream.clone()).id().await;
            (stream, answer)
        });
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(CONCURRENCY);
        while let Some((stream, answer)) = answers.next().await {
            match answer {
                Ok(id) => {
                    knowledge.missed.remove(&stream);
                    knowledge.described.insert(stream, id.clone());
                    self.begin(named, leased, knowledge);
                    self.registry.settle(&id);
                }
                Err(error) => {
                    knowledge.missed.insert(stream, (Instant::now(), error));
                }
            }
        }
    }

    /// Tells which streams there are not, and which could not be asked for.
    fn tell(&self, named: &[Named], knowledge: &mut Knowledge) {
        let is_named = |stream: &Stream| named.iter().any(|named| named.stream == *stream);
        knowledge.missed.retain(|stream, _| is_named(stream));
        let (gone, failed): (Vec<_>, Vec<_>) = knowledge
            .missed
            .iter()
            .partition(|(_, (_, error))| error.class == ErrorClass::NotFound);
        let gone = gone
            .into_iter()
            .map(|(stream, _)| format!("there is no stream {stream}"));
        self.raise_or_settle(NOT_FOUND, gone.collect(), "create it, or do not name it any more");
        match failed.first() {
            Some((_, (_, error))) => self.health.failed(DESCRIBING, error),
            None => self.health.succeeded(DESCRIBING),
        }
    }

    fn raise_or_settle(&self, code: &'static str, found: Vec<String>, advice: &str) {
        match found.first() {
            None => self.health.settle(code),
            Some(first) => {
                let others = match found.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                self.health.raise(code, format!("{first}{others}; {advice}"));
            }
        }
    }

    /// Streams that are not named any more whose leases are to go.
    async fn former_due(&self, former: BTreeSet<StreamId>, knowledge: &mut Knowledge) -> BTreeSet<StreamId> {
        let now = Instant::now();
        knowledge.former.retain(|id, _| former.contains(id));
        let FormerStreams::DeleteAfter(kept) = self.registry.member().config.leases.former_streams else {
            return BTreeSet::new();
        };
        let mut due = BTreeSet::new();
        for id in former {
            let known = knowledge.former.entry(id.clone()).or_insert(Former {
                since: now,
                asked_at: None,
                is_gone: false,
            });
            if known.asked_at.is_none_or(|at| at + FORMER_ASKED_AGAIN <= now) && known.since + kept > now {
                known.asked_at = Some(now);
                known.is_gone = self.is_gone(&id).await;
            }
            if known.is_gone || known.since + kept <= now {
                due.insert(id);
            }
        }
        due
    }

    /// Whether a stream was deleted. What cannot be asked for may be there.
    async fn is_gone(&self, id: &StreamId) -> bool {
        let several = &self.registry.several;
        several.pace.turn().await;
        match several.client(id.in_region(&several.region)).id().await {
            Ok(now) => now != *id,
            Err(error) => error.class == ErrorClass::NotFound,
        }
    }

    async fn delete(
        &self,
        leases: &[Lease],
        replaced: &BTreeSet<StreamId>,
        former: &BTreeSet<StreamId>,
    ) -> Result<(), StoreError> {
        let store = self.registry.member().fleet.store();
        for lease in leases {
            let Some((id, _)) = StreamId::of_lease(&lease.key) else {
                continue;
            };
            if !replaced.contains(&id) && !former.contains(&id) {
                continue;
            }
            // Its owner renews it all the time, so it has to be read anew, and may still win; then it is tried again later.
            for _ in 0..3 {
                match store.get(&lease.key).await? {
                    Some(lease) if store.delete(&lease).await? => {
                        let checkpoint = &lease.checkpoint;
                        tracing::warn!(shard = %lease.key, %checkpoint, "deleted a lease of a stream that is not read any more");
                        break;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// The leases as the leader saw them a moment ago, or as they are.
    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        let member = self.registry.member();
        let seen = member.fleet.table().borrow().clone();
        match seen {
            Some(table) => Ok(table.leases.clone()),
            None => Ok(member.scans.scan(&**member.fleet.store()).await?.leases.clone()),
        }
    }
}
