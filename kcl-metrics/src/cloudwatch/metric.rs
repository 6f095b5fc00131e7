//! The metrics that CloudWatch is given, as the Java KCL 3.5 calls them, and some that it does not have.

use super::Level;

/// The unit of a metric, in CloudWatch's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Count,
    Bytes,
    Milliseconds,
}

impl Unit {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// What else than an operation a metric is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// All workers of an application: their numbers become one.
    Application,
    /// A worker.
    Worker,
    /// A stream, and its shards if they are asked for.
    Stream,
}

/// What is told of a period in which nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Not at all.
    Nothing,
    /// Nothing was counted, which is worth telling: alarms wait for it.
    Zero,
}

macro_rules! metrics {
    ($($variant:ident: $operation:literal $name:literal $unit:ident $level:ident $of:ident $silence:ident;)*) => {
        /// Each metric there is. The first ones are those of the Java KCL.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Metric {
            $($variant,)*
        }

        impl Metric {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of its dimension `Operation`.
            pub(crate) fn operation(self) -> &'static str {
                match self { $(Self::$variant => $operation,)* }
            }

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(crate) fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)* }
            }

            /// The lowest level that has it.
            pub(crate) fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level,)* }
            }

            pub(crate) fn of(self) -> Of {
                match self { $(Self::$variant => Of::$of,)* }
            }

            pub(crate) fn silence(self) -> Silence {
                match self { $(Self::$variant => Silence::$silence,)* }
            }
        }
    };
}

metrics! {
    RecordsProcessed: "ProcessTask" "RecordsProcessed" Count Summary Stream Zero;
    DataBytesProcessed: "ProcessTask" "DataBytesProcessed" Bytes Summary Stream Zero;
    MillisBehindLatest: "ProcessTask" "MillisBehindLatest" Milliseconds Summary Stream Nothing;
    ProcessRecordsTime: "ProcessTask" "RecordProcessor.processRecords.Time" Milliseconds Summary Stream Nothing;
    ProcessSuccess: "ProcessTask" "Success" Count Summary Stream Nothing;
    ProcessTime: "ProcessTask" "Time" Milliseconds Summary Stream Nothing;
    ExpiredIterator: "ProcessTask" "ExpiredIterator" Count Summary Application Nothing;
    GetRecordsSuccess: "ProcessTask" "KinesisDataFetcher.getRecords.Success" Count Detailed Application Nothing;
    GetRecordsTime: "ProcessTask" "KinesisDataFetcher.getRecords.Time" Milliseconds Detailed Application Nothing;
    GetIteratorSuccess: "ProcessTask" "KinesisDataFetcher.getShardIterator.Success" Count Detailed Application Nothing;
    GetIteratorTime: "ProcessTask" "KinesisDataFetcher.getShardIterator.Time" Milliseconds Detailed Application Nothing;
    UpdateLeaseSuccess: "ProcessTask" "UpdateLease.Success" Count Detailed Stream Nothing;
    UpdateLeaseTime: "ProcessTask" "UpdateLease.Time" Milliseconds Detailed Stream Nothing;
    FurthestBehind: "ApplicationTracker" "MillisBehindLatest" Milliseconds Summary Application Nothing;
    InitializeTime: "InitializeTask" "RecordProcessor.initialize.Time" Milliseconds Summary Application Nothing;
    ShutdownTime: "ShutdownTask" "RecordProcessor.shutdown.Time" Milliseconds Summary Application Nothing;
    CurrentLeases: "RenewAllLeases" "CurrentLeases" Count Summary Worker Nothing;
    LostLeases: "RenewAllLeases" "LostLeases" Count Summary Worker Zero;
    RenewAllSuccess: "RenewAllLeases" "Success" Count Summary Worker Nothing;
    RenewLeaseSuccess: "RenewAllLeases" "RenewLease.Success" Count Detailed Worker Nothing;
    RenewLeaseTime: "RenewAllLeases" "RenewLease.Time" Milliseconds Detailed Worker Nothing;
    DiscoverySuccess: "LeaseDiscovery" "Success" Count Summary Worker Nothing;
    DiscoveryTime: "LeaseDiscovery" "Time" Milliseconds Summary Worker Nothing;
    NewLeases: "LeaseDiscovery" "NewLeasesDiscovered" Count Detailed Worker Nothing;
    AssignmentSuccess: "LeaseAssignmentManager" "Success" Count Summary Application Nothing;
    AssignmentTime: "LeaseAssignmentManager" "Time" Milliseconds Summary Application Nothing;
    TotalLeases: "LeaseAssignmentManager" "TotalLeases" Count Summary Application Nothing;
    NumWorkers: "LeaseAssignmentManager" "NumWorkers" Count Summary Application Nothing;
    ExpiredLeases: "LeaseAssignmentManager" "ExpiredLeases" Count Summary Application Nothing;
    IsLeader: "LeaderDecider" "LeaderDecider:IsLeader" Count Detailed Application Nothing;
    ReporterSuccess: "WorkerMetricStatsReporter" "Success" Count Summary Worker Nothing;
    ReporterTime: "WorkerMetricStatsReporter" "Time" Milliseconds Summary Worker Nothing;
    // What the Java KCL does not have.
    StalledShards: "ProcessTask" "Stalled" Count Summary Stream Nothing;
    RecordsSkipped: "ProcessTask" "RecordsSkipped" Count Summary Stream Nothing;
    RecordsDeadLettered: "ProcessTask" "RecordsDeadLettered" Count Summary Stream Nothing;
    UserRecordsLeftOut: "ProcessTask" "UserRecordsLeftOut" Count Detailed Stream Nothing;
    StepFailures: "ProcessTask" "StepFailures" Count Detailed Stream Nothing;
    ReadFailures: "ProcessTask" "ReadFailures" Count Detailed Stream Nothing;
    ReadsThrottled: "ProcessTask" "ReadsThrottled" Count Detailed Application Nothing;
    SinceProgress: "ProcessTask" "SinceProgress" Milliseconds Detailed Stream Nothing;
    HandOffTime: "ShutdownTask" "HandOff.Time" Milliseconds Detailed Application Nothing;
    RenewalDelay: "RenewAllLeases" "RenewalDelay" Milliseconds Summary Worker Nothing;
    Problems: "Worker" "Problems" Count Summary Worker Nothing;
    MemoryUsed: "Worker" "MemoryUsed" Bytes Detailed Worker Nothing;
    TableThrottled: "Worker" "LeaseTableThrottled" Count Detailed Worker Nothing;
}

impl Metric {
    /// Where it stands in a list of all.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_is_told_from_the_others_by_operation_and_name() {
        let each = Metric::ALL.iter().map(|it| (it.operation(), it.name()));
        assert_eq!(each.collect::<BTreeSet<_>>().len(), Metric::ALL.len());
        for (index, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(metric.index(), index);
        }
    }

    #[test]
    fn names_are_what_cloudwatch_takes() {
        // https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
        for metric in Metric::ALL {
            for word in [metric.name(), metric.operation()] {
                assert!((1..=255).contains(&word.len()), "{word}");
                assert!(word.bytes().all(|byte| byte.is_ascii_graphic()) && !word.starts_with(':'));
            }
        }
    }
}
