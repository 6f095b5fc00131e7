//! The task that brings what was gathered out of the process, minute by minute.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_lease::{Counter, Environment, Gauge, Histogram, Labels, Recorder};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::gathering::{Datum, Gathering};
use super::{CloudWatch, InvalidExport, Series, words};

/// CloudWatch keeps what is not asked to be finer by the minute.
const MINUTE: Duration = Duration::from_secs(60);
/// Workers of a fleet do not all send at once.
const SPREAD: Duration = Duration::from_secs(10);
/// For so long one attempt may take, and all of a minute.
const ATTEMPT: Duration = Duration::from_secs(10);
const ATTEMPTS: Duration = Duration::from_secs(40);
/// For so long a worker that ends waits for its last numbers.
const LAST_ATTEMPTS: Duration = Duration::from_secs(5);
/// Data that wait.
const MOST_WAITING: usize = 10_000;

/// What leaves the process in one piece.
#[derive(Debug)]
pub(crate) struct Parcel<B> {
    /// How many data it has.
    pub(crate) data: usize,
    pub(crate) body: B,
}

/// Why a parcel was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It never will be.
    #[cfg_attr(
        not(any(test, feature = "cloudwatch")),
        expect(dead_code, reason = "a log takes everything")
    )]
    Never(String),
    /// It may be later. The code tells one trouble from another.
    NotNow { code: &'static str, text: String },
}

/// Where numbers go.
pub(crate) trait Outlet: Send + 'static {
    type Body: Send + Sync;

    /// What it is called in the log.
    const NAME: &'static str;

    /// Puts the data of the minute that began at this time into as many parcels as they need.
    fn pack(&self, began: SystemTime, data: &[Datum]) -> Vec<Parcel<Self::Body>>;

    /// Sends a parcel. One that was not taken, or whose sending was dropped, is sent again.
    fn send(&mut self, body: &Self::Body) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Whether a part of a parcel has left, so that the rest has to follow.
    fn has_begun(&self) -> bool {
        false
    }
}

/// Numbers on their way to CloudWatch. They leave for as long as it is kept.
///
/// Give its [`recorder`](Self::recorder) to the worker, and [`finish`](Self::finish) it when the worker has ended: otherwise the numbers of
/// the last minute are lost.
#[must_use = "numbers leave for as long as it is kept"]
pub struct Exporter {
    recording: Arc<Recording>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    lost: Arc<AtomicU64>,
}

/// A worker's recorder.
#[derive(Debug)]
struct Recording(Mutex<Gathering>);

impl Recording {
    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for Recording {
    fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        self.gathering().add(counter, labels, amount);
    }

    fn set(&self, gauge: Gauge, labels: Labels<'_>, value: f64) {
        self.gathering().set(gauge, labels, value);
    }

    fn observe(&self, histogram: Histogram, labels: Labels<'_>, value: f64) {
        self.gathering().observe(histogram, labels, value);
    }

    fn forget(&self, shard: &str) {
        self.gathering().forget(shard);
    }
}

impl CloudWatch {
    /// The namespace, if it can be one.
    pub(crate) fn checked_namespace(&self) -> Result<String, InvalidExport> {
        words::namespace(&self.namespace)
    }

    pub(crate) fn start<O: Outlet>(self, outlet: O) -> Result<Exporter, InvalidExport> {
        let runtime = Handle::try_current().map_err(|_| InvalidExport::NoRuntime)?;
        let recording = Arc::new(Recording(Mutex::new(Gathering::new(self.series.clone()))));
        let (stop, stopping) = watch::channel(false);
        let lost = Arc::new(AtomicU64::new(0));
        let exporting = Exporting {
            outlet,
            recording: Arc::clone(&recording),
            env: self.env,
            series: self.series,
            queue: VecDeque::new(),
            waiting: 0,
            told: None,
            has_told_of_left_out: false,
            lost: Arc::clone(&lost),
        };
        let task = runtime.spawn(exporting.run(stopping));
        Ok(Exporter {
            recording,
            stop,
            task,
            lost,
        })
    }
}

impl Exporter {
    /// For `WorkerBuilder::recorder`.
    pub fn recorder(&self) -> Arc<dyn Recorder> {
        Arc::clone(&self.recording) as Arc<dyn Recorder>
    }

    /// How many data were dropped because they could not be delivered.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends what is left, for five seconds at most. How many data were dropped in all.
    pub async fn finish(mut self) -> u64 {
        self.stop.send_replace(true);
        // It bounds itself, unless the runtime does not let it.
        let _ = timeout(LAST_ATTEMPTS * 2, &mut self.task).await;
        self.lost()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

struct Exporting<O: Outlet> {
    outlet: O,
    recording: Arc<Recording>,
    env: Environment,
    series: Series,
    queue: VecDeque<Parcel<O::Body>>,
    /// Data in the queue.
    waiting: usize,
    /// The trouble that the log tells of, until something is delivered again.
    told: Option<&'static str>,
    has_told_of_left_out: bool,
    lost: Arc<AtomicU64>,
}

impl<O: Outlet> Exporting<O> {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut began = minute_of(self.env.since_epoch());
        let last = loop {
            let now = self.env.since_epoch();
            let mut end = minute_of(now) + MINUTE;
            if end - now < Duration::from_secs(1) {
                // This minute's clock was a little ahead: what is left of it goes with the next.
                end += MINUTE;
            }
            let spread = self.env.jittered(SPREAD, 1.0);
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break Instant::now() + LAST_ATTEMPTS,
                () = sleep(end - now) => {}
            }
            self.take(began);
            began = minute_of(self.env.since_epoch()).max(end);
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => break Instant::now() + LAST_ATTEMPTS,
                () = sleep(spread) => {}
            }
            let mut delivering = pin!(self.deliver(Instant::now() + ATTEMPTS));
            tokio::select! {
                biased;
                () = &mut delivering => {}
                () = stopped(&mut stopping) => {
                    // What is under way is waited for, but not for long.
                    let last = Instant::now() + LAST_ATTEMPTS;
                    let _ = timeout_at(last - LAST_ATTEMPTS / 2, delivering).await;
                    break last;
                }
            }
        };
        self.take(began);
        self.deliver(last).await;
        self.drop_oldest(0);
    }

    /// Takes what was gathered since this time.
    fn take(&mut self, began: Duration) {
        let (windows, left_out) = {
            let mut gathering = self.recording.gathering();
            (gathering.end_minute(), gathering.take_left_out())
        };
        let data = self.series.data(&windows);
        if !self.has_told_of_left_out && (left_out.values > 0 || left_out.shards > 0) {
            self.has_told_of_left_out = true;
            tracing::warn!(
                values = left_out.values,
                shards = left_out.shards,
                by_shard = self.series.by_shard,
                "some numbers are not told to {}: values that are no numbers, or shards beyond by_shard; this is said once",
                O::NAME
            );
        }
        for parcel in self.outlet.pack(UNIX_EPOCH + began, &data) {
            self.waiting += parcel.data;
            self.queue.push_back(parcel);
        }
        self.drop_oldest(MOST_WAITING);
    }

    /// Sends what waits, the oldest first, until something is not taken.
    async fn deliver(&mut self, until: Instant) {
        while let Some(parcel) = self.queue.front() {
            let deadline = until.min(Instant::now() + ATTEMPT);
            let answer = timeout_at(deadline, self.outlet.send(&parcel.body)).await;
            let refusal = match answer {
                Ok(Ok(())) => None,
                Ok(Err(refusal)) => Some(refusal),
                Err(_) => Some(Refusal::NotNow {
                    code: "no-answer",
                    text: "there was no answer in time".to_owned(),
                }),
            };
            match refusal {
                None => {
                    self.next();
                    if self.told.take().is_some() {
                        tracing::info!(
                            lost = self.lost.load(Ordering::Relaxed),
                            "numbers reach {} again",
                            O::NAME
                        );
                    }
                }
                Some(Refusal::Never(text)) => {
                    let data = self.next();
                    self.lost.fetch_add(data as u64, Ordering::Relaxed);
                    self.tell("refused", &format!("{text}; what it refuses is dropped"));
                }
                Some(Refusal::NotNow { code, text }) => {
                    self.tell(code, &format!("{text}; it is tried again each minute"));
                    return;
                }
            }
        }
    }

    /// The first parcel is done with; how many data it had.
    fn next(&mut self) -> usize {
        let data = self.queue.pop_front().map_or(0, |parcel| parcel.data);
        self.waiting -= data;
        data
    }

    /// Each trouble once, until something is delivered.
    fn tell(&mut self, code: &'static str, text: &str) {
        if self.told != Some(code) {
            tracing::warn!(code, "numbers do not reach {}: {text}", O::NAME);
            self.told = Some(code);
        }
    }

    /// Makes room, so that no more than so many data wait. A parcel that has left in part stays.
    fn drop_oldest(&mut self, most: usize) {
        let mut dropped = 0;
        let first = usize::from(self.outlet.has_begun() && most > 0);
        while self.waiting > most
            && let Some(parcel) = self.queue.remove(first)
        {
            self.waiting -= parcel.data;
            dropped += parcel.data;
        }
        if dropped > 0 && self.lost.fetch_add(dropped as u64, Ordering::Relaxed) == 0 {
            tracing::warn!(
                dropped,
                "numbers for {} are dropped, the oldest first, since they cannot be delivered; this is said once",
                O::NAME
            );
        }
    }
}

/// When the minute of a time began.
fn minute_of(since_epoch: Duration) -> Duration {
    Duration::from_secs(since_epoch.as_secs() / 60 * 60)
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Whoever drops the exporter ends this task.
    let _ = stopping.wait_for(|stops| *stops).await;
}

#[cfg(test)]
mod tests;
