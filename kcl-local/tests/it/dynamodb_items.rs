//! The item operations of a KCL, in the expression form and in the legacy form that the Java KCL still uses.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeAction, AttributeValueUpdate, ExpectedAttributeValue, Put, ReturnValue,
    ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem,
};

use crate::worlds::{TABLE, attribute, lease_table, n, put_lease, s};

fn put(value: aws_sdk_dynamodb::types::AttributeValue) -> AttributeValueUpdate {
    AttributeValueUpdate::builder()
        .action(AttributeAction::Put)
        .value(value)
        .build()
}

fn equal_to(value: aws_sdk_dynamodb::types::AttributeValue) -> ExpectedAttributeValue {
    ExpectedAttributeValue::builder().value(value).build()
}

fn absent() -> ExpectedAttributeValue {
    ExpectedAttributeValue::builder().exists(false).build()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_created_once_with_the_legacy_expectation() {
    let client = lease_table().await;
    let create = || {
        let request = client.put_item().table_name(TABLE).item("leaseKey", s("shard-0"));
        request.expected("leaseKey", absent())
    };
    create().send().await.unwrap();
    let error = create().send().await.unwrap_err().into_service_error();
    assert!(error.is_conditional_check_failed_exception(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_created_once_with_an_expression() {
    let client = lease_table().await;
    let create = || {
        let request = client.put_item().table_name(TABLE).item("leaseKey", s("shard-0"));
        request
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", "leaseKey")
    };
    create().send().await.unwrap();
    let error = create().send().await.unwrap_err().into_service_error();
    assert!(error.is_conditional_check_failed_exception(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_legacy_update_takes_a_lease_and_returns_it_new() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;

    let answer = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-0"))
        .attribute_updates("leaseOwner", put(s("worker-2")))
        .attribute_updates("leaseCounter", put(n(2)))
        .attribute_updates(
            "checkpoint",
            AttributeValueUpdate::builder()
                .action(AttributeAction::Delete)
                .build(),
        )
        .attribute_updates(
            "ownerSwitchesSinceCheckpoint",
            AttributeValueUpdate::builder()
                .action(AttributeAction::Add)
                .value(n(1))
                .build(),
        )
        .expected(
            "leaseKey",
            ExpectedAttributeValue::builder()
                .exists(true)
                .value(s("shard-0"))
                .build(),
        )
        .expected("leaseOwner", equal_to(s("worker-1")))
        .expected("checkpointOwner", absent())
        .return_values(ReturnValue::AllNew)
        .send()
        .await
        .unwrap();

    let lease = answer.attributes.unwrap();
    assert_eq!(lease["leaseKey"], s("shard-0"));
    assert_eq!(lease["leaseOwner"], s("worker-2"));
    assert_eq!(lease["leaseCounter"], n(2));
    assert_eq!(lease["ownerSwitchesSinceCheckpoint"], n(1));
    assert!(!lease.contains_key("checkpoint"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_legacy_update_returns_the_old_lease() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;

    let error = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-0"))
        .attribute_updates("leaseCounter", put(n(9)))
        .expected("leaseCounter", equal_to(n(8)))
        .return_values_on_condition_check_failure(OnFailure::AllOld)
        .send()
        .await
        .unwrap_err()
        .into_service_error();

    let UpdateItemError::ConditionalCheckFailedException(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.item().unwrap()["leaseOwner"], s("worker-1"));
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(1)));
}

#[tokio::test(start_paused = true)]
async fn an_expectation_with_exists_still_compares_the_value() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;
    let update = |expected: ExpectedAttributeValue| {
        let request = client
            .update_item()
            .table_name(TABLE)
            .key("leaseKey", s("shard-0"));
        request
            .attribute_updates("leaseCounter", put(n(2)))
            .expected("leaseOwner", expected)
            .send()
    };
    let exists = || ExpectedAttributeValue::builder().exists(true);
    let refused = update(exists().value(s("worker-2")).build())
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_conditional_check_failed_exception(), "{refused:?}");
    update(exists().value(s("worker-1")).build()).await.unwrap();
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(2)));
}

#[tokio::test(start_paused = true)]
async fn an_update_expression_renews_and_a_refused_one_returns_the_old_lease() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;
    let renew = |from: u64| {
        client
            .update_item()
            .table_name(TABLE)
            .key("leaseKey", s("shard-0"))
            .update_expression("SET #counter = :new")
            .condition_expression("#counter = :old AND #owner = :owner")
            .expression_attribute_names("#counter", "leaseCounter")
            .expression_attribute_names("#owner", "leaseOwner")
            .expression_attribute_values(":old", n(from))
            .expression_attribute_values(":new", n(from + 1))
            .expression_attribute_values(":owner", s("worker-1"))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(OnFailure::AllOld)
    };

    let renewed = renew(1).send().await.unwrap().attributes.unwrap();
    assert_eq!(renewed["leaseCounter"], n(2));
    let error = renew(1).send().await.unwrap_err().into_service_error();
    let UpdateItemError::ConditionalCheckFailedException(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.item().unwrap()["leaseCounter"], n(2));
}

#[tokio::test(start_paused = true)]
async fn an_update_without_a_condition_creates_the_item() {
    let client = lease_table().await;
    let stats = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("worker-1"));
    let answer = stats
        .update_expression("SET #a = :a, #b = :b")
        .expression_attribute_names("#a", "entityType")
        .expression_attribute_names("#b", "lut")
        .expression_attribute_values(":a", s("WORKER_METRIC_STATS"))
        .expression_attribute_values(":b", n(17))
        .return_values(ReturnValue::AllNew)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.attributes.unwrap()["lut"], n(17));
}

#[tokio::test(start_paused = true)]
async fn a_delete_heeds_its_condition_in_both_forms() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;
    let delete = || {
        client
            .delete_item()
            .table_name(TABLE)
            .key("leaseKey", s("shard-0"))
    };

    let legacy = delete()
        .expected("leaseOwner", equal_to(s("worker-2")))
        .send()
        .await;
    assert!(
        legacy
            .unwrap_err()
            .into_service_error()
            .is_conditional_check_failed_exception()
    );
    let condition = delete().condition_expression("attribute_exists(leaseKey) AND leaseOwner = :owner");
    let refused = condition
        .clone()
        .expression_attribute_values(":owner", s("worker-2"))
        .send()
        .await;
    assert!(
        refused
            .unwrap_err()
            .into_service_error()
            .is_conditional_check_failed_exception()
    );

    condition
        .expression_attribute_values(":owner", s("worker-1"))
        .send()
        .await
        .unwrap();
    assert_eq!(attribute(&client, "shard-0", "leaseOwner").await, None);
}

#[tokio::test(start_paused = true)]
async fn the_two_forms_do_not_mix() {
    let client = lease_table().await;
    let error = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-0"))
        .attribute_updates("leaseCounter", put(n(1)))
        .condition_expression("attribute_not_exists(leaseKey)")
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("ValidationException"));
}

#[tokio::test(start_paused = true)]
async fn batches_write_25_leases_and_refuse_26() {
    use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
    let client = lease_table().await;
    let batch = |size: usize| {
        let put = |i| {
            PutRequest::builder()
                .item("leaseKey", s(&format!("shard-{i}")))
                .build()
                .unwrap()
        };
        let requests = (0..size)
            .map(|i| WriteRequest::builder().put_request(put(i)).build())
            .collect();
        client.batch_write_item().request_items(TABLE, requests)
    };
    batch(25).send().await.unwrap();
    assert_eq!(
        batch(26).send().await.unwrap_err().code(),
        Some("ValidationException")
    );
    let count = client.scan().table_name(TABLE).send().await.unwrap().count();
    assert_eq!(count, 25);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_writes_all_or_nothing_and_tells_why() {
    let client = lease_table().await;
    put_lease(&client, "shard-1", "worker-1").await;
    let put = |lease: &str| {
        let put = Put::builder().table_name(TABLE).item("leaseKey", s(lease));
        let put = put
            .condition_expression("attribute_not_exists(leaseKey)")
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let transaction = client
        .transact_write_items()
        .transact_items(put("shard-0"))
        .transact_items(put("shard-1"));

    let error = transaction.send().await.unwrap_err().into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(error) = error else {
        panic!("{error:?}")
    };
    let reasons = error.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap()).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    assert_eq!(attribute(&client, "shard-0", "leaseKey").await, None);
}
