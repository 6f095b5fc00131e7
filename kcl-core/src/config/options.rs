//! The options of a worker, their defaults and their limits.

use std::fmt::Debug;
use std::time::Duration;

use kcl_lease::{Balancing, Load, TableOptions, WorkerId};

use super::{FailurePolicy, InitialPosition, OtherStream};

/// Everything that can be set on a worker. The builder's setters document each option.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) worker_id: Option<WorkerId>,
    pub(crate) table: TableOptions,
    pub(crate) initial_position: InitialPosition,
    pub(crate) other_stream: OtherStream,
    pub(crate) failover_time: Duration,
    pub(crate) max_leases: usize,
    pub(crate) balancing: Balancing,
    pub(crate) load: Load,
    pub(crate) max_utilization: u8,
    pub(crate) report_interval: Duration,
    pub(crate) hand_off_timeout: Duration,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) stop_timeout: Duration,
    pub(crate) audit_interval: Duration,
    pub(crate) cleanup_interval: Duration,
    pub(crate) max_records: u32,
    pub(crate) idle_time: Duration,
    pub(crate) min_read_interval: Duration,
    pub(crate) prefetch_bytes_per_shard: u64,
    pub(crate) prefetch_bytes_per_worker: u64,
    pub(crate) empty_batches: bool,
    pub(crate) failure_policy: FailurePolicy,
}

impl Options {
    pub(crate) fn new(application: &str) -> Self {
        Self {
            worker_id: None,
            table: TableOptions::new(application),
            initial_position: InitialPosition::default(),
            other_stream: OtherStream::default(),
            failover_time: Duration::from_secs(10),
            max_leases: usize::MAX,
            balancing: Balancing::default(),
            load: Load::default(),
            max_utilization: 100,
            report_interval: Duration::from_secs(30),
            hand_off_timeout: Duration::from_secs(30),
            drain_timeout: None,
            stop_timeout: Duration::from_secs(20),
            audit_interval: Duration::from_secs(120),
            cleanup_interval: Duration::from_secs(60),
            max_records: 10_000,
            idle_time: Duration::from_secs(1),
            min_read_interval: Duration::from_millis(200),
            prefetch_bytes_per_shard: 8 << 20,
            prefetch_bytes_per_worker: 256 << 20,
            empty_batches: false,
            failure_policy: FailurePolicy::default(),
        }
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        self.drain_timeout.unwrap_or(self.hand_off_timeout)
    }

    /// Everything that is wrong, each naming its option and the allowed range.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Problems(Vec::new());
        let (ms, second, hour) = (
            Duration::from_millis(1),
            Duration::from_secs(1),
            Duration::from_secs(3600),
        );
        if self.worker_id.as_ref().is_some_and(|id| id.as_str().is_empty()) {
            problems
                .0
                .push("worker_id is empty; leave it out for a random one".to_owned());
        }
        problems.0.extend(self.naming_problems());
        problems.check("failover_time", self.failover_time, second, hour);
        problems.check("hand_off_timeout", self.hand_off_timeout, Duration::ZERO, hour);
        problems.check("drain_timeout", self.drain_timeout(), Duration::ZERO, hour);
        problems.check("stop_timeout", self.stop_timeout, second, hour);
        problems.check("audit_interval", self.audit_interval, second, hour * 24);
        problems.check("cleanup_interval", self.cleanup_interval, second, hour * 24);
        // Shard iterators expire after five minutes.
        problems.check("idle_time", self.idle_time, ms, second * 240);
        problems.check(
            "min_read_interval",
            self.min_read_interval,
            Duration::ZERO,
            second * 240,
        );
        problems.0.extend(self.failure_policy.problem());
        problems.check("max_records", self.max_records, 1, 10_000);
        problems.check("max_leases", self.max_leases, 1, usize::MAX);
        problems.check("report_interval", self.report_interval, second, second * 30);
        problems.check("max_utilization", self.max_utilization, 1, 100);
        problems.check(
            "prefetch_bytes_per_shard",
            self.prefetch_bytes_per_shard,
            1,
            1 << 40,
        );
        problems.check(
            "prefetch_bytes_per_worker",
            self.prefetch_bytes_per_worker,
            1 << 10,
            1 << 40,
        );
        problems.0
    }
}

impl Options {
    /// The application's tables are called after it, unless they have names of their own.
    fn naming_problems(&self) -> Vec<String> {
        let (table, application) = (&self.table, self.table.application.as_str());
        if application.is_empty() {
            return vec!["application is empty; it names the fleet, and its lease table".to_owned()];
        }
        let longest = LONGEST_TABLE_NAME - TableOptions::WORKER_METRICS_SUFFIX.len();
        let is_name = application.bytes().all(is_of_table_name) && application.len() <= longest;
        let has_own_names = table.name != application
            && table.coordinator_state_table.is_some()
            && table.worker_metrics_table.is_some();
        if !is_name && !has_own_names {
            return vec![format!(
                "application {application:?} must have 1 to {longest} letters, digits, '_', '.' or '-', because tables are \
                 called after it; choose another one, or set table_name, coordinator_state_table and worker_metrics_table"
            )];
        }
        let named = [
            ("table_name", Some(&table.name)),
            ("coordinator_state_table", table.coordinator_state_table.as_ref()),
            ("worker_metrics_table", table.worker_metrics_table.as_ref()),
        ];
        let wrong = named
            .into_iter()
            .filter_map(|(option, name)| Some((option, name?)))
            .filter(|(_, name)| !is_table_name(name));
        let told = |(option, name): (&str, &String)| {
            let default = if option == "table_name" {
                " (by default the application's name)"
            } else {
                ""
            };
            format!("{option} {name:?}{default} must have 3 to 255 letters, digits, '_', '.' or '-'")
        };
        wrong.map(told).collect()
    }
}

struct Problems(Vec<String>);

impl Problems {
    fn check<T: PartialOrd + Debug>(&mut self, option: &str, value: T, min: T, max: T) {
        if value < min || value > max {
            self.0
                .push(format!("{option} is {value:?}; allowed are {min:?} to {max:?}"));
        }
    }
}

/// The rule of DynamoDB.
fn is_table_name(name: &str) -> bool {
    (3..=LONGEST_TABLE_NAME).contains(&name.len()) && name.bytes().all(is_of_table_name)
}

const LONGEST_TABLE_NAME: usize = 255;

fn is_of_table_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Options::new("my-app").problems(), [""; 0]);
    }

    #[test]
    fn an_application_that_no_table_can_be_called_after_is_refused_with_what_to_do() {
        let problems = |options: &Options| options.problems().join("; ");
        for wrong in ["team/app", &"x".repeat(250)] {
            let told = problems(&Options::new(wrong));
            assert!(told.contains("must have 1 to 237 letters"), "{told}");
            let mut options = Options::new(wrong);
            options.table.name = "leases".to_owned();
            assert!(problems(&options).contains("worker_metrics_table"), "{options:?}");
            options.table.coordinator_state_table = Some("state".to_owned());
            options.table.worker_metrics_table = Some("metrics".to_owned());
            assert_eq!(options.problems(), [""; 0]);
        }
        let mut unnamed = Options::new("");
        unnamed.table.name = "leases".to_owned();
        assert!(problems(&unnamed).contains("application is empty"));
        assert!(problems(&Options::new("ab")).contains("table_name \"ab\""));
    }

    #[test]
    fn all_problems_are_told_at_once_with_the_allowed_range() {
        let mut options = Options::new("a b");
        options.failover_time = Duration::from_millis(999);
        options.max_records = 10_001;
        options.max_utilization = 101;
        options.worker_id = Some("".into());
        let problems = options.problems();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems.contains(&"failover_time is 999ms; allowed are 1s to 3600s".to_owned()));
        assert!(problems.contains(&"max_utilization is 101; allowed are 1 to 100".to_owned()));
        assert!(problems.contains(&"max_records is 10001; allowed are 1 to 10000".to_owned()));
    }
}
