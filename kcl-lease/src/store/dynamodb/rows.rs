//! The rows that are not leases: leader lock, workers, client version.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::*;
use crate::ids::{LeaseKey, WorkerId};
use crate::store::{ClientVersion, LeaderLock, Standstill, WorkerMetric, WorkerRow};
use crate::trouble::{Condition, Trouble};

/// How the lock client of Java marks a lock that its holder let go of without deleting it.
const RELEASED: &str = "1";

const METRICS: &str = "sts";
const OPERATING_RANGE: &str = "opr";
const SUPPORT_CODE: &str = "sup";
const SUPPORT_CODE_AT: &str = "slu";
const REPORT_PERIOD: &str = "reportPeriodMillis";
pub(super) const REPORT_NUMBER: &str = "reportNumber";
const MEASURING: &str = "measuring";
const CONDITION: &str = "condition";
const FAILING_LEASES: &str = "failingLeases";
const FAILOVER_TIME: &str = "failoverTimeMillis";
/// An operator's note.
pub(super) const DRAINED_SINCE: &str = "drainedSince";

/// What a report may lack that the one before had.
pub(super) const NOT_ALWAYS_REPORTED: [&str; 7] = [
    REPORT_PERIOD,
    REPORT_NUMBER,
    MEASURING,
    CONDITION,
    FAILING_LEASES,
    FAILOVER_TIME,
    PROCESS,
];

const VERSION: &str = "cv";
const MODIFIED_BY: &str = "mb";
const MODIFIED_AT: &str = "mts";
const HISTORY: &str = "h";

/// "Understands the single table", without which a Java fleet's table migration never advances.
const SINGLE_TABLE_SUPPORT: u8 = 1;

/// All but the key, as with the other rows.
pub(super) fn encode_lock(lock: &LeaderLock) -> Item {
    let mut item = Item::from([
        (ENTITY_TYPE.into(), string(LEADER_ENTITY)),
        (LOCK_OWNER.into(), string(lock.owner.as_str())),
        (
            LOCK_DURATION.into(),
            string(lock.duration.as_millis().to_string()),
        ),
        (LOCK_VERSION.into(), string(lock.version.clone())),
    ]);
    if let Some(digest) = lock.held_digest {
        item.insert(LOCK_HELD_DIGEST.into(), string(format!("{digest:016x}")));
    }
    if !lock.standstills.is_empty() {
        item.insert(LOCK_STANDSTILLS.into(), encode_standstills(&lock.standstills));
    }
    if !lock.heirs.is_empty() {
        let heirs = lock.heirs.iter().map(|id| string(id.as_str())).collect();
        item.insert(LOCK_HEIRS.into(), AttributeValue::L(heirs));
    }
    if lock.released {
        item.insert(LOCK_RELEASED.into(), string(RELEASED));
    }
    item
}

pub(super) fn decode_lock(item: &Item) -> Result<LeaderLock, String> {
    let required = |name: &str| {
        item.text(name)?
            .ok_or_else(|| format!("{name} of the leader lock is missing"))
    };
    let duration = required(LOCK_DURATION)?;
    let millis = duration
        .parse()
        .map_err(|_| format!("{LOCK_DURATION} is {duration:?}, not milliseconds"))?;
    Ok(LeaderLock {
        owner: required(LOCK_OWNER)?.into(),
        duration: Duration::from_millis(millis),
        version: required(LOCK_VERSION)?.to_owned(),
        released: item.text(LOCK_RELEASED)? == Some(RELEASED),
        held_digest: item
            .text(LOCK_HELD_DIGEST)?
            .and_then(|hex| u64::from_str_radix(hex, 16).ok()),
        standstills: decode_standstills(item),
        heirs: decode_heirs(item),
    })
}

/// Nobody for what another version may have written.
fn decode_heirs(item: &Item) -> Vec<WorkerId> {
    let Some(AttributeValue::L(heirs)) = item.get(LOCK_HEIRS) else {
        return Vec::new();
    };
    let ids = heirs.iter().filter_map(|id| id.as_s().ok());
    ids.map(|id| id.as_str().into()).collect()
}

/// For each lease its digest in 8 bytes and the milliseconds in 4, both with the highest byte first.
fn encode_standstills(standstills: &[Standstill]) -> AttributeValue {
    let bytes: Vec<u8> = standstills
        .iter()
        .flat_map(|still| {
            let millis = u32::try_from(still.lasted.as_millis()).unwrap_or(u32::MAX);
            still.lease.to_be_bytes().into_iter().chain(millis.to_be_bytes())
        })
        .collect();
    binary(&bytes)
}

/// Empty for what another version may have written: a leader can do without.
fn decode_standstills(item: &Item) -> Vec<Standstill> {
    let Some(AttributeValue::B(bytes)) = item.get(LOCK_STANDSTILLS) else {
        return Vec::new();
    };
    let (records, []) = bytes.as_ref().as_chunks::<12>() else {
        return Vec::new();
    };
    let decode = |record: &[u8; 12]| {
        let [a, b, c, d, e, f, g, h, millis @ ..] = *record;
        Standstill {
            lease: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            lasted: Duration::from_millis(u32::from_be_bytes(millis).into()),
        }
    };
    records.iter().map(decode).collect()
}

/// With two empty maps for a worker that reports no metrics: a Java leader then balances it by throughput alone.
pub(super) fn encode_worker(worker: &WorkerRow) -> Item {
    let mut item = Item::from([
        (ENTITY_TYPE.into(), string(WORKER_ENTITY)),
        (REPORTED_AT.into(), number(worker.reported_at)),
        (METRICS.into(), numbers(worker, |metric| metric.samples.clone())),
        (
            OPERATING_RANGE.into(),
            numbers(worker, |metric| vec![metric.max_utilization]),
        ),
        (SUPPORT_CODE.into(), number(SINGLE_TABLE_SUPPORT)),
        (SUPPORT_CODE_AT.into(), number(worker.reported_at)),
    ]);
    if let Some(period) = worker.report_period {
        item.insert(REPORT_PERIOD.into(), number(period.as_millis()));
        item.insert(REPORT_NUMBER.into(), number(worker.report_number));
    }
    if worker.is_measuring {
        item.insert(MEASURING.into(), AttributeValue::Bool(true));
    }
    if let Some(condition) = worker.trouble.condition.as_str() {
        item.insert(CONDITION.into(), string(condition));
    }
    if !worker.trouble.failing.is_empty() {
        let keys = worker.trouble.failing.iter().take(Trouble::MOST);
        let keys = keys.map(|key| string(key.as_str())).collect();
        item.insert(FAILING_LEASES.into(), AttributeValue::L(keys));
    }
    if let Some(time) = worker.failover_time {
        item.insert(FAILOVER_TIME.into(), number(time.as_millis()));
    }
    if let Some(process) = &worker.process {
        item.insert(PROCESS.into(), string(process.as_str()));
    }
    item
}

pub(super) fn decode_worker(item: &Item, key: &str) -> Result<WorkerRow, String> {
    let id = item.text(key)?.ok_or_else(|| format!("{key} is missing"))?;
    let reported_at = item
        .unsigned(REPORTED_AT)?
        .ok_or_else(|| format!("{REPORTED_AT} is missing"))?;
    Ok(WorkerRow {
        id: id.into(),
        reported_at,
        process: item.text(PROCESS)?.map(Into::into),
        failover_time: item.unsigned(FAILOVER_TIME)?.map(Duration::from_millis),
        report_number: item.unsigned(REPORT_NUMBER)?.unwrap_or(0),
        report_period: item.unsigned(REPORT_PERIOD)?.map(Duration::from_millis),
        metrics: decode_metrics(item),
        is_measuring: matches!(item.get(MEASURING), Some(AttributeValue::Bool(true))),
        trouble: decode_trouble(item),
        drained_since: item.unsigned(DRAINED_SINCE)?,
    })
}

/// None for what another version may have written: it is advice, and a worker may live without.
fn decode_trouble(item: &Item) -> Trouble {
    let condition = item.text(CONDITION).ok().flatten();
    let failing = match item.get(FAILING_LEASES) {
        Some(AttributeValue::L(keys)) => keys.iter().filter_map(|key| key.as_s().ok()).collect(),
        _ => Vec::new(),
    };
    Trouble {
        condition: condition.map(Condition::parse).unwrap_or_default(),
        failing: failing
            .into_iter()
            .map(|key| LeaseKey::from(key.as_str()))
            .collect(),
    }
}

/// A list of numbers for each metric. A Java leader drops rows with an empty list.
fn numbers(worker: &WorkerRow, of: impl Fn(&WorkerMetric) -> Vec<f64>) -> AttributeValue {
    let reported = worker
        .metrics
        .iter()
        .filter(|(_, metric)| !metric.samples.is_empty());
    let lists = reported.map(|(name, metric)| {
        let list = of(metric).into_iter().map(number).collect();
        (name.clone(), AttributeValue::L(list))
    });
    AttributeValue::M(lists.collect())
}

/// The metrics with samples and an operating range above zero, which the Java KCL asks for too. Others are left out:
/// their worker may live and be given leases all the same.
fn decode_metrics(item: &Item) -> BTreeMap<String, WorkerMetric> {
    let Some(AttributeValue::M(metrics)) = item.get(METRICS) else {
        return BTreeMap::new();
    };
    let ranges = match item.get(OPERATING_RANGE) {
        Some(AttributeValue::M(ranges)) => Some(ranges),
        _ => None,
    };
    let metric = |(name, samples): (&String, &AttributeValue)| {
        let samples = decode_numbers(samples)?;
        let range = decode_numbers(ranges?.get(name)?)?;
        let max_utilization = *range.first().filter(|max| **max > 0.0)?;
        let metric = WorkerMetric {
            samples,
            max_utilization,
        };
        (!metric.samples.is_empty()).then(|| (name.clone(), metric))
    };
    metrics.iter().filter_map(metric).collect()
}

fn decode_numbers(list: &AttributeValue) -> Option<Vec<f64>> {
    let numbers = list.as_l().ok()?.iter().map(|number| {
        let parsed: f64 = number.as_n().ok()?.parse().ok()?;
        parsed.is_finite().then_some(parsed)
    });
    numbers.collect()
}

pub(super) fn encode_version(ours: &ClientVersion) -> Item {
    let entry = |version: &str| {
        HashMap::from([
            (VERSION.to_owned(), string(version)),
            (MODIFIED_BY.to_owned(), string(ours.modified_by.clone())),
            (MODIFIED_AT.to_owned(), number(ours.modified_at)),
        ])
    };
    let mut item: Item = entry(&ours.version);
    item.insert(ENTITY_TYPE.into(), string(CLIENT_VERSION_ENTITY));
    // What the Java KCL writes for a new application: one entry for the state before the first.
    item.insert(
        HISTORY.into(),
        AttributeValue::L(vec![AttributeValue::M(entry("CLIENT_VERSION_INIT"))]),
    );
    item
}

pub(super) fn decode_version(item: &Item) -> Result<ClientVersion, String> {
    Ok(ClientVersion {
        version: item
            .text(VERSION)?
            .ok_or_else(|| format!("{VERSION} is missing"))?
            .to_owned(),
        modified_by: item.text(MODIFIED_BY)?.unwrap_or_default().to_owned(),
        modified_at: item.unsigned(MODIFIED_AT)?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip() {
        let lock = LeaderLock {
            owner: "w1".into(),
            duration: Duration::from_secs(5),
            version: "v1".into(),
            released: false,
            held_digest: Some(0xfeed),
            standstills: vec![standstill(u64::MAX - 1, 4_321), standstill(7, 0)],
            heirs: vec!["w2".into(), "w3".into()],
        };
        assert_eq!(decode_lock(&encode_lock(&lock)), Ok(lock.clone()));
        let released = LeaderLock {
            released: true,
            standstills: Vec::new(),
            ..lock.clone()
        };
        let item = encode_lock(&released);
        assert_eq!(item["isReleased"], string("1"));
        assert!(!item.contains_key(LOCK_STANDSTILLS));
        assert_eq!(decode_lock(&item), Ok(released));
        assert_eq!(
            encode_lock(&lock)[LOCK_DURATION],
            string("5000"),
            "milliseconds as a string, as Java has it"
        );

        let worker = WorkerRow {
            process: Some("p1".into()),
            failover_time: Some(Duration::from_secs(10)),
            report_number: 12,
            report_period: Some(Duration::from_millis(3333)),
            metrics: BTreeMap::from([(
                WorkerMetric::CPU.to_owned(),
                WorkerMetric {
                    samples: vec![12.5],
                    max_utilization: 80.0,
                },
            )]),
            is_measuring: true,
            trouble: Trouble {
                condition: Condition::Unfit,
                failing: ["shardId-7".into(), "shardId-8".into()].into(),
            },
            ..WorkerRow::new("w1", 1_795_221_439)
        };
        let mut item = encode_worker(&worker);
        item.insert(WORKER_KEY.into(), string("w1"));
        assert_eq!(decode_worker(&item, WORKER_KEY), Ok(worker));

        let version = ClientVersion {
            version: ClientVersion::CURRENT.into(),
            modified_by: "w1".into(),
            modified_at: 7,
        };
        assert_eq!(decode_version(&encode_version(&version)), Ok(version));
    }

    fn row_with(attributes: &[(&str, AttributeValue)]) -> WorkerRow {
        let mut item = Item::from([
            (LEASE_KEY.to_owned(), string("java")),
            (REPORTED_AT.to_owned(), number(1_795_221_449)),
        ]);
        item.extend(
            attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        decode_worker(&item, LEASE_KEY).unwrap()
    }

    fn lists(metrics: &[(&str, &[&str])]) -> AttributeValue {
        let list = |numbers: &[&str]| AttributeValue::L(numbers.iter().map(number).collect());
        let lists = metrics
            .iter()
            .map(|(name, numbers)| ((*name).to_owned(), list(numbers)));
        AttributeValue::M(lists.collect())
    }

    #[test]
    fn metrics_are_written_as_the_java_kcl_writes_them() {
        let row = WorkerRow {
            metrics: BTreeMap::from([(
                WorkerMetric::CPU.to_owned(),
                WorkerMetric {
                    samples: vec![31.25, 0.333_333, 0.0, -1.0],
                    max_utilization: 80.0,
                },
            )]),
            ..WorkerRow::new("w", 1)
        };
        let item = encode_worker(&row);
        assert_eq!(item["sts"], lists(&[("C", &["31.25", "0.333333", "0", "-1"])]));
        assert_eq!(item["opr"], lists(&[("C", &["80"])]));
        let silent = encode_worker(&WorkerRow {
            metrics: BTreeMap::new(),
            ..row
        });
        assert_eq!((&silent["sts"], &silent["opr"]), (&lists(&[]), &lists(&[])));
    }

    #[test]
    fn metrics_of_the_java_kcl_are_read_and_strange_ones_left_out() {
        let row = row_with(&[
            (
                "sts",
                lists(&[("C", &["31.25", "-1"]), ("M", &["60.000000", "62.5"])]),
            ),
            ("opr", lists(&[("C", &["100"]), ("M", &["80"])])),
        ]);
        assert_eq!(row.metrics["C"].samples, [31.25, -1.0]);
        assert_eq!(row.metrics["M"].utilization(), 61.25);
        assert_eq!(row.metrics["M"].max_utilization, 80.0);
        assert!(row.has_failing_metric());

        let opr = || ("opr", lists(&[("C", &["100"])]));
        for strange in [
            vec![],
            vec![("sts", lists(&[])), ("opr", lists(&[]))],
            vec![("sts", lists(&[("C", &["50"])]))],
            vec![
                ("sts", lists(&[("C", &["50"])])),
                ("opr", lists(&[("C", &["0"])])),
            ],
            vec![("sts", lists(&[("C", &["50"])])), ("opr", lists(&[("C", &[])]))],
            vec![("sts", lists(&[("C", &[])])), opr()],
            vec![("sts", lists(&[("C", &["NaN"])])), opr()],
            vec![("sts", string("50")), opr()],
        ] {
            assert!(row_with(&strange).metrics.is_empty(), "{strange:?}");
        }
    }

    #[test]
    fn standstills_that_another_version_wrote_differently_are_left_out() {
        let lock = LeaderLock {
            owner: "w1".into(),
            duration: Duration::from_secs(5),
            version: "v1".into(),
            released: false,
            held_digest: None,
            standstills: vec![standstill(1, 2)],
            heirs: Vec::new(),
        };
        let plain = LeaderLock {
            standstills: Vec::new(),
            ..lock.clone()
        };
        for strange in [
            string("1:2"),
            binary(&[0; 13]),
            binary(&[]),
            AttributeValue::M(HashMap::new()),
        ] {
            let mut item = encode_lock(&lock);
            item.insert(LOCK_STANDSTILLS.into(), strange.clone());
            assert_eq!(decode_lock(&item), Ok(plain.clone()), "{strange:?}");
        }
    }

    fn standstill(lease: u64, millis: u64) -> Standstill {
        Standstill {
            lease,
            lasted: Duration::from_millis(millis),
        }
    }

    #[test]
    fn a_lock_without_its_attributes_says_which() {
        let problem = decode_lock(&Item::new()).unwrap_err();
        assert_eq!(problem, "leaseDuration of the leader lock is missing");
    }
}
