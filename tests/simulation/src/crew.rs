//! Many histories on a few threads, each thread with one world at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kcl_simulation::world::{self, Outcome, Size};

/// A history that takes longer than this in real time does not end.
const PATIENCE: Duration = Duration::from_secs(100);

/// Real time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that measures real time: how fast histories are, and whether one ends"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Runs the histories of all seeds; each outcome is given to `take`.
///
/// # Errors
/// The seed of a history that does not end.
pub(crate) fn run_all(
    seeds: Range<u64>,
    size: &Size,
    threads: usize,
    mut take: impl FnMut(Outcome),
) -> Result<(), u64> {
    let next = Arc::new(AtomicU64::new(seeds.start));
    let under_way: Arc<Mutex<BTreeMap<u64, Stopwatch>>> = Arc::default();
    let (done, outcomes) = mpsc::channel();
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
                if let Some((seed, _)) = under_way.iter().find(|(_, watch)| watch.elapsed() > PATIENCE) {
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
