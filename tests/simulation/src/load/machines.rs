//! Machines drawn from the seed, as busy as what their workers process makes them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::{Load, LoadError, LoadSource, async_trait};
use tokio::time::Instant;

use super::Processed;
use crate::history::Name;
use crate::seeds::Dice;
use crate::workload::RECORDS_PER_SECOND;

/// How often workers report. A tenth of the default, so that histories are short.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(3);
/// Records of so many seconds count, the latest most.
const MEMORY: f64 = 60.0;

/// What a worker says of its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// The truth.
    Clear,
    /// It has a source that fails as long as the world is disturbed.
    Hoarse,
    /// It has a source that never works.
    Lost,
    /// It reports nothing.
    Silent,
}

/// What a worker runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Its size in per mille of an ordinary one.
    pub size: u64,
    /// What it does besides, in per mille of its own capacity.
    pub base: u64,
    /// How much its load goes up and down, in per mille of its own capacity.
    pub noise: u64,
    /// What its worker says of it.
    pub voice: Voice,
}

impl Machine {
    /// How busy it is, from 0 to 1, with so much to do; `work` is a part of an ordinary machine's capacity.
    #[must_use]
    pub fn busy_with(&self, work: f64) -> f64 {
        (self.base as f64 / 1e3 + work * 1e3 / self.size as f64).min(1.0)
    }
}

/// The machines of one history. Clones are the same.
#[derive(Clone)]
pub struct Machines {
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    /// A record per second, in millionths of an ordinary machine's capacity.
    record: u64,
    max_utilization: u8,
    silent: u64,
    failing: u64,
    is_calm: AtomicBool,
    /// How much is put to each shard.
    rates: Mutex<BTreeMap<Name, Rate>>,
}

/// A count that fades.
struct Rate {
    count: f64,
    at: Instant,
    since: Instant,
}

impl Rate {
    fn count_at(&self, now: Instant) -> f64 {
        self.count * (-(now - self.at).as_secs_f64() / MEMORY).exp()
    }

    /// Records per second.
    fn at(&self, now: Instant) -> f64 {
        let age = (now - self.since).as_secs_f64().max(1.0);
        self.count_at(now) / (MEMORY * (1.0 - (-age / MEMORY).exp()))
    }
}

impl Machines {
    /// Whether the workers of a seed's history tell of their loads: one in twenty does, and the others are what they
    /// would be if there were no loads at all. It takes long to see how leases are spread by load.
    #[must_use]
    pub fn are_told_of(seed: u64) -> bool {
        seed.is_multiple_of(20)
    }

    /// Machines for a fleet of so many workers.
    #[must_use]
    pub fn drawn(seed: u64, workers: usize) -> Self {
        let mut dice = Dice::of(seed, "load");
        // What each of them does if all have the same to do: little, or much.
        let percent = *dice.pick(&[8, 40, 40, 60]).unwrap_or(&40);
        let record = percent * 10_000 * workers as u64 / RECORDS_PER_SECOND;
        let max_utilization = *dice.pick(&[100, 100, 70]).unwrap_or(&100);
        let silent = *dice.pick(&[0, 0, 0, 300]).unwrap_or(&0);
        let failing = *dice.pick(&[0, 0, 250]).unwrap_or(&0);
        Self {
            shared: Arc::new(Shared {
                seed,
                record,
                max_utilization,
                silent,
                failing,
                is_calm: AtomicBool::new(false),
                rates: Mutex::default(),
            }),
        }
    }

    /// A record per second, in millionths of an ordinary machine's capacity.
    #[must_use]
    pub fn record(&self) -> u64 {
        self.shared.record
    }

    /// The operating range of every worker, in percent.
    #[must_use]
    pub fn max_utilization(&self) -> u8 {
        self.shared.max_utilization
    }

    /// The machine of a worker's life.
    #[must_use]
    pub fn of(&self, who: &str) -> Machine {
        let mut dice = Dice::of(self.shared.seed, &format!("machine of {who}"));
        let size = *dice.pick(&[500, 1_000, 1_000, 2_000]).unwrap_or(&1_000);
        let is_hot = dice.happens(150);
        let base = if is_hot {
            dice.between(300, 500)
        } else {
            dice.roll(120)
        };
        let noise = *dice.pick(&[0, 10, 40]).unwrap_or(&0);
        let voice = if dice.happens(self.shared.silent) {
            Voice::Silent
        } else if dice.happens(self.shared.failing) {
            *dice.pick(&[Voice::Hoarse, Voice::Lost]).unwrap_or(&Voice::Lost)
        } else {
            Voice::Clear
        };
        Machine {
            size,
            base,
            noise,
            voice,
        }
    }

    /// What a worker's life is configured with.
    #[must_use]
    pub fn load_of(&self, who: &Name, processed: &Processed) -> Load {
        let machine = self.of(who);
        if machine.voice == Voice::Silent {
            return Load::Unreported;
        }
        Load::from_source(Meter {
            machine,
            record: self.shared.record as f64 / 1e6,
            shared: self.shared.clone(),
            who: who.clone(),
            processed: processed.clone(),
            dice: Mutex::new(Dice::of(self.shared.seed, &format!("meter of {who}"))),
        })
    }

    /// A record was put.
    pub fn put(&self, shard: &Name) {
        let now = Instant::now();
        let mut rates = self.shared.rates();
        let rate = rates.entry(shard.clone());
        let rate = rate.or_insert(Rate {
            count: 0.0,
            at: now,
            since: now,
        });
        *rate = Rate {
            count: rate.count_at(now) + 1.0,
            at: now,
            since: rate.since,
        };
    }

    /// From now on what can work does.
    pub fn calm(&self) {
        self.shared.is_calm.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn rates(&self) -> MutexGuard<'_, BTreeMap<Name, Rate>> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines").finish_non_exhaustive()
    }
}

/// Measures one machine, as a worker does.
struct Meter {
    machine: Machine,
    /// A record per second, as a part of an ordinary machine's capacity.
    record: f64,
    shared: Arc<Shared>,
    who: Name,
    processed: Processed,
    dice: Mutex<Dice>,
}

#[async_trait]
impl LoadSource for Meter {
    async fn sample(&self) -> Result<f64, LoadError> {
        let works = match self.machine.voice {
            Voice::Hoarse => self.shared.is_calm.load(Ordering::Relaxed),
            voice => voice == Voice::Clear,
        };
        if !works {
            return Err("the machine does not say".into());
        }
        let now = Instant::now();
        let rate: f64 = {
            let (processed, rates) = (self.processed.by(&self.who), self.shared.rates());
            let its = processed.iter().filter_map(|shard| rates.get(shard));
            its.map(|rate| rate.at(now)).sum()
        };
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let noise = dice.roll(self.machine.noise * 2 + 1) as f64 - self.machine.noise as f64;
        let busy = self.machine.busy_with(rate * self.record) + noise / 1e3;
        Ok(busy.clamp(0.0, 1.0) * 100.0)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_machine_is_as_busy_as_its_workers_shards() {
        let machines = Machines::drawn(2, 3);
        let who: Name = (1..)
            .map(|number| Name::from(format!("w{number}")))
            .find(|who| machines.of(who).voice == Voice::Clear && machines.of(who).noise == 0)
            .expect("some are clear");
        let processed = Processed::default();
        let Load::Source(meter) = machines.load_of(&who, &processed) else {
            panic!("it reports");
        };
        let (machine, shard) = (machines.of(&who), Name::from("shard"));
        for _ in 0..200 {
            tokio::time::advance(Duration::from_secs(1)).await;
            machines.put(&shard);
        }
        assert_eq!(meter.sample().await.expect("clear"), machine.base as f64 / 10.0);
        processed.begin(&who, &shard);
        let expected = machine.busy_with(machines.record() as f64 / 1e6) * 100.0;
        let measured = meter.sample().await.expect("clear");
        assert!((measured - expected).abs() < 1.0, "{measured}, not {expected}");
        processed.end(&who, &shard);
        assert_eq!(meter.sample().await.expect("clear"), machine.base as f64 / 10.0);
    }
}
