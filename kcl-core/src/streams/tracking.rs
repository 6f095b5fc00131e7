//! Follows the tracker: which streams are read, looked after, left, and cleaned up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kcl_lease::{Activity, Cause, Health, Lease, StoreError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::agenda::{Agenda, Known, Named, naming};
use super::recognise::recognise;
use super::registry::{Entry, Registry};
use crate::aws::{CallError, ErrorClass};
use crate::config::{FormerStreams, Stream, StreamId, TrackedStream};
use crate::consumer::Pauses;
use crate::leading::Leading;
use crate::retry::Retry;

const ASKING: Activity = Activity {
    code: "streams-failing",
    doing: "asking which streams to read",
};
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

/// A tracker may take so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a leader looks at what there is.
const LOOK: Duration = Duration::from_secs(2);
/// After so long it asks again for a stream that there was not.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
/// After so long it asks again whether a stream that is not named any more is still there.
const FORMER_ASKED_AGAIN: Duration = Duration::from_secs(60);
/// Streams that are asked for at the same time.
const CONCURRENCY: usize = 8;

/// A worker's part in reading several streams.
#[derive(Debug)]
pub(crate) struct Tracking {
    registry: Arc<Registry>,
    health: Health,
    pauses: watch::Sender<Pauses>,
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

/// Does the leader's work for a stream for as long as it is named. Never returns.
async fn while_named(id: &StreamId, mut named: watch::Receiver<Arc<Vec<Named>>>, leading: &Leading) {
    loop {
        if named.wait_for(|named| naming(named, id).is_some()).await.is_err() {
            return std::future::pending().await;
        }
        tokio::select! {
            biased;
            _ = named.wait_for(|named| naming(named, id).is_none()) => {}
            () = leading.run() => {}
        }
    }
}

#[derive(Debug)]
struct Former {
    since: Instant,
    asked_at: Option<Instant>,
    is_gone: bool,
}

/// A failure of the user's tracker.
struct Untold(String);

impl std::fmt::Display for Untold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Cause for Untold {}

impl Tracking {
    pub(crate) fn new(registry: Arc<Registry>, health: Health, pauses: watch::Sender<Pauses>) -> Self {
        Self {
            registry,
            health,
            pauses,
        }
    }

    /// Never returns.
    pub(crate) async fn run(&self) {
        let remade = watch::Sender::new(BTreeSet::new());
        tokio::join!(self.ask(), self.look_after_all(&remade), self.lead(&remade));
    }

    /// Asks the tracker again and again.
    async fn ask(&self) {
        let member = self.registry.member();
        let interval = member.config.leases.streams_interval;
        let mut retry = Retry::new(member.env.clone(), Duration::from_millis(500), interval);
        loop {
            let pause = match self.ask_once().await {
                Ok(()) => {
                    self.health.succeeded(ASKING);
                    retry.succeeded();
                    interval
                }
                Err(error) => {
                    self.health.failed(ASKING, &error);
                    retry.pause()
                }
            };
            self.leave_what_is_not_named();
            sleep(pause).await;
        }
    }

    async fn ask_once(&self) -> Result<(), Untold> {
        let several = &self.registry.several;
        let answer = timeout(PATIENCE, several.ask()).await;
        let answer = answer.map_err(|_| Untold(format!("the tracker did not answer within {PATIENCE:?}")))?;
        let tracked = answer.map_err(|error| Untold(error.chain()))?;
        let named = self.understood(&tracked)?;
        several.named.send_if_modified(|before| {
            let is_news = **before != named;
            if is_news {
                let names: Vec<_> = named.iter().map(|named| named.stream.to_string()).collect();
                tracing::info!(streams = names.join(", "), "streams to read");
                *before = Arc::new(named);
            }
            is_news
        });
        Ok(())
    }

    /// One mistake makes all of an answer void: a stream whose name is misspelt would pass for one that is not read any more.
    fn understood(&self, tracked: &[TrackedStream]) -> Result<Vec<Named>, Untold> {
        let (several, options) = (&self.registry.several, &self.registry.member().config.retrieval);
        let problems = tracked
            .iter()
            .flat_map(|stream| stream.problems(&several.region, options));
        let problems: Vec<_> = problems.collect();
        if !problems.is_empty() {
            return Err(Untold(problems.join("; ")));
        }
        let named = tracked.iter().filter_map(|tracked| {
            Some(Named {
                stream: tracked.stream().ok()?,
                retrieval: tracked.retrieval(options),
            })
        });
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Err(Untold(
                "the tracker names no stream; stop the worker if there is nothing to read".to_owned(),
            ));
        }
        Ok(named)
    }

    /// Nothing more is delivered of a stream that is not named any more.
    fn leave_what_is_not_named(&self) {
        let unnamed: BTreeSet<_> = self.registry.unnamed().iter().map(ToString::to_string).collect();
        self.pauses
            .send_if_modified(|pauses| pauses.set_streams(unnamed.clone()));
    }

    /// Looks after the streams that were begun: asks who they are when somebody doubts it, and does the leader's work for them.
    async fn look_after_all(&self, remade: &watch::Sender<BTreeSet<StreamId>>) {
        let member = self.registry.member();
        let mut tasks = JoinSet::new();
        loop {
            for Entry { id, read, parts } in self.registry.take_fresh() {
                let (leading, env) = (parts.leading(member.fleet.clone()), member.env.clone());
                let named = self.registry.several.named.subscribe();
                tasks.spawn(async move {
                    let identity = Entry::identity(&id);
                    tokio::select! {
                        _ = recognise(&read, &env, &identity) => {}
                        () = while_named(&id, named, &leading) => {}
                    }
                    id
                });
            }
            tokio::select! {
                () = self.registry.news.notified() => {}
                Some(ended) = tasks.join_next() => match ended {
                    Ok(id) => remade.send_modify(|remade| { remade.insert(id); }),
                    // It is ours: the worker ends for it.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
            }
        }
    }

    /// Whenever this worker leads, sees to it that each stream that is named is looked after, and each that is not is cleaned up.
    async fn lead(&self, remade: &watch::Sender<BTreeSet<StreamId>>) {
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
