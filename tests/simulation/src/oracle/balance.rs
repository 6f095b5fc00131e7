//! Who has how much to do, where workers tell of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Rule;
use crate::history::{Event, Name, What};
use crate::load::{Machine, REPORT_INTERVAL, Voice};

pub(super) const RESTLESS: &str =
    "a lease that moved in a calm fleet stays for 10 report intervals, and does not return within 120";
pub(super) const MUTE: &str = "in a calm fleet no lease moves to a worker that cannot tell how busy it is";
pub(super) const UPHILL: &str =
    "in a calm fleet that is busy no lease moves to a worker that is busier than most";
pub(super) const MOVING: &str =
    "in 16 report intervals a calm fleet moves two leases, or half of all, at most";
pub(super) const UNEVEN: &str =
    "a calm fleet gets even: by load if that is reported and large, by count otherwise";

/// How long a lease stays, but for the time between two looks at the table.
const STAY: Duration = Duration::from_millis(10 * INTERVAL - 500);
const NO_RETURN: Duration = Duration::from_millis(120 * INTERVAL);
/// Reports tell of a lease after so long.
const REPORTED: Duration = Duration::from_millis(2 * INTERVAL + 3_000);
/// How much is put to each shard is known after so long.
const KNOWN: Duration = Duration::from_millis(10 * INTERVAL);
/// Before it is weighed a fleet has been calm for much longer than this.
const LATE: Duration = Duration::from_millis(16 * INTERVAL);
/// As long as leases move, nothing is said of who has which.
const STILL: Duration = Duration::from_millis(5 * INTERVAL);
/// A lease that could move is moved so soon after that.
const SOON: Duration = Duration::from_millis(4 * INTERVAL);

/// A fleet whose busiest machine is at least so busy is balanced by load; reports are noisy, and the library's figure is 0.3,
const BUSY: f64 = 0.38;
/// and by count if none is so busy: half of it.
const IDLE: f64 = 0.12;

/// Nobody is relieved by the move of a lease that takes less of a machine.
const LIGHT: f64 = 0.01;

/// In milliseconds.
const INTERVAL: u64 = REPORT_INTERVAL.as_secs() * 1_000;

#[derive(Debug, Default)]
struct Lease {
    owner: Option<String>,
    /// Since when it has that owner, if it was seen to get it.
    owned_since: Option<Duration>,
    has_ended: bool,
    moved_at: Option<Duration>,
    /// Workers that it was moved from, and when.
    left: BTreeMap<String, Duration>,
    /// Records since the fleet is calm.
    records: u64,
}

impl Lease {
    /// Whether a worker has had it for longer than reports take to tell of it.
    fn is_settled_with(&self, worker: &str, at: Duration) -> bool {
        let is_its = !self.has_ended && self.owner.as_deref() == Some(worker);
        is_its && self.owned_since.is_none_or(|since| at - since > REPORTED)
    }
}

#[derive(Debug)]
struct Calm {
    since: Duration,
    machines: BTreeMap<String, Machine>,
    /// A record per second, as a part of an ordinary machine's capacity.
    record: f64,
    /// The operating range, 1 is all of a machine.
    range: f64,
}

/// Looks at the moves in a calm fleet, and at what comes of them.
#[derive(Debug, Default)]
pub(super) struct Balance {
    leases: BTreeMap<Name, Lease>,
    /// When leases moved.
    moves: Vec<Duration>,
    calm: Option<Calm>,
}

impl Calm {
    /// Workers that are balanced: all that can tell how busy they are, or all if nobody can.
    fn takers(&self) -> impl Iterator<Item = (&String, &Machine)> {
        let nobody = self.machines.values().all(|machine| machine.voice == Voice::Lost);
        let takers = self.machines.iter();
        takers.filter(move |(_, machine)| nobody || machine.voice != Voice::Lost)
    }

    fn reports_loads(&self) -> bool {
        self.takers()
            .all(|(_, machine)| !matches!(machine.voice, Voice::Silent | Voice::Lost))
    }
}

/// The fleet as it is weighed.
struct Scales<'a> {
    calm: &'a Calm,
    leases: &'a BTreeMap<Name, Lease>,
    at: Duration,
    /// What each taker's machine does, 1 is all it can.
    busy: BTreeMap<&'a str, f64>,
    mean: f64,
}

impl<'a> Scales<'a> {
    fn new(calm: &'a Calm, leases: &'a BTreeMap<Name, Lease>, at: Duration) -> Self {
        let mut scales = Self {
            calm,
            leases,
            at,
            busy: BTreeMap::new(),
            mean: 0.0,
        };
        for (id, machine) in calm.takers() {
            let work: f64 = scales.of(id).map(|(_, lease)| scales.work(lease)).sum();
            scales.busy.insert(id, machine.busy_with(work));
        }
        scales.mean = scales.busy.values().sum::<f64>() / scales.busy.len().max(1) as f64;
        scales
    }

    fn of(&self, id: &str) -> impl Iterator<Item = (&'a Name, &'a Lease)> {
        let leases = self.leases.iter();
        leases.filter(move |(_, lease)| !lease.has_ended && lease.owner.as_deref() == Some(id))
    }

    /// What a lease takes of an ordinary machine.
    fn work(&self, lease: &Lease) -> f64 {
        let seconds = (self.at - self.calm.since).as_secs_f64().max(1.0);
        lease.records as f64 / seconds * self.calm.record
    }

    fn total_work(&self) -> f64 {
        let leases = self.leases.values().filter(|lease| !lease.has_ended);
        leases.map(|lease| self.work(lease)).sum()
    }

    fn by_count(&self) -> Option<String> {
        let counts: BTreeMap<_, _> = self.busy.keys().map(|id| (*id, self.of(id).count())).collect();
        let (least, most) = (counts.values().min()?, counts.values().max()?);
        (most - least > 1).then(|| format!("by count: {counts:?}"))
    }

    fn by_load(&self) -> Option<String> {
        let seen = self.starving().or_else(|| self.overloaded())?;
        Some(format!("{seen}; {}", self.story()))
    }

    /// Everybody's load in percent.
    fn story(&self) -> String {
        let busy = self.busy.iter().map(|(id, busy)| (id, (busy * 100.0).round()));
        let busy: BTreeMap<_, _> = busy.collect();
        format!("{busy:?}, mean {:.0}", self.mean * 100.0)
    }

    /// Whether a worker was far above the mean even without a lease that it has now.
    fn is_uphill(&self, shard: &Name, to: &str) -> bool {
        let others = self.of(to).filter(|(other, _)| *other != shard);
        let work: f64 = others.map(|(_, lease)| self.work(lease)).sum();
        let machine = self.calm.machines.get(to);
        let before = machine.map_or(0.0, |machine| machine.busy_with(work));
        self.calm.reports_loads() && self.busiest() > BUSY && before > self.mean * 1.1 + 0.08
    }

    fn busiest(&self) -> f64 {
        self.busy.values().copied().fold(0.0, f64::max)
    }

    /// A worker without any lease, though its machine has time and another worker has several.
    fn starving(&self) -> Option<String> {
        let idle = self.busy.iter().find(|(id, busy)| {
            let gives = |other: &&str| {
                self.of(other).count() > 1 && self.of(other).any(|(_, lease)| self.may_go(lease, id))
            };
            self.of(id).next().is_none() && self.is_cold(**busy) && self.busy.keys().any(gives)
        });
        idle.map(|(id, _)| format!("{id} has nothing"))
    }

    /// Reports are noisy, too.
    fn is_cold(&self, busy: f64) -> bool {
        busy + (self.mean * 0.1).max(0.05) + 0.05 < self.mean
    }

    /// A worker far above the mean with a lease that another one could take and stay far below.
    fn overloaded(&self) -> Option<String> {
        let total = self.total_work();
        for (from, busy) in &self.busy {
            let noise = 0.05 + self.mean * 0.1;
            let is_hot = *busy > self.mean + (self.mean * 0.1).max(0.05) + noise;
            let is_over = *busy > self.calm.range + noise && *busy > self.mean + noise;
            if !is_hot && !is_over {
                continue;
            }
            let weighs = |lease: &Lease| self.work(lease) > LIGHT;
            let mut leases: Vec<_> = self.of(from).filter(|(_, lease)| weighs(lease)).collect();
            leases.sort_by_key(|(_, lease)| lease.records);
            let all: f64 = leases.iter().map(|(_, lease)| self.work(lease)).sum();
            let excess = all * 0.6 * (1.0 - self.mean / busy);
            let movable = leases.iter().enumerate().filter(|(index, (_, lease))| {
                let is_rested = lease.moved_at.is_none_or(|moved| self.at - moved > STAY + SOON);
                is_rested && (*index == 0 || self.work(lease) < excess / 2.0)
            });
            for (_, (shard, lease)) in movable {
                let work = self.work(lease);
                // What the leader takes the lease for: its part of the fleet's throughput is its part of the fleet's load.
                let guess = work / total * self.mean * self.busy.len() as f64;
                let fits = self.busy.iter().find(|(id, busy)| {
                    let size = self.calm.machines.get(**id).map_or(1_000, |machine| machine.size);
                    let then = *busy + 2.0 * guess.max(work * 1e3 / size as f64);
                    id != &from && self.may_go(lease, id) && then <= self.mean.min(self.calm.range)
                });
                if let Some((to, _)) = fits {
                    return Some(format!("{shard} of {from} fits {to}"));
                }
            }
        }
        None
    }

    fn may_go(&self, lease: &Lease, to: &str) -> bool {
        lease.left.get(to).is_none_or(|left| self.at - *left > NO_RETURN)
    }

    fn wrong(&self) -> Option<String> {
        let busiest = self.busiest();
        let by_load = || self.by_load();
        if !self.calm.reports_loads() || busiest < IDLE {
            self.by_count()
        } else if busiest > BUSY {
            by_load()
        } else {
            self.by_count().and_then(|_| by_load())
        }
    }
}

impl Balance {
    fn moves(&mut self, shard: &Name, from: &str, to: &str, at: Duration) -> Option<(&'static str, String)> {
        // A worker that has nothing is given its share of whatever there is.
        let is_new = !self.is_reported(to, shard, at) && !self.has_its_share(to, shard, from);
        let by_number = !self.is_reported(from, shard, at) && self.count(from, shard) > self.count(to, shard);
        let lease = self.leases.entry(shard.clone()).or_default();
        let moved_at = lease.moved_at.replace(at).filter(|_| !is_new);
        let returned = lease.left.get(to).copied();
        // What is given by number alone may return once the loads are known.
        if is_new || by_number {
            lease.left.remove(from);
        } else {
            lease.left.insert(from.to_owned(), at);
        }
        let calm = self.calm.as_ref()?;
        if !calm.machines.contains_key(from) || !calm.machines.contains_key(to) {
            // The row of a dead worker may look alive for a while.
            lease.left.clear();
            lease.moved_at = None;
            return None;
        }
        let lately = |moved: &Duration, time: Duration| *moved >= calm.since && at - *moved < time;
        if moved_at.is_some_and(|moved| lately(&moved, STAY))
            || returned.is_some_and(|left| lately(&left, NO_RETURN))
        {
            return Some((RESTLESS, format!("{shard} moves from {from} to {to}")));
        }
        self.moves.push(at);
        let scales = Scales::new(calm, &self.leases, at);
        if !is_new && at - calm.since > KNOWN && scales.is_uphill(shard, to) {
            return Some((
                UPHILL,
                format!("{shard} moves from {from} to {to}; {}", scales.story()),
            ));
        }
        let is_taker = calm.takers().any(|(id, _)| id == to);
        (!is_taker).then(|| (MUTE, format!("{shard} moves from {from} to {to}")))
    }

    /// Whether a worker had its share by number before it got this lease, as far as is known who is there.
    fn has_its_share(&self, id: &str, shard: &Name, from: &str) -> bool {
        let open = self.leases.iter().filter(|(_, lease)| !lease.has_ended);
        let owned: Vec<_> = open
            .filter_map(|(other, lease)| Some((other, lease.owner.as_deref()?)))
            .collect();
        let owners: BTreeSet<_> = owned.iter().map(|(_, owner)| *owner).chain([from]).collect();
        let share = owned.len() / owners.len().max(1);
        let its = owned
            .iter()
            .filter(|(other, owner)| *other != shard && *owner == id);
        its.count() >= share.max(1)
    }

    fn beside(&self, shard: &Name) -> impl Iterator<Item = &Lease> {
        let others = self.leases.iter().filter(move |(other, _)| *other != shard);
        others.map(|(_, lease)| lease)
    }

    /// Whether a worker's load is known: it has had another lease for long.
    fn is_reported(&self, id: &str, shard: &Name, at: Duration) -> bool {
        self.beside(shard).any(|lease| lease.is_settled_with(id, at))
    }

    /// How many leases a worker has beside this one.
    fn count(&self, id: &str, shard: &Name) -> usize {
        let its = |lease: &&Lease| !lease.has_ended && lease.owner.as_deref() == Some(id);
        self.beside(shard).filter(its).count()
    }

    fn weigh(&mut self, at: Duration) -> Option<(&'static str, String)> {
        let calm = self.calm.take()?;
        let late = self.moves.iter().filter(|moved| at - **moved < LATE).count();
        let leases = self.leases.values().filter(|lease| !lease.has_ended).count();
        if late > (leases / 2).max(2) {
            return Some((MOVING, format!("{late} moves, {leases} leases")));
        }
        if self.moves.last().is_some_and(|moved| at - *moved < STILL) {
            return None;
        }
        let scales = Scales::new(&calm, &self.leases, at);
        scales.wrong().map(|seen| (UNEVEN, seen))
    }
}

impl Rule for Balance {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Put { shard, .. } if self.calm.is_some() => {
                self.leases.entry(shard.clone()).or_default().records += 1;
            }
            What::Row { shard, row } => {
                let lease = self.leases.entry(shard.clone()).or_default();
                lease.has_ended = row.has_ended();
                let owner = row.actual_owner().map(ToOwned::to_owned);
                if lease.owner != owner {
                    lease.owned_since = Some(event.at);
                }
                let before = std::mem::replace(&mut lease.owner, owner.clone());
                if let (Some(from), Some(to)) = (before, owner)
                    && from != to
                {
                    return self.moves(shard, &from, &to, event.at);
                }
            }
            What::RowGone { shard } | What::RowDeletedByHand { shard } => {
                self.leases.remove(shard);
            }
            What::RowEditedByHand { shard, row, .. } => {
                let lease = self.leases.entry(shard.clone()).or_default();
                lease.owner = row.actual_owner().map(ToOwned::to_owned);
                lease.moved_at = Some(event.at);
                lease.owned_since = Some(event.at);
            }
            What::Calm {
                machines,
                record,
                max_utilization,
            } => {
                self.calm = Some(Calm {
                    since: event.at,
                    machines: machines.clone(),
                    record: *record as f64 / 1e6,
                    range: f64::from(*max_utilization) / 100.0,
                });
            }
            What::Weighed => return self.weigh(event.at),
            _ => {}
        }
        None
    }
}
