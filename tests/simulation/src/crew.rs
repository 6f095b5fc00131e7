//! Many histories on a few threads, each thread with one world at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::world::{self, Outcome, Size};

/// A history that takes so much longer in real time does not end: at least this, and this for each virtual minute.
const PATIENCE: Duration = Duration::from_secs(100);

/// Real time, for measurements of the simulator itself.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to count.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that measures real time: how fast histories are, and whether one ends"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The real time since its start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// As many threads as the machine runs at a time.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs the histories of all seeds on this many threads; each outcome is given to `take`, in the order in which they end.
///
/// # Errors
/// The seed of a history that takes more than 100 s of real time for each virtual minute, or whose thread panicked.
pub fn run_all(
    seeds: Range<u64>,
    size: &Size,
    threads: usize,
    mut take: impl FnMut(Outcome),
) -> Result<(), u64> {
    let next = Arc::new(AtomicU64::new(seeds.start));
    let under_way: Arc<Mutex<BTreeMap<u64, Stopwatch>>> = Arc::default();
    let (done, outcomes) = mpsc::channel();
    let patience = PATIENCE.max(PATIENCE.mul_f64(size.disturbed.as_secs_f64() / 60.0));
    for _ in 0..threads.max(1) {
        let (next, under_way, done) = (next.clone(), under_way.clone(), done.clone());
        let size = size.clone();
        std::thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return;
                }
                let clock = || under_way.lock().unwrap_or_else(PoisonError::into_inner);
                clock().insert(seed, Stopwatch::start());
                let outcome = world::run(seed, &size);
                clock().remove(&seed);
                if done.send(outcome).is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    loop {
        match outcomes.recv_timeout(Duration::from_secs(1)) {
            Ok(outcome) => take(outcome),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((seed, _)) = under_way.iter().find(|(_, watch)| watch.elapsed() > patience) {
                    return Err(*seed);
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
                // A thread that panicked leaves its seed behind.
                return under_way.first_key_value().map_or(Ok(()), |(seed, _)| Err(*seed));
            }
        }
    }
}
