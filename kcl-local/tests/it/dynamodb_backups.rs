//! Continuous backups and account limits, which a KCL may ask for.

use aws_sdk_dynamodb::types::{
    ContinuousBackupsStatus, PointInTimeRecoverySpecification, PointInTimeRecoveryStatus,
};

use crate::worlds::{TABLE, create_lease_table, dynamodb, lease_table};

#[tokio::test(start_paused = true)]
async fn point_in_time_recovery_is_remembered_until_the_table_goes() {
    let client = lease_table().await;
    let status = async || {
        let answer = client
            .describe_continuous_backups()
            .table_name(TABLE)
            .send()
            .await
            .unwrap();
        let description = answer.continuous_backups_description.unwrap();
        assert_eq!(
            description.continuous_backups_status,
            ContinuousBackupsStatus::Enabled
        );
        description
            .point_in_time_recovery_description
            .unwrap()
            .point_in_time_recovery_status
            .unwrap()
    };
    assert_eq!(status().await, PointInTimeRecoveryStatus::Disabled);

    let enable = PointInTimeRecoverySpecification::builder()
        .point_in_time_recovery_enabled(true)
        .build()
        .unwrap();
    let request = client.update_continuous_backups().table_name(TABLE);
    request
        .point_in_time_recovery_specification(enable)
        .send()
        .await
        .unwrap();
    assert_eq!(status().await, PointInTimeRecoveryStatus::Enabled);

    client.delete_table().table_name(TABLE).send().await.unwrap();
    create_lease_table(&client).await;
    assert_eq!(status().await, PointInTimeRecoveryStatus::Disabled);
}

#[tokio::test(start_paused = true)]
async fn a_missing_table_has_no_backups() {
    let missing = dynamodb()
        .describe_continuous_backups()
        .table_name(TABLE)
        .send()
        .await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_table_not_found_exception()
    );
}

#[tokio::test(start_paused = true)]
async fn the_account_has_limits() {
    let limits = dynamodb().describe_limits().send().await.unwrap();
    assert_eq!(limits.account_max_write_capacity_units, Some(80_000));
}
