//! The CPU of a container in an ECS task, from version 4 of the task metadata endpoint.

use serde_json::Value;

/// CPU shares of a container that was given none, in the agents since 1.2.0.
const DEFAULT_SHARES: f64 = 2.0;

/// What `URI/stats` says of the container, between the two looks that the agent took at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stats {
    used: f64,
    system: f64,
    used_before: f64,
    system_before: f64,
    /// Processors of the machine.
    pub(super) online_cpus: f64,
}

impl Stats {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let stats = json(text)?;
        // The agent answers with null until it has looked at the container.
        let number = |path: &str| stats.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
        let online_cpus = number("/cpu_stats/online_cpus");
        if online_cpus <= 0.0 {
            return Err("the container's stats do not say how many processors are online".to_owned());
        }
        Ok(Self {
            used: number("/cpu_stats/cpu_usage/total_usage"),
            system: number("/cpu_stats/system_cpu_usage"),
            used_before: number("/precpu_stats/cpu_usage/total_usage"),
            system_before: number("/precpu_stats/system_cpu_usage"),
            online_cpus,
        })
    }

    /// Percent of `limit` processors that the container used between the two looks; at most 100, though it may burst. 0 if
    /// there was only one look yet, 100 if the machine had no time for anything else.
    pub(super) fn busy(&self, limit: f64) -> Result<f64, String> {
        if self.used_before == 0.0 && self.system_before == 0.0 {
            return Ok(0.0);
        }
        let (used, system) = (self.used - self.used_before, self.system - self.system_before);
        if used < 0.0 || system < 0.0 {
            return Err("the container's counters went back".to_owned());
        }
        if system == 0.0 {
            return Ok(100.0);
        }
        Ok((used / system * self.online_cpus / limit * 100.0).min(100.0))
    }
}

/// How many processors the container may use: its part, by CPU shares, of the task's limit; of all `online_cpus` if the task
/// has none. `task` is the answer of `URI/task`, `container` that of `URI`.
pub(super) fn container_limit(task: &str, container: &str, online_cpus: f64) -> Result<f64, String> {
    let (task, container) = (json(task)?, json(container)?);
    let limit_of = |value: &Value| {
        let limit = value.pointer("/Limits/CPU").and_then(Value::as_f64);
        limit.filter(|limit| *limit > 0.0)
    };
    let id = container.get("DockerId").filter(|id| id.is_string());
    let id = id.ok_or("the container's metadata has no DockerId")?;
    let containers = task.get("Containers").and_then(Value::as_array);
    let containers = containers.map_or(&[][..], Vec::as_slice);
    let shares = |container: &Value| limit_of(container).unwrap_or(DEFAULT_SHARES);
    let own = containers.iter().find(|other| other.get("DockerId") == Some(id));
    let own = shares(own.ok_or("the task's metadata does not list this container")?);
    let all: f64 = containers.iter().map(shares).sum();
    Ok(own / all * limit_of(&task).unwrap_or(online_cpus))
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("the ECS agent's answer is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(used: [u64; 2], system: [u64; 2]) -> String {
        format!(
            r#"{{"read": "2026-07-01T10:00:01Z",
                "cpu_stats": {{"cpu_usage": {{"total_usage": {}}}, "system_cpu_usage": {}, "online_cpus": 4}},
                "precpu_stats": {{"cpu_usage": {{"total_usage": {}}}, "system_cpu_usage": {}}}}}"#,
            used[1], system[1], used[0], system[0]
        )
    }

    fn busy(used: [u64; 2], system: [u64; 2], limit: f64) -> Result<f64, String> {
        Stats::parse(&stats(used, system))?.busy(limit)
    }

    #[test]
    fn the_share_is_of_the_containers_limit_and_at_most_all_of_it() {
        // 4 processors in 1 s make 4000 of system time.
        assert_eq!(busy([1000, 2000], [10_000, 14_000], 4.0), Ok(25.0));
        assert_eq!(busy([1000, 2000], [10_000, 14_000], 2.0), Ok(50.0));
        assert_eq!(busy([1000, 1100], [10_000, 14_000], 0.25), Ok(40.0));
        assert_eq!(busy([1000, 2000], [10_000, 14_000], 0.5), Ok(100.0), "it bursts");
        assert_eq!(busy([1000, 1000], [10_000, 14_000], 1.0), Ok(0.0));
    }

    #[test]
    fn the_first_look_and_a_machine_without_time_to_spare() {
        assert_eq!(busy([0, 2000], [0, 14_000], 1.0), Ok(0.0));
        assert_eq!(busy([1000, 2000], [10_000, 10_000], 1.0), Ok(100.0));
    }

    #[test]
    fn stats_that_make_no_sense_are_no_measurement() {
        assert!(Stats::parse("null").is_err(), "the agent has not looked yet");
        assert!(Stats::parse("<html>").is_err());
        assert!(busy([2000, 1000], [10_000, 14_000], 1.0).is_err());
        assert!(busy([1000, 2000], [14_000, 10_000], 1.0).is_err());
    }

    const CONTAINER: &str = r#"{"DockerId": "b", "Name": "consumer", "Limits": {"CPU": 10}}"#;

    fn limit(task: &str) -> Result<f64, String> {
        container_limit(task, CONTAINER, 8.0)
    }

    #[test]
    fn a_container_may_use_its_shares_of_the_tasks_limit() {
        let containers = r#""Containers": [
            {"DockerId": "a", "Limits": {"CPU": 30}},
            {"DockerId": "b", "Limits": {"CPU": 10}}]"#;
        for (limits, expected) in [
            (r#""Limits": {"CPU": 2, "Memory": 4096},"#, 0.5),
            (r#""Limits": {"Memory": 4096},"#, 2.0),
            ("", 2.0),
            (r#""Limits": {"CPU": 0},"#, 2.0),
        ] {
            assert_eq!(
                limit(&format!("{{{limits} {containers}}}")),
                Ok(expected),
                "{limits}"
            );
        }
    }

    #[test]
    fn a_container_without_shares_has_two() {
        let task = |a: &str, b: &str| {
            format!(
                r#"{{"Limits": {{"CPU": 1}},
                    "Containers": [{{"DockerId": "a" {a}}}, {{"DockerId": "b" {b}}}]}}"#
            )
        };
        assert_eq!(limit(&task("", "")), Ok(0.5));
        assert_eq!(
            limit(&task(r#", "Limits": {"CPU": 0}"#, r#", "Limits": {"CPU": 0}"#)),
            Ok(0.5)
        );
        assert_eq!(limit(&task(r#", "Limits": {"CPU": 6}"#, "")), Ok(0.25));
    }

    #[test]
    fn metadata_without_the_container_says_so() {
        let problem = limit(r#"{"Containers": [{"DockerId": "a"}]}"#).unwrap_err();
        assert!(problem.contains("does not list this container"), "{problem}");
        let problem = container_limit("{}", "{}", 8.0).unwrap_err();
        assert!(problem.contains("DockerId"), "{problem}");
        assert!(limit("").is_err());
    }
}
