use super::*;

/// A file system of these files, by the last parts of their paths.
fn machine<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Result<String, String> + 'a {
    move |path| {
        let file = files.iter().find(|(name, _)| path.ends_with(name));
        file.map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| format!("{path} is missing"))
    }
}

const V1: [(&str, &str); 4] = [
    ("cpu/cpuacct.usage", "5000000000\n"),
    ("cpu.cfs_quota_us", "150000\n"),
    ("cpu.cfs_period_us", "100000\n"),
    ("cpuset.effective_cpus", "0-3,8\n"),
];
const V2: [(&str, &str); 3] = [
    ("cpu.stat", "usage_usec 5000000\nuser_usec 1\nsystem_usec 2\n"),
    ("cpu.max", "150000 100000\n"),
    ("cpuset.cpus.effective", "0-3,8\n"),
];

fn with<'a>(files: &[(&'a str, &'a str)], name: &'a str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = files.iter().copied().filter(|(other, _)| *other != name);
    others.chain([(name, text)]).collect()
}

#[test]
fn time_and_limit_of_both_versions() {
    let expected = Usage {
        used: Duration::from_secs(5),
        limit: 1.5,
    };
    assert_eq!(Version::V1.read(&machine(&V1)), Ok(expected));
    assert_eq!(Version::V2.read(&machine(&V2)), Ok(expected));
}

#[test]
fn without_a_quota_the_processors_count() {
    for (quota, limit) in [("-1\n", 5.0), ("0", 5.0), ("50000", 0.5)] {
        let files = with(&V1, "cpu.cfs_quota_us", quota);
        assert_eq!(
            Version::V1.read(&machine(&files)).unwrap().limit,
            limit,
            "{quota}"
        );
    }
    for (max, limit) in [
        ("max 100000\n", 5.0),
        ("50000 100000", 0.5),
        ("400000 200000", 2.0),
    ] {
        let files = with(&V2, "cpu.max", max);
        assert_eq!(Version::V2.read(&machine(&files)).unwrap().limit, limit, "{max}");
    }
}

#[test]
fn lists_of_processors() {
    for (list, count) in [("0", 1.0), ("0-1", 2.0), ("0,2,4-7\n", 6.0), ("63", 1.0)] {
        assert_eq!(count_cpus(list), Ok(count), "{list}");
    }
    for list in ["", "\n", "a", "3-1", "0-", "0-4294967295", "0,,1"] {
        assert!(count_cpus(list).is_err(), "{list}");
    }
}

#[test]
fn the_share_is_of_the_limit_and_at_most_all_of_it() {
    let usage = |millis, limit| Usage {
        used: Duration::from_millis(millis),
        limit,
    };
    let second = Duration::from_secs(1);
    let busy = |used: u64, limit| usage(1000 + used, limit).busy_since(&usage(1000, limit), second);
    assert_eq!(busy(500, 1.0), Ok(50.0));
    assert_eq!(busy(500, 2.0), Ok(25.0));
    assert_eq!(busy(250, 0.5), Ok(50.0));
    assert_eq!(busy(3000, 2.0), Ok(100.0), "it bursts");
    assert_eq!(busy(0, 2.0), Ok(0.0));
    assert_eq!(
        usage(1500, 1.0).busy_since(&usage(1000, 1.0), second * 2),
        Ok(25.0)
    );
    assert_eq!(
        usage(1500, 1.0).busy_since(&usage(1000, 1.0), Duration::ZERO),
        Ok(0.0),
        "no time has passed"
    );
    assert!(usage(900, 1.0).busy_since(&usage(1000, 1.0), second).is_err());
    assert_eq!(
        usage(1500, 2.0).busy_since(&usage(1000, 1.0), second),
        Ok(25.0),
        "the limit was raised meanwhile"
    );
}

#[test]
fn a_container_is_told_from_a_machine() {
    let bare_v1 = [("cpu/cpuacct.usage", "1"), ("cpu.cfs_quota_us", "-1")];
    for (files, version) in [
        (V2.to_vec(), Some(Version::V2)),
        (
            vec![("cgroup.controllers", "cpu"), ("cpu.stat", "usage_usec 1")],
            None,
        ),
        (V1.to_vec(), Some(Version::V1)),
        (bare_v1.to_vec(), None),
        (
            with(&bare_v1, "kubernetes.io/serviceaccount/token", "secret"),
            Some(Version::V1),
        ),
        (with(&bare_v1, ".dockerenv", ""), Some(Version::V1)),
        (vec![(".dockerenv", "")], None),
        (vec![], None),
    ] {
        assert_eq!(Version::of_container(&machine(&files)), version, "{files:?}");
    }
}

#[test]
fn files_that_make_no_sense_are_no_measurement() {
    for (name, text) in [
        ("cpu/cpuacct.usage", "-5"),
        ("cpu.cfs_quota_us", "max"),
        ("cpu.cfs_period_us", "0"),
    ] {
        assert!(
            Version::V1.read(&machine(&with(&V1, name, text))).is_err(),
            "{name}"
        );
    }
    for (name, text) in [
        ("cpu.stat", "user_usec 1\nusage_usec 5"),
        ("cpu.stat", ""),
        ("cpu.max", "max"),
        ("cpu.max", "0 100000"),
        ("cpu.max", "100000 0"),
        ("cpu.max", "NaN 100000"),
    ] {
        assert!(
            Version::V2.read(&machine(&with(&V2, name, text))).is_err(),
            "{text}"
        );
    }
    assert_eq!(
        Version::V2.read(&machine(&[])),
        Err("sys/fs/cgroup/cpu.stat is missing".to_owned())
    );
}
