//! The rows that are not leases: leader lock, workers, client version.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::*;
use crate::store::{ClientVersion, LeaderLock, WorkerRow};

const METRICS: &str = "sts";
const OPERATING_RANGE: &str = "opr";
const SUPPORT_CODE: &str = "sup";
const SUPPORT_CODE_AT: &str = "slu";
const REPORT_PERIOD: &str = "reportPeriodMillis";
const REPORT_NUMBER: &str = "reportNumber";

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
        released: item.text(LOCK_RELEASED)? == Some("1"),
        held_digest: item
            .text(LOCK_HELD_DIGEST)?
            .and_then(|hex| u64::from_str_radix(hex, 16).ok()),
    })
}

/// The row of a worker that reports no metrics: the Java leader then balances it by throughput alone.
pub(super) fn encode_worker(worker: &WorkerRow) -> Item {
    let mut item = Item::from([
        (ENTITY_TYPE.into(), string(WORKER_ENTITY)),
        (REPORTED_AT.into(), number(worker.reported_at)),
        (METRICS.into(), AttributeValue::M(HashMap::new())),
        (OPERATING_RANGE.into(), AttributeValue::M(HashMap::new())),
        (SUPPORT_CODE.into(), number(SINGLE_TABLE_SUPPORT)),
        (SUPPORT_CODE_AT.into(), number(worker.reported_at)),
    ]);
    if let Some(period) = worker.report_period {
        item.insert(REPORT_PERIOD.into(), number(period.as_millis()));
        item.insert(REPORT_NUMBER.into(), number(worker.report_number));
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
        report_number: item.unsigned(REPORT_NUMBER)?.unwrap_or(0),
        report_period: item.unsigned(REPORT_PERIOD)?.map(Duration::from_millis),
        has_failing_metric: has_failing_metric(item),
    })
}

/// A worker reports -1 for a metric that it could not sample.
fn has_failing_metric(item: &Item) -> bool {
    let Some(AttributeValue::M(metrics)) = item.get(METRICS) else {
        return false;
    };
    metrics.values().any(|samples| match samples {
        AttributeValue::L(samples) => matches!(
            samples.last(),
            Some(AttributeValue::N(newest)) if newest.parse::<f64>().is_ok_and(|value| value < 0.0)
        ),
        _ => false,
    })
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
        };
        assert_eq!(decode_lock(&encode_lock(&lock)), Ok(lock.clone()));
        assert_eq!(
            encode_lock(&lock)[LOCK_DURATION],
            string("5000"),
            "milliseconds as a string, as Java has it"
        );

        let worker = WorkerRow {
            id: "w1".into(),
            reported_at: 1_795_221_439,
            report_number: 12,
            report_period: Some(Duration::from_millis(3333)),
            has_failing_metric: false,
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

    #[test]
    fn a_failed_newest_sample_makes_a_worker_ineligible() {
        let worker = WorkerRow {
            id: "w".into(),
            reported_at: 1,
            report_number: 0,
            report_period: None,
            has_failing_metric: false,
        };
        let with_samples = |samples: &[&str]| {
            let mut item = encode_worker(&worker);
            item.insert(LEASE_KEY.into(), string("w"));
            let samples = samples
                .iter()
                .map(|s| AttributeValue::N((*s).to_owned()))
                .collect();
            item.insert(
                METRICS.into(),
                AttributeValue::M([("C".to_owned(), AttributeValue::L(samples))].into()),
            );
            decode_worker(&item, LEASE_KEY).unwrap().has_failing_metric
        };
        assert!(with_samples(&["31.25", "-1"]));
        assert!(!with_samples(&["-1", "31.25"]));
    }

    #[test]
    fn a_lock_without_its_attributes_says_which() {
        let problem = decode_lock(&Item::new()).unwrap_err();
        assert_eq!(problem, "leaseDuration of the leader lock is missing");
    }
}
