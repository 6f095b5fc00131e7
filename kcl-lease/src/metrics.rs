//! The numbers of a worker, and the seam through which they leave it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Takes a worker's numbers, and brings them wherever they are wanted.
///
/// It is called from the worker's loops, for each batch, read and call of the table: it must not block, and must not panic.
/// Which numbers there are, and with which labels, is fixed, see [`Counter`], [`Gauge`] and [`Histogram`].
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use kcl_lease::{Counter, Labels, Recorder};
///
/// #[derive(Debug, Default)]
/// struct Losses(AtomicU64);
///
/// impl Recorder for Losses {
///     fn add(&self, counter: Counter, _labels: Labels<'_>, amount: u64) {
///         if counter == Counter::LeasesLost {
///             self.0.fetch_add(amount, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Recorder: fmt::Debug + Send + Sync + 'static {
    /// Something happened so many times more. Default: nothing.
    fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        let _ = (counter, labels, amount);
    }

    /// Something is so much now. Default: nothing.
    fn set(&self, gauge: Gauge, labels: Labels<'_>, value: f64) {
        let _ = (gauge, labels, value);
    }

    /// Something was so much once. Default: nothing.
    fn observe(&self, histogram: Histogram, labels: Labels<'_>, value: f64) {
        let _ = (histogram, labels, value);
    }

    /// This worker does not have a shard any more: what its gauges said of it last does not hold. Default: nothing.
    fn forget(&self, shard: &str) {
        let _ = shard;
    }
}

/// What a number is of. Each field has few values in one worker: a shard is one whose lease it holds, the rest are words of the
/// library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Labels<'a> {
    /// The lease or the shard.
    pub shard: Option<&'a str>,
    /// What was done: an operation of the table, or a call of the processor.
    pub operation: Option<&'static str>,
    /// What became of it, or why: the code of a problem, or of a loss.
    pub code: Option<&'static str>,
}

impl<'a> Labels<'a> {
    /// Of no shard, and nothing else.
    pub const NONE: Labels<'static> = Labels {
        shard: None,
        operation: None,
        code: None,
    };

    /// Of a shard.
    pub fn of_shard(shard: &'a str) -> Self {
        Self {
            shard: Some(shard),
            ..Self::default()
        }
    }

    /// Of an operation.
    pub fn of_operation(operation: &'static str) -> Self {
        Self {
            operation: Some(operation),
            ..Self::default()
        }
    }

    /// The stream that the shard is of, where one worker reads several: `ACCOUNT:NAME:CREATED`, as in the keys of their leases.
    pub fn stream(&self) -> Option<&'a str> {
        let (stream, _) = self.shard?.rsplit_once(':')?;
        Some(stream)
    }

    /// The same, with a code.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }
}

macro_rules! numbers {
    ($(#[$doc:meta])* $kind:ident { $($(#[doc = $text:literal])+ $variant:ident = $name:literal, $unit:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $kind {
            $($(#[doc = $text])+ $variant,)*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, which does not change.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it says, and the labels that it has.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($text),+).trim_start(),)*
                }
            }

            /// The unit of its values.
            pub fn unit(self) -> &'static str {
                match self {
                    $(Self::$variant => $unit,)*
                }
            }
        }
    };
}

numbers! {
    /// What only grows.
    Counter {
        /// Leases that this worker began to hold. Label: shard.
        LeasesAcquired = "leases_acquired", "leases";
        /// Leases that this worker no longer holds. Labels: shard, code of the reason.
        LeasesLost = "leases_lost", "leases";
        /// Calls of the lease table. Labels: operation, code (`ok`, or what went wrong).
        TableCalls = "table_calls", "calls";
        /// Renewals of leases, beside checkpoints. Label: code (`ok`, or what went wrong).
        Renewals = "renewals", "renewals";
        /// Passes of the leader: it looks at the table, and gives leases to workers. Label: code (`ok`, or what went wrong).
        LeaderPasses = "leader_passes", "passes";
        /// Records that were processed. Label: shard.
        RecordsProcessed = "records_processed", "records";
        /// Their payloads. Label: shard.
        BytesProcessed = "bytes_processed", "bytes";
        /// Calls of a processor. Labels: shard, operation (the method), code (`ok` or `failed`).
        ProcessorCalls = "processor_calls", "calls";
        /// Checkpoints that were asked for and not made before. Labels: shard, code (`ok`, or what went wrong).
        Checkpoints = "checkpoints", "checkpoints";
        /// Records that were skipped, as the failure policy says. Label: shard.
        RecordsSkipped = "records_skipped", "records";
        /// Records that were written to the dead letters. Label: shard.
        RecordsDeadLettered = "records_dead_lettered", "records";
        /// User records that were left out of aggregates, since their hash keys are not the shard's. Label: shard.
        UserRecordsLeftOut = "user_records_left_out", "records";
        /// Failed calls of a processor, and other failed steps of its shard. Labels: shard, code.
        StepFailures = "step_failures", "failures";
        /// Reads that failed. Labels: shard, code.
        ReadFailures = "read_failures", "failures";
        /// Calls of Kinesis. Labels: operation, code (`ok`, or what went wrong).
        KinesisCalls = "kinesis_calls", "calls";
    }
}

numbers! {
    /// What goes up and down.
    Gauge {
        /// Leases that this worker holds.
        LeasesHeld = "leases_held", "leases";
        /// 1 while the shard has something to do and has got no further for long, else 0. Label: shard.
        Stalled = "stalled", "shards";
        /// 1 while this worker leads, else 0.
        Leads = "leads", "workers";
        /// How far reading is behind the newest record, as Kinesis says. Label: shard.
        MillisBehindLatest = "millis_behind_latest", "milliseconds";
        /// How long ago the shard last got further, or had nothing to do. Label: shard.
        SinceProgress = "since_progress", "seconds";
        /// 1 while the status of the worker names a problem, else 0. Label: code of the problem.
        Problems = "problems", "problems";
        /// Workers that are alive, as the leader sees them. Only the leader tells; elsewhere it is 0.
        FleetWorkers = "fleet_workers", "workers";
        /// Leases of shards that are not processed to their ends, as the leader sees them. Only the leader tells; elsewhere it is 0.
        FleetLeases = "fleet_leases", "leases";
        /// Those of them that nobody has, or whose owners are silent. Only the leader tells; elsewhere it is 0.
        FleetLeasesWaiting = "fleet_leases_waiting", "leases";
        /// What the records take that are read and not let go of.
        MemoryUsed = "memory_used", "bytes";
        /// What they may take.
        MemoryBound = "memory_bound", "bytes";
    }
}

numbers! {
    /// What varies.
    Histogram {
        /// How long a call of the lease table took. Label: operation.
        TableCallTime = "table_call_time", "seconds";
        /// How long a renewal of a lease took.
        RenewalTime = "renewal_time", "seconds";
        /// How long a pass of the leader took.
        LeaderPassTime = "leader_pass_time", "seconds";
        /// How long a call of a processor took. Labels: shard, operation (the method).
        ProcessorCallTime = "processor_call_time", "seconds";
        /// How long a checkpoint took, with all its repetitions. Label: shard.
        CheckpointTime = "checkpoint_time", "seconds";
        /// How long a read took. Label: shard.
        ReadTime = "read_time", "seconds";
        /// How long a call of Kinesis took, until its answer began. Label: operation.
        KinesisCallTime = "kinesis_call_time", "seconds";
        /// How long a lease took to be given up after it was asked for, or after the worker was told to stop. Label: shard.
        HandOffTime = "hand_off_time", "seconds";
        /// How much later than planned a renewal was sent. Leases are lost when it comes near the fail-over time.
        RenewalDelay = "renewal_delay", "seconds";
    }
}

impl Gauge {
    /// Whether its values are of single shards.
    pub fn is_of_a_shard(self) -> bool {
        matches!(
            self,
            Self::Stalled | Self::MillisBehindLatest | Self::SinceProgress
        )
    }
}

/// A worker's way to its [`Recorder`]. By default there is none, and numbers go nowhere.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Option<Arc<dyn Recorder>>);

impl Metrics {
    /// Numbers go to `recorder`.
    pub fn to(recorder: Arc<dyn Recorder>) -> Self {
        Self(Some(recorder))
    }

    /// See [`Recorder::add`].
    pub fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        if let Some(recorder) = &self.0 {
            recorder.add(counter, labels, amount);
        }
    }

    /// See [`Recorder::set`].
    pub fn set(&self, gauge: Gauge, labels: Labels<'_>, value: f64) {
        if let Some(recorder) = &self.0 {
            recorder.set(gauge, labels, value);
        }
    }

    /// See [`Recorder::forget`].
    pub fn forget(&self, shard: &str) {
        if let Some(recorder) = &self.0 {
            recorder.forget(shard);
        }
    }

    /// Whether numbers go anywhere.
    pub fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// A duration for a histogram, in seconds.
    pub fn took(&self, histogram: Histogram, labels: Labels<'_>, time: Duration) {
        if let Some(recorder) = &self.0 {
            recorder.observe(histogram, labels, time.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_number_has_a_name_of_its_own() {
        let counters = Counter::ALL.iter().map(|it| it.name());
        let gauges = Gauge::ALL.iter().map(|it| it.name());
        let histograms = Histogram::ALL.iter().map(|it| it.name());
        let names: Vec<_> = counters.chain(gauges).chain(histograms).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(name.bytes().all(is_plain), "{name}");
        }
    }

    #[test]
    fn each_number_says_what_it_is() {
        let held = Gauge::LeasesHeld.description();
        assert_eq!(held, "Leases that this worker holds.");
        for gauge in Gauge::ALL {
            let is_labelled = gauge.description().ends_with("Label: shard.");
            assert_eq!(is_labelled, gauge.is_of_a_shard(), "{gauge:?}");
        }
    }

    #[test]
    fn without_a_recorder_nothing_happens() {
        Metrics::default().add(Counter::LeasesLost, Labels::NONE, 1);
    }
}
