//! What a worker knows of the outside beyond its network: wall-clock time, chance, and whether it may look at the machine.
//! All are given at construction.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::ids::{ProcessId, WorkerId};

type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;
type BootClock = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// Injected wall-clock time and randomness. Clones share both.
///
/// Durations never come from here but from `tokio::time`, so that they follow virtual time.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use kcl_lease::Environment;
///
/// let env = Environment::seeded(7, || UNIX_EPOCH + Duration::from_secs(1_800_000_000));
/// assert_eq!(env.since_epoch(), Duration::from_secs(1_800_000_000));
/// ```
#[derive(Clone)]
pub struct Environment {
    clock: WallClock,
    boot_clock: Option<BootClock>,
    rng: Arc<Mutex<fastrand::Rng>>,
    is_system: bool,
}

impl Environment {
    /// The machine's time and a random seed of the operating system.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where ambient time and chance enter"
    )]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemTime::now),
            boot_clock: Some(Arc::new(time_since_boot)),
            rng: Arc::new(Mutex::new(fastrand::Rng::new())),
            is_system: true,
        }
    }

    /// Time from `clock` and chance from `seed`: the same seed gives the same run. The machine's load is not looked at.
    pub fn seeded(seed: u64, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            boot_clock: None,
            rng: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            is_system: false,
        }
    }

    /// Whether this is the machine's environment, so that the machine's load means something.
    pub(crate) fn is_system(&self) -> bool {
        self.is_system
    }

    /// Wall-clock time.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Time since the Unix epoch; zero for times before it.
    pub fn since_epoch(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }

    /// A random UUID (version 4) in its usual spelling.
    pub fn uuid(&self) -> String {
        let bits = self.with_rng(|rng| rng.u128(..));
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// A name for one run of a worker, other than that of any run before: made of chance and of the time.
    ///
    /// It takes nothing from the chance that paces the run.
    pub fn process_id(&self, worker: &WorkerId) -> ProcessId {
        let chance = self.with_rng(|rng| rng.clone().u64(..));
        let started = self.since_epoch().as_nanos();
        ProcessId::of(worker, &format!("{started:x}-{chance:016x}"))
    }

    /// Time since the machine was started, suspended or not; `None` where the platform does not tell it, and for an
    /// environment that is not the machine's.
    pub(crate) fn since_boot(&self) -> Option<Duration> {
        self.boot_clock.as_ref().and_then(|clock| clock())
    }

    /// Another clock for the time since the machine was started.
    #[cfg(test)]
    pub(crate) fn with_boot_clock(
        mut self,
        clock: impl Fn() -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.boot_clock = Some(Arc::new(clock));
        self
    }

    /// `period` shortened by a random share of up to `share` (0 to 1), so that workers do not march in step.
    pub fn jittered(&self, period: Duration, share: f64) -> Duration {
        let shortened = self.with_rng(fastrand::Rng::f64) * share.clamp(0.0, 1.0);
        period.mul_f64(1.0 - shortened)
    }

    fn with_rng<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Linux counts suspended time in one of its clocks.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn time_since_boot() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn time_since_boot() -> Option<Duration> {
    None
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let ids = |seed| {
            let environment = Environment::seeded(seed, || UNIX_EPOCH);
            [environment.uuid(), environment.uuid()]
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
        assert_ne!(ids(7)[0], ids(7)[1]);
    }

    #[test]
    fn two_runs_of_a_worker_differ_and_cost_no_chance() {
        let time = Arc::new(Mutex::new(UNIX_EPOCH));
        let clock = Arc::clone(&time);
        let environment = Environment::seeded(7, move || *clock.lock().unwrap());
        let worker = WorkerId::from("w");
        let first = environment.process_id(&worker);
        *time.lock().unwrap() += Duration::from_nanos(1);
        let second = environment.process_id(&worker);
        assert_ne!(first, second);
        assert!(first.is_of(&worker) && !first.is_of(&"w2".into()) && !first.is_of(&"".into()));
        assert_eq!(environment.uuid(), Environment::seeded(7, || UNIX_EPOCH).uuid());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_tells_how_long_it_has_been_up() {
        let environment = Environment::system();
        let first = environment.since_boot().expect("known on Linux");
        assert!(first > Duration::ZERO && environment.since_boot() >= Some(first));
    }

    #[test]
    fn ids_are_version_4_uuids() {
        let id = Environment::seeded(1, || UNIX_EPOCH).uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    }
}
