//! What each option may be, and what belongs together. Pure.

use std::fmt::Debug;
use std::time::Duration;

use kcl_lease::TableOptions;

use super::{RetrievalOptions, WorkerConfig};

impl WorkerConfig {
    /// Everything that is wrong, each naming its option and the allowed range.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Problems(Vec::new());
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let Self {
            worker_id,
            table,
            fleet,
            leases,
            retrieval,
            processing,
        } = self;
        if worker_id.as_ref().is_some_and(|id| id.as_str().is_empty()) {
            problems
                .0
                .push("worker_id is empty; leave it out for a random one".to_owned());
        }
        problems.0.extend(naming_problems(table));
        problems.check("failover_time", fleet.failover_time, second, hour);
        problems.check("hand_off_timeout", fleet.hand_off_timeout, Duration::ZERO, hour);
        problems.check("scan_budget", fleet.scan_budget, 0.1, 10_000.0);
        problems.check(
            "max_leases",
            fleet.max_leases.unwrap_or(usize::MAX),
            1,
            usize::MAX,
        );
        problems.check("report_interval", fleet.report_interval, second, second * 30);
        problems.check("max_utilization", fleet.max_utilization, 1, 100);
        problems.check("renewal_concurrency", fleet.renewal_concurrency, 1, usize::MAX);
        problems.check("write_concurrency", fleet.write_concurrency, 1, usize::MAX);
        problems.check("audit_interval", leases.audit_interval, second, hour * 24);
        problems.check("cleanup_interval", leases.cleanup_interval, second, hour * 24);
        problems.check("streams_interval", leases.streams_interval, second, hour * 24);
        if let Some(records) = self.processing.max_batch_records {
            problems.check("max_batch_records", records, 1, 10_000_000);
        }
        if let Some(bytes) = self.processing.max_batch_bytes {
            problems.check("max_batch_bytes", bytes, 1, 1 << 40);
        }
        problems.check(
            "batch_window",
            self.processing.batch_window,
            Duration::ZERO,
            Duration::from_secs(300),
        );
        problems.0.extend(retrieval.problems());
        problems.check("drain_timeout", self.drain_timeout(), Duration::ZERO, hour);
        problems.check("stalled_after", processing.stalled_after, second, hour * 24);
        problems.check("stop_timeout", processing.stop_timeout, second, hour);
        problems.0.extend(processing.failure_policy.problem());
        problems.0
    }
}

impl RetrievalOptions {
    /// Everything that is wrong, as [`WorkerConfig::problems`].
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Problems(Vec::new());
        // Shard iterators expire after five minutes.
        let longest = Duration::from_secs(240);
        problems.check("idle_time", self.idle_time, Duration::from_millis(1), longest);
        problems.check(
            "min_read_interval",
            self.min_read_interval,
            Duration::ZERO,
            longest,
        );
        problems.check("max_records", self.max_records, 1, 10_000);
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

/// The application's tables are called after it, unless they have names of their own.
fn naming_problems(table: &TableOptions) -> Vec<String> {
    let application = table.application.as_str();
    if application.is_empty() {
        return vec!["application is empty; it names the fleet, and its lease table".to_owned()];
    }
    let longest = LONGEST_TABLE_NAME - TableOptions::WORKER_METRICS_SUFFIX.len();
    let is_name = application.bytes().all(is_of_table_name) && application.len() <= longest;
    let has_own_names = table.name() != application
        && table.coordinator_state_table.is_some()
        && table.worker_metrics_table.is_some();
    if !is_name && !has_own_names {
        return vec![format!(
            "application {application:?} must have 1 to {longest} letters, digits, '_', '.' or '-', because tables are \
                 called after it; choose another one, or set table_name, coordinator_state_table and worker_metrics_table"
        )];
    }
    let named = [
        ("table_name", Some(table.name())),
        (
            "coordinator_state_table",
            table.coordinator_state_table.as_deref(),
        ),
        ("worker_metrics_table", table.worker_metrics_table.as_deref()),
    ];
    let wrong = named
        .into_iter()
        .filter_map(|(option, name)| Some((option, name?)))
        .filter(|(_, name)| !is_table_name(name));
    let told = |(option, name): (&str, &str)| {
        let default = if option == "table_name" {
            " (by default the application's name)"
        } else {
            ""
        };
        format!("{option} {name:?}{default} must have 3 to 255 letters, digits, '_', '.' or '-'")
    };
    wrong.map(told).collect()
}

struct Problems(Vec<String>);

impl Problems {
    fn check<T: PartialOrd + Debug>(&mut self, option: &str, value: T, min: T, max: T) {
        // A number that is none is in no range.
        if !(&min..=&max).contains(&&value) {
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

    fn config(application: &str) -> WorkerConfig {
        WorkerConfig {
            table: TableOptions::new(application),
            ..WorkerConfig::default()
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(config("my-app").problems(), [""; 0]);
    }

    #[test]
    fn an_application_that_no_table_can_be_called_after_is_refused_with_what_to_do() {
        let problems = |options: &WorkerConfig| options.problems().join("; ");
        for wrong in ["team/app", &"x".repeat(250)] {
            let told = problems(&config(wrong));
            assert!(told.contains("must have 1 to 237 letters"), "{told}");
            let mut options = config(wrong);
            options.table.name = Some("leases".to_owned());
            assert!(problems(&options).contains("worker_metrics_table"), "{options:?}");
            options.table.coordinator_state_table = Some("state".to_owned());
            options.table.worker_metrics_table = Some("metrics".to_owned());
            assert_eq!(options.problems(), [""; 0]);
        }
        let mut unnamed = config("");
        unnamed.table.name = Some("leases".to_owned());
        assert!(problems(&unnamed).contains("application is empty"));
        assert!(problems(&config("ab")).contains("table_name \"ab\""));
    }

    #[test]
    fn all_problems_are_told_at_once_with_the_allowed_range() {
        let mut options = config("a b");
        options.fleet.failover_time = Duration::from_millis(999);
        options.retrieval.max_records = 10_001;
        options.fleet.max_utilization = 101;
        options.worker_id = Some("".into());
        let problems = options.problems();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems.contains(&"failover_time is 999ms; allowed are 1s to 3600s".to_owned()));
        assert!(problems.contains(&"max_utilization is 101; allowed are 1 to 100".to_owned()));
        assert!(problems.contains(&"max_records is 10001; allowed are 1 to 10000".to_owned()));
    }
}
