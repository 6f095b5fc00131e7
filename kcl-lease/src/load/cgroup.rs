//! The CPU of a container, from Linux control groups.

use std::time::Duration;

/// Which files tell of the CPU, relative to the root of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// What one look at a control group found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// CPU time since the group was made.
    pub(super) used: Duration,
    /// Processors that the group may use.
    pub(super) limit: f64,
}

impl Usage {
    /// Percent of the limit that was used in the time `elapsed` since `before`; at most 100, though a group may burst.
    pub(super) fn busy_since(&self, before: &Self, elapsed: Duration) -> Result<f64, String> {
        if elapsed.is_zero() {
            return Ok(0.0);
        }
        let used = self.used.checked_sub(before.used).ok_or_else(|| {
            format!(
                "the control group's CPU time went back from {:?} to {:?}",
                before.used, self.used
            )
        })?;
        Ok((used.as_secs_f64() / elapsed.as_secs_f64() / self.limit * 100.0).min(100.0))
    }
}

/// A file of the version, by its path below the root of the file system; the first that can be read counts.
type Paths = &'static [&'static str];

const V1_USAGE: Paths = &[
    "sys/fs/cgroup/cpu/cpuacct.usage",
    "sys/fs/cgroup/cpuacct/cpuacct.usage",
];
const V1_QUOTA: Paths = &["sys/fs/cgroup/cpu/cpu.cfs_quota_us"];
const V1_PERIOD: Paths = &["sys/fs/cgroup/cpu/cpu.cfs_period_us"];
const V1_CPUS: Paths = &[
    "sys/fs/cgroup/cpuset/cpuset.effective_cpus",
    "sys/fs/cgroup/cpuset/cpuset.cpus",
];
const V2_USAGE: Paths = &["sys/fs/cgroup/cpu.stat"];
const V2_LIMIT: Paths = &["sys/fs/cgroup/cpu.max"];
const V2_CPUS: Paths = &["sys/fs/cgroup/cpuset.cpus.effective"];

/// The marks of a pod and of a Docker container.
const CONTAINER: Paths = &["var/run/secrets/kubernetes.io/serviceaccount/token", ".dockerenv"];

/// Reads a file, given its path below the root.
pub(super) trait Files {
    fn read(&self, path: &str) -> Result<String, String>;

    fn first(&self, paths: Paths) -> Result<String, String> {
        let mut problems = Vec::new();
        for path in paths {
            match self.read(path) {
                Ok(text) => return Ok(text),
                Err(problem) => problems.push(problem),
            }
        }
        Err(problems.join("; "))
    }
}

impl<F: Fn(&str) -> Result<String, String>> Files for F {
    fn read(&self, path: &str) -> Result<String, String> {
        self(path)
    }
}

impl Version {
    /// The version that describes the container in which this process runs; `None` outside of a container, where the group
    /// would be the whole machine or nothing but a part of it.
    ///
    /// The root group of version 2 has no limit; what looks like one that has, is a container's own.
    pub(super) fn of_container(files: &impl Files) -> Option<Self> {
        if files.first(V2_LIMIT).is_ok() {
            return Some(Self::V2);
        }
        let has_quota = || {
            let quota = files.first(V1_QUOTA).and_then(|text| number(&text));
            quota.is_ok_and(|quota| quota > 0.0)
        };
        let is_container = || files.first(CONTAINER).is_ok();
        (files.first(V1_USAGE).is_ok() && (has_quota() || is_container())).then_some(Self::V1)
    }

    /// Looks at the group now. The limit is read each time, for it may change while the container runs.
    pub(super) fn read(self, files: &impl Files) -> Result<Usage, String> {
        match self {
            Self::V1 => {
                let nanos = whole(&files.first(V1_USAGE)?)?;
                let limit = match number(&files.first(V1_QUOTA)?)? {
                    quota if quota > 0.0 => quota / positive(&files.first(V1_PERIOD)?)?,
                    _ => count_cpus(&files.first(V1_CPUS)?)?,
                };
                Ok(Usage {
                    used: Duration::from_nanos(nanos),
                    limit,
                })
            }
            Self::V2 => {
                let micros = usage_usec(&files.first(V2_USAGE)?)?;
                let limit = match quota(&files.first(V2_LIMIT)?)? {
                    Some(limit) => limit,
                    None => count_cpus(&files.first(V2_CPUS)?)?,
                };
                Ok(Usage {
                    used: Duration::from_micros(micros),
                    limit,
                })
            }
        }
    }
}

/// `usage_usec N`, the first line of `cpu.stat`.
fn usage_usec(text: &str) -> Result<u64, String> {
    let line = text.lines().next().unwrap_or_default();
    let value = line.strip_prefix("usage_usec ");
    whole(value.ok_or_else(|| format!("cpu.stat begins with {line:?}, not with usage_usec"))?)
}

/// `max PERIOD` or `QUOTA PERIOD`, both in microseconds, of `cpu.max`. `None` for no limit.
fn quota(text: &str) -> Result<Option<f64>, String> {
    let (quota, period) = text
        .trim()
        .split_once(' ')
        .ok_or_else(|| format!("cpu.max is {text:?}, not a quota and a period"))?;
    match quota {
        "max" => Ok(None),
        quota => Ok(Some(positive(quota)? / positive(period)?)),
    }
}

/// `0-3,8`: five processors.
fn count_cpus(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is no list of processors such as 0-3,8");
    let mut count = 0_u32;
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (
            first.parse().map_err(|_| wrong())?,
            last.parse().map_err(|_| wrong())?,
        );
        let length = last.checked_sub(first).and_then(|span| span.checked_add(1));
        count = length
            .and_then(|length| count.checked_add(length))
            .ok_or_else(wrong)?;
    }
    Ok(f64::from(count))
}

fn whole(text: &str) -> Result<u64, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_| format!("{text:?} is not a whole number of 0 or more"))
}

fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is not a number"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|number| {
        let problem = || format!("{number} is not above zero");
        (number > 0.0).then_some(number).ok_or_else(problem)
    })
}

#[cfg(test)]
mod tests;
