//! Storms of faults, and calm in between.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_tests::{Producer, Weather};
use tokio::time::{Instant, sleep, sleep_until};

use crate::faults::{self, Fault};
use crate::fleet::{Fleet, Member, Service, Sums};
use crate::report::Report;
use crate::timeline::note;

/// How long a silent worker keeps its leases.
pub(crate) const FAILOVER: Duration = Duration::from_secs(3);

/// Time between two faults, in milliseconds.
const PAUSE: std::ops::Range<u64> = 500..2400;

/// Time between two puts: batches queue up behind each.
const BURST: Duration = Duration::from_secs(1);

/// A fault that must wait for the state of the fleet to allow it does not wait for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Once faults have stopped, everything that was put before is processed within this time, on a machine that does other
/// things as well.
const DRAIN: Duration = Duration::from_secs(60);

/// Most processes, shards, and frozen workers or bad links at a time.
const MOST: usize = 6;
const MOST_SHARDS: usize = 7;
const MOST_TROUBLES: usize = 2;

/// Fewest processes that were not told to leave: one of them has no trouble.
const FEWEST: usize = MOST_TROUBLES + 1;

/// What must be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Frozen(u32),
    Weather(u32, Service),
}

pub(crate) struct Chaos {
    pub(crate) fleet: Fleet,
    seed: u64,
    began: Instant,
    dice: fastrand::Rng,
    troubles: Vec<(Instant, Trouble)>,
    met: BTreeMap<Fault, usize>,
    /// How long it took to catch up after each storm.
    calms: Vec<Duration>,
}

pub(crate) async fn whatever_happens_to_processes_nothing_is_lost(seed: u64, duration: Duration) {
    let fleet = Fleet::new(&format!("seed-{seed}"), "w", FAILOVER).await;
    Chaos::rage(fleet, seed, duration).await.judge().await;
}

impl Chaos {
    /// Storms for so long, at least one. Then everything that was put is processed.
    pub(crate) async fn rage(fleet: Fleet, seed: u64, duration: Duration) -> Self {
        note(&format!(
            "KCL_CHAOS_SEED={seed}, faults for {duration:?}, fail-over time {FAILOVER:?}"
        ));
        let producer = Producer::start(&fleet.world, BURST);
        let mut chaos = Self {
            fleet,
            seed,
            began: Instant::now(),
            dice: fastrand::Rng::with_seed(seed),
            troubles: Vec::new(),
            met: BTreeMap::new(),
            calms: Vec::new(),
        };
        chaos.replace_missing().await;
        chaos.until_caught_up().await;
        chaos.calms.clear();
        let began = Instant::now();
        while began.elapsed() < duration {
            chaos.storm().await;
            chaos.until_caught_up().await;
        }
        producer.stop().await;
        chaos.until_caught_up().await;
        chaos
    }

    /// Lets all workers leave, and tells what happened. Panics if a promise was not kept.
    pub(crate) async fn judge(self) {
        let (processes, took) = (self.fleet.processes, self.began.elapsed());
        let (world, witness) = self.fleet.close().await;
        let report = Report {
            seed: self.seed,
            failover: FAILOVER,
            took,
            processes,
            met: &self.met,
            calms: &self.calms,
            tally: world.ledger.tally(),
            books: &witness.books(),
        };
        println!("{report}");
        assert_eq!(report.broken(), [""; 0]);
    }

    /// Deals a whole deck, so that even a single storm has everything.
    async fn storm(&mut self) {
        for fault in faults::deck(&mut self.dice, self.fleet.sums.is_some()) {
            let due = Instant::now();
            while !self.meet(fault).await {
                assert!(due.elapsed() < PATIENCE, "no worker can be {fault}");
                self.wait(Duration::from_millis(100)).await;
            }
            *self.met.entry(fault).or_default() += 1;
            let pause = Duration::from_millis(self.dice.u64(PAUSE));
            self.wait(pause).await;
        }
    }

    /// Ends all troubles, and waits until what was put before is processed and whoever was told to leave has left.
    async fn until_caught_up(&mut self) {
        for (_, trouble) in std::mem::take(&mut self.troubles) {
            self.end(trouble);
        }
        self.fleet.reap();
        self.replace_missing().await;
        let (start, puts) = (Instant::now(), self.fleet.world.ledger.puts());
        loop {
            let missing = self.fleet.world.ledger.missing(&puts);
            if missing == 0 {
                break;
            }
            if start.elapsed() > DRAIN {
                let leases = self.fleet.world.leases().await;
                panic!("{missing} records were not processed within {DRAIN:?}; {leases:#?}");
            }
            self.fleet.reap();
            sleep(Duration::from_millis(100)).await;
        }
        self.calms.push(start.elapsed());
        self.fleet.until_left().await;
    }

    /// Lets time pass, and ends troubles in time.
    async fn wait(&mut self, pause: Duration) {
        let time = Instant::now() + pause;
        self.troubles.sort_by_key(|(end, _)| std::cmp::Reverse(*end));
        while let Some((end, trouble)) = self.troubles.pop_if(|(end, _)| *end <= time) {
            sleep_until(end).await;
            self.end(trouble);
        }
        sleep_until(time).await;
        self.fleet.reap();
    }

    fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Frozen(process) => self.fleet.thaw(process),
            Trouble::Weather(process, service) => {
                let found = self
                    .fleet
                    .members
                    .iter()
                    .find(|member| member.process() == process);
                if let Some(member) = found {
                    note(&format!("mend {}'s link to {service:?}", member.name));
                    member.set(service, Weather::Fair);
                }
            }
        }
    }

    /// Whether it could happen.
    async fn meet(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Started => {
                if self.fleet.members.len() >= MOST {
                    self.tell_to_leave().await;
                }
                self.fleet.start().await;
                true
            }
            Fault::Killed => {
                // A frozen one is to write once more.
                let spares_frozen = self.fleet.sums.is_some();
                let Some(index) = self.choose(|member| !(spares_frozen && member.is_frozen())) else {
                    return false;
                };
                self.fleet.kill(index);
                self.replace_missing().await;
                true
            }
            Fault::Restarted => {
                let Some(index) = self.choose(|member| !member.is_told_to_leave()) else {
                    return false;
                };
                self.fleet.restart(index).await;
                true
            }
            Fault::ToldToLeave => self.tell_to_leave().await,
            Fault::FrozenShortly => self.freeze(0.2, 0.9).await,
            Fault::FrozenLong => self.freeze(1.2, 2.5).await,
            Fault::Split => self.split().await,
            Fault::Merge => self.merge().await,
            Fault::LinkDown => self.disturb(Weather::Down),
            Fault::LinkSilent => self.disturb(Weather::Silent),
            Fault::LinkSlow => {
                let delay = Duration::from_millis(self.dice.u64(20..300));
                self.disturb(Weather::Slow(delay))
            }
            Fault::AnswersLost => self.disturb(Weather::AnswersLost),
        }
    }

    fn choose(&mut self, accept: impl Fn(&Member) -> bool) -> Option<usize> {
        let members = self.fleet.members.iter().enumerate();
        let able: Vec<_> = members
            .filter_map(|(index, member)| accept(member).then_some(index))
            .collect();
        (!able.is_empty()).then(|| able[self.dice.usize(..able.len())])
    }

    /// Starts workers in the place of those that are gone or going, as a supervisor would.
    async fn replace_missing(&mut self) {
        let stay = |fleet: &Fleet| {
            fleet
                .members
                .iter()
                .filter(|member| !member.is_told_to_leave())
                .count()
        };
        while stay(&self.fleet) < FEWEST {
            self.fleet.start().await;
        }
    }

    async fn tell_to_leave(&mut self) -> bool {
        let up = self.fleet.witness.books().up.clone();
        // Before that the signal would end it without a word.
        let chosen = self.choose(|member| !member.is_told_to_leave() && up.contains(&member.process()));
        let Some(index) = chosen else { return false };
        self.fleet.tell_to_leave(index);
        self.replace_missing().await;
        true
    }

    /// A worker in the middle of a batch with others behind it.
    fn busy(&self) -> Option<usize> {
        let books = self.fleet.witness.books();
        let members = &self.fleet.members;
        members.iter().position(|member| {
            !member.is_frozen() && !member.is_told_to_leave() && books.is_busy(&member.name)
        })
    }

    /// Freezes a process for a time between these shares of the fail-over time; if possible in the middle of a batch with
    /// others behind it, with which it might go on when it is thawed.
    async fn freeze(&mut self, least: f64, most: f64) -> bool {
        if self.troubles.len() >= MOST_TROUBLES {
            return false;
        }
        let deadline = Instant::now() + BURST;
        let busy = loop {
            let busy = self.busy();
            if busy.is_some() || Instant::now() > deadline {
                break busy;
            }
            sleep(Duration::from_millis(5)).await;
        };
        let Some(index) = busy.or_else(|| self.choose(|member| !member.is_frozen())) else {
            return false;
        };
        self.fleet.freeze(index);
        let time = FAILOVER.mul_f64(least + (most - least) * self.dice.f64());
        let member = &self.fleet.members[index];
        note(&format!("freeze {} for {time:?}", member.name));
        self.troubles
            .push((Instant::now() + time, Trouble::Frozen(member.process())));
        true
    }

    /// Gives the link of some worker to some service, or to the database, bad weather for up to three times the fail-over time.
    fn disturb(&mut self, weather: Weather) -> bool {
        let chosen = self.choose(|_| true);
        let Some(index) = chosen.filter(|_| self.troubles.len() < MOST_TROUBLES) else {
            return false;
        };
        let has_database = matches!(self.fleet.sums, Some(Sums::Server(_)));
        let service = if has_database && self.dice.bool() {
            Service::Database
        } else if self.dice.u8(..3) == 0 {
            Service::Kinesis
        } else {
            Service::DynamoDb
        };
        let time = FAILOVER.mul_f64(0.1 + 2.9 * self.dice.f64());
        let member = &self.fleet.members[index];
        let trouble = Trouble::Weather(member.process(), service);
        // The new one takes the place of one that may be there.
        self.troubles.retain(|(_, other)| *other != trouble);
        self.troubles.push((Instant::now() + time, trouble));
        note(&format!(
            "{}'s link to {service:?} is {weather:?} for {time:?}",
            member.name
        ));
        member.set(service, weather);
        true
    }

    async fn split(&mut self) -> bool {
        let open = self.fleet.world.open_shards().await;
        if open.len() >= MOST_SHARDS {
            return false;
        }
        let shard = &open[self.dice.usize(..open.len())];
        note(&format!("split {shard}"));
        self.fleet.world.split(shard).await;
        true
    }

    async fn merge(&mut self) -> bool {
        let open = self.fleet.world.open_shards().await;
        if open.len() < 3 {
            return false;
        }
        let pair = self.dice.usize(..open.len() - 1);
        note(&format!("merge {} and {}", open[pair], open[pair + 1]));
        self.fleet.world.merge(&open[pair], &open[pair + 1]).await;
        true
    }
}
