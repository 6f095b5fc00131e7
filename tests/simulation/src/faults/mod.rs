//! What goes wrong: single requests by chance, and the condition that each worker's network is in.

mod condition;
mod cue;
mod index;
mod late;
mod pushing;
mod reading;
mod schedule;
mod wanted;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use kcl_local::faults::{Call, Event, EventFault, Fault, FaultInjector, Loss};
use kcl_local::handler::Handler;
use kcl_local::wire::Service;
use tokio::time::Instant;

use self::condition::Condition;
pub use self::condition::Trouble;
use self::cue::Cues;
pub use self::cue::{Asked, Cue, Fate, Met};
pub use self::pushing::Pushing;
pub use self::reading::Reading;
pub use self::schedule::{Deed, Schedule};
pub use self::wanted::{
    AGGREGATES, PAUSES, POLICIES, REWINDS, Rate, SEVERAL_STREAMS, SINGLE_RECORDS, STALLS, TWO_FAILOVER_TIMES,
    Wanted,
};
use crate::seeds::Dice;

/// The faults that a single request may meet, each with the most that is drawn for a fair history, per thousand requests
/// of a worker. Foul histories have up to three times as much.
const KINDS: [(&str, u64); 8] = [
    ("throttled", 10),
    ("5xx", 8),
    ("request lost", 8),
    // Applied, and the answer lost.
    ("answer lost", 10),
    // Up to and beyond the time-outs.
    ("slow", 10),
    // Given up by the client, and applied afterwards; writes only.
    ("late", 5),
    // Reads of records only.
    ("iterator expired", 6),
    // Answered by a replica or an index that lags; reads of the lease table that need not be consistent.
    ("stale read", 30),
];

/// How often the fault of one request happens to the client's next request too, per thousand.
const TWICE: u64 = 300;

/// How often each kind of request fault happens, per thousand requests of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates(Vec<(&'static str, u64)>);

impl Rates {
    /// The rates of one history: anything from fair to foul, unless they are given.
    pub fn drawn(dice: &mut Dice, wanted: &Wanted) -> Self {
        let foul = dice.roll(4);
        let drawn = KINDS.map(|(kind, most)| (kind, dice.roll(most * foul + 1)));
        let rates = drawn
            .into_iter()
            .map(|(kind, rate)| (kind, wanted.rate(kind).unwrap_or(rate)));
        Self(rates.filter(|(_, rate)| *rate > 0).collect())
    }
}

impl Rates {
    /// Nothing fails by chance.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether no request fails by chance.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug)]
struct State {
    dice: Dice,
    rates: Rates,
    /// What reads of records meet.
    reading: Option<Reading>,
    /// What events of subscriptions meet.
    pushing: Option<Pushing>,
    /// What queries of the owner index meet.
    index: index::Index,
    wanted: Wanted,
    clients: BTreeMap<String, Condition>,
    /// The fault that the client's next request meets again.
    repeated: BTreeMap<String, (&'static str, Fault)>,
    counts: BTreeMap<&'static str, u64>,
    faults: BTreeMap<String, u64>,
    /// Requests to DynamoDB since they were last asked for, and how many of them met a fault.
    spent: BTreeMap<String, (u64, u64)>,
    /// Late requests under way.
    late: BTreeMap<String, u64>,
    /// What a script waits for.
    cues: Cues,
}

/// The network between the workers and the backend. Clones share it.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    handler: Arc<OnceLock<Handler>>,
}

impl Network {
    /// A network on which single requests fail at these rates.
    pub fn new(dice: Dice, rates: Rates, wanted: Wanted) -> Self {
        let state = State {
            dice,
            rates,
            reading: None,
            pushing: None,
            index: index::Index::default(),
            wanted,
            clients: BTreeMap::new(),
            repeated: BTreeMap::new(),
            counts: BTreeMap::new(),
            faults: BTreeMap::new(),
            spent: BTreeMap::new(),
            late: BTreeMap::new(),
            cues: Cues::default(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            handler: Arc::default(),
        }
    }

    /// The same, and reads of records meet something.
    #[must_use]
    pub fn with_reading(self, reading: Option<Reading>) -> Self {
        self.state().reading = reading;
        self
    }

    /// The same, and events of subscriptions meet something.
    #[must_use]
    pub fn with_pushing(self, pushing: Option<Pushing>) -> Self {
        self.state().pushing = pushing;
        self
    }

    /// Where late requests arrive.
    pub fn connect(&self, handler: Handler) {
        let _ = self.handler.set(handler);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, client: &str, change: impl FnOnce(&mut Condition)) {
        change(self.state().clients.entry(client.to_owned()).or_default());
    }

    /// Counts a fault of this kind.
    pub fn count(&self, kind: &'static str) {
        *self.state().counts.entry(kind).or_default() += 1;
    }

    /// Brings trouble over a worker.
    pub fn trouble(&self, client: &str, trouble: Trouble) {
        self.change(client, |condition| condition.suffer(trouble));
    }

    /// Ends all trouble of a worker but that which ends by itself.
    pub fn heal(&self, client: &str) {
        self.change(client, Condition::heal);
    }

    /// Lets a worker stand still.
    pub fn freeze(&self, client: &str, until: Instant) {
        self.change(client, |condition| condition.frozen = Some(until));
    }

    /// Until when a worker's processors stand still, if they do.
    pub fn stands_until(&self, client: &str) -> Option<Instant> {
        self.state().clients.get(client)?.stands_until()
    }

    /// Whether a worker may not read shards, as far as its role goes.
    pub fn may_not_read(&self, client: &str) -> bool {
        let state = self.state();
        let condition = state.clients.get(client);
        condition.is_some_and(Condition::may_not_read)
    }

    /// Takes the owner index away for a time.
    pub fn lose_index(&self, until: Instant, is_being_built: bool) {
        self.state().index.lose(until, is_being_built);
    }

    /// A killed worker sends nothing any more.
    pub fn bury(&self, client: &str) {
        self.change(client, |condition| condition.dead = true);
    }

    /// Whether a worker was killed.
    pub fn is_dead(&self, client: &str) -> bool {
        let state = self.state();
        state.clients.get(client).is_some_and(|condition| condition.dead)
    }

    /// Heals everything for good.
    pub fn heal_all(&self) {
        let mut state = self.state();
        state.rates = Rates::default();
        state.reading = None;
        state.pushing = None;
        state.index = index::Index::default();
        state.repeated.clear();
        state.cues = Cues::default();
        state.clients.values_mut().for_each(Condition::heal_wholly);
    }

    /// How many requests of a client met a fault so far.
    pub fn faults_of(&self, client: &str) -> u64 {
        self.state().faults.get(client).copied().unwrap_or(0)
    }

    /// The requests of a client to DynamoDB since this was last asked, and how many of them met a fault.
    pub fn spent(&self, client: &str) -> (u64, u64) {
        self.state().spent.remove(client).unwrap_or_default()
    }

    /// Whether a request that the client has given up may still arrive.
    pub fn has_late(&self, client: &str) -> bool {
        self.state().late.get(client).is_some_and(|count| *count > 0)
    }

    /// How many faults of each kind there were.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }

    /// Waits for requests as a script wants it.
    pub fn await_request(&self, cue: Cue) -> Met {
        self.state().cues.add(cue)
    }

    /// Lets the requests arrive that a cue withheld.
    pub async fn deliver(&self, met: &Met) {
        for request in met.withheld() {
            if let Some(handler) = self.handler.get() {
                handler.handle(request).await;
            }
        }
    }

    fn send_late(&self, call: &Call<'_>, delay: Duration) {
        if let Some(handler) = self.handler.get().cloned() {
            let network = self.clone();
            let request = late::request(call);
            let client = call.client.to_owned();
            *network.state().late.entry(client.clone()).or_default() += 1;
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                handler.handle(request).await;
                let mut state = network.state();
                *state.late.entry(client).or_default() -= 1;
            });
        }
    }
}

impl State {
    /// The fault of a single request, if it meets one.
    fn strike(&mut self, call: &Call<'_>) -> Option<(&'static str, Fault)> {
        if let Some(again) = self.repeated.remove(call.client) {
            return Some(again);
        }
        let applies = |kind: &str| match kind {
            "late" => is_write(call),
            "iterator expired" => call.operation == "GetRecords",
            "stale read" => matches!(call.operation, "Scan" | "Query" | "GetItem"),
            _ => true,
        };
        let mut roll = self.dice.roll(1000);
        let kind = self.rates.0.iter().find_map(|(kind, rate)| {
            if roll < *rate {
                return Some(*kind);
            }
            roll -= rate;
            None
        })?;
        if self.wanted.lacks(kind) || !applies(kind) {
            return None;
        }
        let loss = *self.dice.pick(&[Loss::Reset, Loss::TimedOut, Loss::Hang])?;
        let fault = match kind {
            "throttled" => Fault::throttled(),
            "5xx" => Fault::internal_error(),
            "request lost" => Fault::drop_request(loss),
            "answer lost" => Fault::drop_answer(loss),
            "iterator expired" => Fault::respond(400, "ExpiredIteratorException"),
            "late" => Fault::drop_request(Loss::Hang),
            "stale read" => Fault::stale(Duration::from_millis(self.dice.between(50, 3_000))),
            _ => {
                let most = *self.dice.pick(&[100, 1_000, 3_000, 12_000])?;
                let delay = Duration::from_millis(self.dice.roll(most));
                if self.dice.happens(500) {
                    Fault::none().after(delay)
                } else {
                    Fault::none().answered_after(delay)
                }
            }
        };
        if self.dice.happens(TWICE) {
            self.repeated
                .insert(call.client.to_owned(), (kind, fault.clone()));
        }
        Some((kind, fault))
    }
}

/// A creation that arrives after the lease was ended and deleted brings it back, and its shard is processed again: no condition can
/// prevent that, and so an ended lease is kept for as long as one may be late.
const LATEST_CREATION: Duration = Duration::from_secs(10);

fn is_creation(call: &Call<'_>) -> bool {
    call.operation == "PutItem"
}

/// Whether a request may change the lease table.
fn is_write(call: &Call<'_>) -> bool {
    matches!(call.operation, "UpdateItem" | "PutItem" | "DeleteItem")
}

impl FaultInjector for Network {
    fn decide(&self, call: &Call<'_>) -> Fault {
        // The world's own requests.
        if call.client.is_empty() {
            return Fault::none();
        }
        let mut state = self.state();
        let condition = state.clients.get(call.client).copied().unwrap_or_default();
        if condition.dead {
            return Fault::drop_request(Loss::Hang);
        }
        let now = Instant::now();
        let scripted = state.cues.meet(call);
        let single = state.strike(call);
        let fault = if let Some(fault) = scripted {
            fault
        } else if let Some(until) = condition.frozen.filter(|until| *until > now) {
            if is_write(call) {
                // It was under way when the process stood still, and arrives when it goes on.
                let delay = if is_creation(call) {
                    (until - now).min(LATEST_CREATION)
                } else {
                    until - now
                };
                drop(state);
                self.send_late(call, delay);
                state = self.state();
                Fault::drop_request(Loss::Hang)
            } else {
                Fault::none().after(until - now)
            }
        } else if let Some(fault) = condition.meets(call) {
            fault
        } else if let Some(fault) = state.index.meets(call) {
            fault
        } else if let Some((kind, fault)) = single {
            *state.counts.entry(kind).or_default() += 1;
            if kind == "late" && is_write(call) {
                // Some so late that somebody else owns what they were to change.
                let most = if state.dice.happens(300) { 30_000 } else { 5_000 };
                let delay = Duration::from_millis(state.dice.between(200, most));
                let delay = if is_creation(call) {
                    delay.min(LATEST_CREATION)
                } else {
                    delay
                };
                drop(state);
                self.send_late(call, delay);
                state = self.state();
            }
            fault
        } else if let Some((kind, fault)) = (call.operation == "GetRecords")
            .then(|| state.reading.as_mut()?.strike())
            .flatten()
        {
            *state.counts.entry(kind).or_default() += 1;
            fault
        } else {
            Fault::none()
        };
        let fault = if condition.slow.is_zero() {
            fault
        } else {
            let delay = fault.delay_before + condition.slow;
            fault.after(delay)
        };
        if call.service == Some(Service::DynamoDb) {
            let (requests, faults) = state.spent.entry(call.client.to_owned()).or_default();
            *requests += 1;
            *faults += u64::from(fault != Fault::none());
        }
        if fault != Fault::none() {
            *state.faults.entry(call.client.to_owned()).or_default() += 1;
        }
        fault
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        // The world's own subscriptions.
        if event.client.is_empty() {
            return EventFault::none();
        }
        let mut state = self.state();
        let condition = state.clients.get(event.client).copied().unwrap_or_default();
        if let Some(fault) = condition.meets_event() {
            return fault;
        }
        let Some((kind, fault)) = state.pushing.as_mut().and_then(Pushing::strike) else {
            return EventFault::none();
        };
        *state.counts.entry(kind).or_default() += 1;
        *state.faults.entry(event.client.to_owned()).or_default() += 1;
        fault
    }

    fn needs_past(&self) -> bool {
        true
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}
