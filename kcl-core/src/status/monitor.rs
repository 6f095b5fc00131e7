//! What one shard's reader and consumer report, for the worker's status.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_lease::{Counter, Gauge, Histogram, Labels, LeaseKey, Metrics, Problem};
use tokio::time::Instant;

use super::shard::{ShardState, ShardStatus};
use super::vitals::{Failure, Vitals, Work};
use crate::config::StreamId;

/// A shard has something to do, and gets no further.
const STALLED: &str = "stalled";

/// The live state of one shard. Written by its reader and its consumer, read by the worker's status.
#[derive(Debug)]
pub(crate) struct ShardMonitor {
    /// The key of its lease.
    shard: String,
    metrics: Metrics,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: ShardState,
    reason: Option<String>,
    progress_at: Instant,
    millis_behind_latest: Option<u64>,
    processing: Option<Trouble>,
    attempts: u32,
    reading: Option<Trouble>,
    handling: Option<Trouble>,
    handling_attempts: u32,
    /// The processor takes records in, and says by itself what becomes of them.
    tells_itself: bool,
    /// Such a processor has records that are not done.
    has_undone: bool,
    records: u64,
    bytes: u64,
    skipped: u64,
    dead_lettered: u64,
    /// The call of the processor that is under way.
    busy: Option<(&'static str, Instant)>,
    /// Whether the reader waits until there is memory for another read.
    waits_for_memory: bool,
    vitals: Vitals,
}

/// What fails at present.
#[derive(Debug)]
struct Trouble {
    code: &'static str,
    text: String,
    since: Instant,
}

impl Trouble {
    /// The same or something else fails: since the first of an unbroken row.
    fn goes_on(trouble: &mut Option<Self>, code: &'static str, text: String) {
        let since = trouble.take().map_or_else(Instant::now, |before| before.since);
        *trouble = Some(Self { code, text, since });
    }
}

impl ShardMonitor {
    pub(crate) fn new(shard: &str, metrics: Metrics) -> Self {
        Self {
            shard: shard.to_owned(),
            metrics,
            inner: Mutex::new(Inner {
                state: ShardState::WaitingOnParents,
                reason: None,
                progress_at: Instant::now(),
                millis_behind_latest: None,
                processing: None,
                attempts: 0,
                reading: None,
                handling: None,
                handling_attempts: 0,
                tells_itself: false,
                has_undone: false,
                records: 0,
                bytes: 0,
                skipped: 0,
                dead_lettered: 0,
                busy: None,
                waits_for_memory: false,
                vitals: Vitals::default(),
            }),
        }
    }

    /// The consumer does something else from now on.
    pub(crate) fn enter(&self, state: ShardState, reason: Option<String>) {
        let mut inner = self.inner();
        inner.state = state;
        inner.reason = reason;
        inner.vitals.is_idle = match state {
            ShardState::Initializing | ShardState::Processing | ShardState::Ending => false,
            ShardState::WaitingOnParents | ShardState::Paused | ShardState::Draining | ShardState::Lost => {
                true
            }
        };
    }

    /// A step of the consumer succeeded.
    pub(crate) fn progressed(&self, records: usize, bytes: u64) {
        let mut inner = self.inner();
        inner.processing = None;
        inner.attempts = 0;
        let work = work_in(inner.state);
        if inner.tells_itself && work == Work::Processing {
            return;
        }
        self.count(&mut inner, records as u64, bytes);
        inner.progress_at = Instant::now();
        inner.vitals.succeeded(work, Instant::now());
    }

    /// A step of the consumer failed.
    pub(crate) fn failed(&self, code: &'static str, text: String, attempts: u32) {
        let mut inner = self.inner();
        let work = work_in(inner.state);
        inner.vitals.failed(work, Failure::now(text.clone()));
        Trouble::goes_on(&mut inner.processing, code, text);
        self.metrics
            .add(Counter::StepFailures, self.labels().with_code(code), 1);
        inner.attempts = attempts;
    }

    /// User records were left out of aggregates.
    pub(crate) fn left_out(&self, user_records: u64) {
        self.add(Counter::UserRecordsLeftOut, user_records);
    }

    /// Records were skipped, as the failure policy says.
    pub(crate) fn skipped(&self, records: usize) {
        let mut inner = self.inner();
        inner.progress_at = Instant::now();
        inner.skipped += records as u64;
        self.add(Counter::RecordsSkipped, records as u64);
        inner.vitals.succeeded(Work::Processing, Instant::now());
    }

    /// Records were written to the dead letters.
    pub(crate) fn dead_lettered(&self, records: usize) {
        let mut inner = self.inner();
        inner.progress_at = Instant::now();
        inner.dead_lettered += records as u64;
        self.add(Counter::RecordsDeadLettered, records as u64);
        inner.vitals.succeeded(Work::Processing, Instant::now());
    }

    /// What fails is not waited for any longer: another worker is to try.
    pub(crate) fn gives_up(&self) {
        let mut inner = self.inner();
        let work = work_in(inner.state);
        inner.vitals.gives_up(work);
    }

    /// What failed before works again.
    pub(crate) fn recovered(&self) {
        let mut inner = self.inner();
        inner.processing = None;
        inner.attempts = 0;
        let work = work_in(inner.state);
        if inner.handling.is_none() {
            inner.vitals.recovered(work);
        }
    }

    /// From now on that a batch was taken in says nothing of its records.
    pub(crate) fn tells_records_itself(&self) {
        self.inner().tells_itself = true;
    }

    /// Whether there are records that were taken in and are not done.
    pub(crate) fn records_are_undone(&self, are_there: bool) {
        self.inner().has_undone = are_there;
    }

    /// So many records that were taken in are done.
    pub(crate) fn handled(&self, records: u64, bytes: u64) {
        self.count(&mut self.inner(), records, bytes);
    }

    fn count(&self, inner: &mut Inner, records: u64, bytes: u64) {
        inner.records += records;
        inner.bytes += bytes;
        self.add(Counter::RecordsProcessed, records);
        self.add(Counter::BytesProcessed, bytes);
    }

    /// Records that were taken in are done.
    pub(crate) fn records_done(&self) {
        let mut inner = self.inner();
        inner.progress_at = Instant::now();
        inner.vitals.succeeded(Work::Processing, Instant::now());
    }

    /// What is done for records that were taken in fails.
    pub(crate) fn handling_failed(&self, code: &'static str, text: String, attempts: u32) {
        let mut inner = self.inner();
        inner.vitals.failed(Work::Processing, Failure::now(text.clone()));
        Trouble::goes_on(&mut inner.handling, code, text);
        self.metrics
            .add(Counter::StepFailures, self.labels().with_code(code), 1);
        inner.handling_attempts = attempts;
    }

    /// Nothing of it fails any more.
    pub(crate) fn handling_recovered(&self) {
        let mut inner = self.inner();
        inner.handling = None;
        inner.handling_attempts = 0;
        inner.vitals.succeeded(Work::Processing, Instant::now());
    }

    /// A read succeeded. One that found nothing while nothing waits to be processed is progress too.
    pub(crate) fn read(&self, records: usize, millis_behind_latest: Option<u64>, all_processed: bool) {
        let mut inner = self.inner();
        inner.reading = None;
        inner.vitals.succeeded(Work::Reading, Instant::now());
        inner.millis_behind_latest = millis_behind_latest.or(inner.millis_behind_latest);
        if let Some(millis) = millis_behind_latest {
            self.metrics
                .set(Gauge::MillisBehindLatest, self.labels(), millis as f64);
        }
        if records == 0 && all_processed && !inner.has_undone {
            inner.progress_at = Instant::now();
        }
    }

    /// A read that was started at `started` failed, and another worker might fare better.
    pub(crate) fn cannot_read(&self, error: String, started: Instant) {
        let failure = Failure {
            since: started,
            ..Failure::now(error)
        };
        self.inner().vitals.failed(Work::Reading, failure);
    }

    /// What works here and what does not.
    pub(crate) fn vitals(&self) -> Vitals {
        self.inner().vitals.clone()
    }

    /// A read failed. Codes do not change: alarms may rely on them.
    pub(crate) fn read_failed(&self, code: &'static str, error: String) {
        Trouble::goes_on(&mut self.inner().reading, code, error);
    }

    /// A read was answered, or failed, after so long. A failure has a code.
    pub(crate) fn read_took(&self, time: Duration, failure: Option<&'static str>) {
        self.metrics.took(Histogram::ReadTime, self.labels(), time);
        if let Some(code) = failure {
            self.metrics
                .add(Counter::ReadFailures, self.labels().with_code(code), 1);
        }
    }

    /// The reader waits for memory, or does not any more.
    pub(crate) fn waits_for_memory(&self, waits: bool) {
        self.inner().waits_for_memory = waits;
    }

    /// A call of the processor begins.
    pub(crate) fn call_begins(&self, method: &'static str) {
        self.inner().busy = Some((method, Instant::now()));
    }

    /// A call of the processor ended after so long.
    pub(crate) fn call_took(&self, method: &'static str, time: Duration, is_success: bool) {
        self.inner().busy = None;
        let mut labels = self.labels();
        labels.operation = Some(method);
        self.metrics.took(Histogram::ProcessorCallTime, labels, time);
        let code = if is_success { "ok" } else { "failed" };
        self.metrics
            .add(Counter::ProcessorCalls, labels.with_code(code), 1);
    }

    /// A checkpoint was made after so long, or not. A failure has a code.
    pub(crate) fn checkpoint_took(&self, time: Duration, failure: Option<&'static str>) {
        self.metrics.took(Histogram::CheckpointTime, self.labels(), time);
        let code = failure.unwrap_or("ok");
        self.metrics
            .add(Counter::Checkpoints, self.labels().with_code(code), 1);
    }

    fn add(&self, counter: Counter, amount: u64) {
        if amount > 0 {
            self.metrics.add(counter, self.labels(), amount);
        }
    }

    fn labels(&self) -> Labels<'_> {
        Labels::of_shard(&self.shard)
    }

    /// How long ago the shard last got ahead.
    pub(crate) fn progress_age(&self) -> Duration {
        self.inner().progress_at.elapsed()
    }

    /// Why the shard got no further for so long, if it did not.
    pub(crate) fn stalled(&self, after: Duration) -> Option<Problem> {
        let inner = self.inner();
        if inner.progress_at.elapsed() < after {
            return None;
        }
        let why = match (inner.state, &inner.processing, inner.busy, &inner.reading) {
            (ShardState::Draining | ShardState::Lost, ..) => return None,
            (ShardState::Paused, ..) => "it is paused".to_owned(),
            (ShardState::WaitingOnParents, ..) => match &inner.reason {
                Some(reason) => format!("it waits until what it came from is processed: {reason}"),
                None => "it waits until what it came from is processed".to_owned(),
            },
            (_, Some(trouble), ..) => trouble.text.clone(),
            _ if inner.handling.is_some() => inner.handling.as_ref().map(|trouble| trouble.text.clone()).unwrap_or_default(),
            _ if inner.has_undone => {
                "records that were taken in are not done, and nothing says why: their handlers have not returned, or what was delivered \
                 is not acknowledged"
                    .to_owned()
            }
            (_, None, Some((call, since)), _) => {
                format!("the processor has been busy with one call of {call} for {} s", since.elapsed().as_secs())
            }
            (.., Some(trouble)) => trouble.text.clone(),
            _ if inner.waits_for_memory => {
                "there is no memory to read into: other shards, and records that are kept, have all of prefetch_bytes_per_worker"
                    .to_owned()
            }
            _ => inner.reason.clone().unwrap_or_else(|| "nothing shows why".to_owned()),
        };
        Some(Problem::new(STALLED, why, inner.progress_at))
    }

    /// The lease was given up so long after it was asked for.
    pub(crate) fn handed_off(&self, time: Duration) {
        self.metrics.took(Histogram::HandOffTime, self.labels(), time);
    }

    /// Tells how long ago the shard last got ahead.
    pub(crate) fn tell_progress(&self) {
        let age = self.progress_age().as_secs_f64();
        self.metrics.set(Gauge::SinceProgress, self.labels(), age);
    }

    /// The shard is another worker's, or nobody's.
    pub(crate) fn is_gone(&self) {
        self.metrics.forget(&self.shard);
    }

    /// A shard begins to stall, or does not any more.
    pub(crate) fn tell_stall(&self, stalls: bool) {
        self.metrics
            .set(Gauge::Stalled, self.labels(), f64::from(u8::from(stalls)));
    }

    /// A snapshot. A shard that gets no further for `stalled_after` stalls.
    pub(crate) fn status(&self, checkpoint: String, stalled_after: Duration) -> ShardStatus {
        let (stream, shard_id) = match StreamId::of_lease(&LeaseKey::from(self.shard.as_str())) {
            Some((stream, shard)) => (Some(stream.to_string()), shard.to_string()),
            None => (None, self.shard.clone()),
        };
        let age = self.progress_age();
        let stalled = self.stalled(stalled_after);
        let inner = self.inner();
        ShardStatus {
            stream,
            shard_id,
            state: inner.state,
            reason: inner.reason.clone(),
            checkpoint,
            progress_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            millis_behind_latest: inner.millis_behind_latest,
            problem: (inner.processing.as_ref())
                .or(inner.handling.as_ref())
                .or(inner.reading.as_ref())
                .map(|trouble| Problem::new(trouble.code, trouble.text.clone(), trouble.since)),
            stalled,
            attempts: match inner.processing {
                Some(_) => inner.attempts,
                None => inner.attempts.max(inner.handling_attempts),
            },
            records_processed: inner.records,
            bytes_processed: inner.bytes,
            records_skipped: inner.skipped,
            records_dead_lettered: inner.dead_lettered,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the consumer does in a state.
fn work_in(state: ShardState) -> Work {
    match state {
        ShardState::WaitingOnParents | ShardState::Initializing => Work::Initializing,
        _ => Work::Processing,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A shard whose processor takes records in, and says by itself what becomes of them.
    fn monitor() -> ShardMonitor {
        let monitor = ShardMonitor::new("shard", Metrics::default());
        monitor.enter(ShardState::Processing, None);
        monitor.tells_records_itself();
        monitor
    }

    fn problem(monitor: &ShardMonitor) -> Option<&'static str> {
        let status = monitor.status(String::new(), Duration::MAX);
        status.problem.map(|problem| problem.code)
    }

    #[tokio::test(start_paused = true)]
    async fn that_records_were_taken_in_does_not_show_that_they_can_be_processed() {
        let monitor = monitor();
        monitor.progressed(10, 100);
        assert_eq!(monitor.vitals().succeeded_at(Work::Processing), None);
        monitor.records_done();
        assert!(monitor.vitals().succeeded_at(Work::Processing).is_some());
        let counted = || {
            let status = monitor.status(String::new(), Duration::MAX);
            status.records_processed
        };
        assert_eq!(counted(), 0);
        monitor.handled(7, 70);
        assert_eq!(counted(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_fails_until_it_does_not_whatever_else_succeeds() {
        let monitor = monitor();
        for _ in 0..3 {
            monitor.handling_failed("record-failing", "not today".to_owned(), 1);
            monitor.progressed(10, 100);
            monitor.recovered();
        }
        assert_eq!(problem(&monitor), Some("record-failing"));
        let vitals = monitor.vitals();
        assert_eq!(vitals.failure(Work::Processing).map(|it| it.attempts), Some(3));
        monitor.handling_recovered();
        assert_eq!(problem(&monitor), None);
        assert_eq!(monitor.vitals().failure(Work::Processing), None);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_find_nothing_are_no_progress_while_records_are_undone() {
        let monitor = monitor();
        for (are_there, age) in [(true, SECOND), (false, Duration::ZERO)] {
            monitor.records_are_undone(are_there);
            advance(SECOND).await;
            monitor.read(0, Some(0), true);
            assert_eq!(monitor.progress_age(), age);
        }
    }
}
