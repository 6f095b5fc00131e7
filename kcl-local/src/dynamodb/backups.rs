//! Operations that the database lacks and a KCL may ask for: continuous backups (which never happen) and account limits.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dynoxide::DynoxideError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DynamoDb, DynamoDbError, dispatch};

/// Which tables have point in time recovery, by name.
#[derive(Debug, Default)]
pub(super) struct Backups {
    recovery: Mutex<BTreeMap<String, Recovery>>,
}

#[derive(Debug, Clone, Copy)]
struct Recovery {
    days: u32,
    since_secs: u64,
}

impl Backups {
    fn recovery(&self) -> MutexGuard<'_, BTreeMap<String, Recovery>> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A deleted table takes its setting with it.
    pub(super) fn forget(&self, table: &str) {
        self.recovery().remove(table);
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BackupRequest {
    #[serde(default)]
    table_name: String,
    point_in_time_recovery_specification: Option<RecoverySpecification>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecoverySpecification {
    point_in_time_recovery_enabled: bool,
    recovery_period_in_days: Option<u32>,
}

/// Recovery windows that may be asked for, in days; the longest is the default.
const RECOVERY_DAYS: RangeInclusive<u32> = 1..=35;

impl DynamoDb {
    /// Continuous backups are always on, as with the service; point in time recovery is what was last asked for.
    pub(super) fn describe_continuous_backups(&self, body: &Bytes) -> Result<Bytes, DynamoDbError> {
        let request: BackupRequest = dispatch::read(body)?;
        self.must_exist(&request.table_name)?;
        dispatch::write(&self.continuous_backups(&request.table_name))
    }

    pub(super) fn update_continuous_backups(&self, body: &Bytes) -> Result<Bytes, DynamoDbError> {
        let request: BackupRequest = dispatch::read(body)?;
        let Some(specification) = request.point_in_time_recovery_specification else {
            return Err(invalid(
                "The parameter 'PointInTimeRecoverySpecification' is required",
            ));
        };
        let days = specification
            .recovery_period_in_days
            .unwrap_or(*RECOVERY_DAYS.end());
        if !RECOVERY_DAYS.contains(&days) {
            return Err(invalid("RecoveryPeriodInDays must be between 1 and 35"));
        }
        self.must_exist(&request.table_name)?;
        let since_secs = self.clock.now_millis() / 1_000;
        let mut recovery = self.backups.recovery();
        if specification.point_in_time_recovery_enabled {
            let since_secs = recovery
                .get(&request.table_name)
                .map_or(since_secs, |before| before.since_secs);
            recovery.insert(request.table_name.clone(), Recovery { days, since_secs });
        } else {
            recovery.remove(&request.table_name);
        }
        drop(recovery);
        dispatch::write(&self.continuous_backups(&request.table_name))
    }

    fn must_exist(&self, table: &str) -> Result<(), DynamoDbError> {
        if self.database.get_table_metadata(table)?.is_some() {
            return Ok(());
        }
        let code = "com.amazonaws.dynamodb.v20120810#TableNotFoundException";
        Err(DynamoDbError::new(code, &format!("Table not found: {table}")))
    }

    fn continuous_backups(&self, table: &str) -> Value {
        let recovery = match self.backups.recovery().get(table) {
            Some(recovery) => json!({
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": recovery.days,
                "EarliestRestorableDateTime": recovery.since_secs,
                "LatestRestorableDateTime": self.clock.now_millis() / 1_000,
            }),
            None => json!({ "PointInTimeRecoveryStatus": "DISABLED" }),
        };
        json!({ "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": recovery,
        }})
    }
}

fn invalid(message: &str) -> DynamoDbError {
    DynoxideError::ValidationException(message.to_owned()).into()
}

/// The service's default quotas for an account in one region.
pub(super) fn describe_limits() -> Bytes {
    let limits = json!({
        "AccountMaxReadCapacityUnits": 80_000,
        "AccountMaxWriteCapacityUnits": 80_000,
        "TableMaxReadCapacityUnits": 40_000,
        "TableMaxWriteCapacityUnits": 40_000,
    });
    Bytes::from(limits.to_string())
}
