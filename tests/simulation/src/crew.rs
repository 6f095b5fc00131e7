//! Many histories on a few threads, each thread with one world at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::world::{self, Outcome, Size};

/// A history that takes a core for so much longer does not end: at least this, and this for each virtual minute.
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

/// Nor does one that takes so often as much in real time: it waits for something.
const IDLE: u32 = 12;

/// How long a history has been under way.
#[derive(Debug)]
struct Watch {
    stopwatch: Stopwatch,
    /// Where the system tells how long the history's thread has had a core, and what it told at first.
    worked: Option<(PathBuf, Duration)>,
}

impl Watch {
    /// Starts to count for this thread.
    fn start() -> Self {
        let thread = std::fs::read_link("/proc/thread-self").ok();
        let schedule = thread.map(|thread| Path::new("/proc").join(thread).join("schedstat"));
        Self {
            stopwatch: Stopwatch::start(),
            worked: schedule.and_then(|path| Some((path.clone(), worked_by(&path)?))),
        }
    }

    fn is_over(&self, patience: Duration) -> bool {
        let worked = self.worked.as_ref();
        let worked = worked.and_then(|(path, before)| Some(worked_by(path)?.saturating_sub(*before)));
        takes_too_long(self.stopwatch.elapsed(), worked, patience)
    }
}

/// How long a thread has had a core.
fn worked_by(schedule: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(schedule).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Whether a history does not end, after so much real time and, if that is known, so much of a core's time.
fn takes_too_long(real: Duration, worked: Option<Duration>, patience: Duration) -> bool {
    worked.unwrap_or(real) > patience || real > patience * IDLE
}

/// As many threads as the machine runs at a time.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs the histories of all seeds on this many threads; each outcome is given to `take`, in the order in which they end.
///
/// # Errors
/// The seed of a history that takes a core for more than 100 s for each virtual minute, or whose thread panicked.
pub fn run_all(
    seeds: Range<u64>,
    size: &Size,
    threads: usize,
    mut take: impl FnMut(Outcome),
) -> Result<(), u64> {
    let next = Arc::new(AtomicU64::new(seeds.start));
    let under_way: Arc<Mutex<BTreeMap<u64, Watch>>> = Arc::default();
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
                clock().insert(seed, Watch::start());
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
                if let Some((seed, _)) = under_way.iter().find(|(_, watch)| watch.is_over(patience)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_had_no_core_is_waited_for() {
        let [second, minute, hour] = [1, 60, 3_600].map(Duration::from_secs);
        assert!(!takes_too_long(minute * 5, Some(second), minute));
        assert!(takes_too_long(minute * 5, Some(minute * 2), minute));
        assert!(takes_too_long(minute * 5, None, minute));
        assert!(
            takes_too_long(hour, Some(second), minute),
            "it waits for something"
        );
    }

    #[test]
    fn a_thread_has_a_core_as_long_as_it_computes() {
        let watch = Watch::start();
        while cfg!(target_os = "linux") && !watch.is_over(Duration::from_millis(1)) {
            std::hint::black_box((0..1_000).sum::<u64>());
        }
    }
}
