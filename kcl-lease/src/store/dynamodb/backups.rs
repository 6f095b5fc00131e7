//! Point-in-time recovery of the lease table.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::PointInTimeRecoverySpecification;
use tokio::time::{Instant, sleep};

use super::failure::{classify, failure};
use super::table::{FIRST_POLL, PREPARE, SLOWEST_POLL, TableCreation, TableOptions, built_wrong};
use crate::store::{StoreError, StoreErrorKind};

/// Switches point-in-time recovery on, if it is asked for and the table may be changed. Repeats it until `deadline` while the
/// backups of a new table are not ready for that.
pub(super) async fn enable_recovery(
    client: &Client,
    options: &TableOptions,
    deadline: Instant,
) -> Result<(), StoreError> {
    if !options.point_in_time_recovery || options.creation == TableCreation::MustExist {
        return Ok(());
    }
    let specification = PointInTimeRecoverySpecification::builder()
        .point_in_time_recovery_enabled(true)
        .build()
        .map_err(built_wrong)?;
    let mut poll = FIRST_POLL;
    loop {
        let request = client
            .update_continuous_backups()
            .table_name(options.name())
            .point_in_time_recovery_specification(specification.clone());
        let error = match request.send().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match error.code() {
            Some("ContinuousBackupsUnavailableException") if Instant::now() < deadline => {}
            Some("UnknownOperationException") => {
                let message = "the server does not know point-in-time recovery; leave it off";
                let problem = failure(StoreErrorKind::Invalid, PREPARE, options.name(), message);
                return Err(problem.with_source(error));
            }
            _ => return Err(classify(PREPARE, options.name(), error)),
        }
        sleep(poll).await;
        poll = (poll * 2).min(SLOWEST_POLL);
    }
}
