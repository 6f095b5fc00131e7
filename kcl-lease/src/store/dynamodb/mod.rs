//! The lease table in DynamoDB, in the single-table format of the Java KCL 3.5.

mod attributes;
mod codec;
mod expression;
mod failure;
mod rows;
mod table;

use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure};

use self::attributes::*;
use self::codec::Entity;
use self::expression::Expression;
use self::failure::classify;
pub use self::table::{Billing, TableCreation, TableOptions};
use super::{
    ClientVersion, LeaderLock, LeaseChange, LeaseStore, StoreError, StoreErrorKind, TableSnapshot,
    UnreadableRow, WorkerRow, WriteOutcome,
};
use crate::ids::{LeaseKey, WorkerId};
use crate::lease::Lease;

/// A [`LeaseStore`] on one DynamoDB table.
///
/// Give the client time-outs well below the fail-over time: a renewal that hangs is a lease that expires.
#[derive(Debug, Clone)]
pub struct DynamoDbLeaseStore {
    client: Client,
    options: TableOptions,
}

impl DynamoDbLeaseStore {
    /// A store on the table that `options` names.
    pub fn new(client: Client, options: TableOptions) -> Self {
        Self { client, options }
    }

    fn table(&self) -> &str {
        &self.options.name
    }

    fn unreadable(&self, operation: &'static str, problem: String) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, operation, self.table(), problem)
    }

    fn put(&self, item: Item) -> PutItemFluentBuilder {
        self.client
            .put_item()
            .table_name(self.table())
            .set_item(Some(item))
    }

    fn delete_row(&self, key: &str) -> DeleteItemFluentBuilder {
        self.client
            .delete_item()
            .table_name(self.table())
            .key(LEASE_KEY, string(key))
    }

    /// Puts an item under a condition; false if the condition did not hold.
    async fn put_if(&self, operation: &'static str, put: PutItemFluentBuilder) -> Result<bool, StoreError> {
        self.unless_refused(operation, put.send().await)
    }

    /// Deletes an item under a condition; false if the condition did not hold.
    async fn delete_if(
        &self,
        operation: &'static str,
        delete: DeleteItemFluentBuilder,
    ) -> Result<bool, StoreError> {
        self.unless_refused(operation, delete.send().await)
    }

    fn unless_refused<T, E, R>(
        &self,
        operation: &'static str,
        answer: Result<T, SdkError<E, R>>,
    ) -> Result<bool, StoreError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        R: fmt::Debug + Send + Sync + 'static,
    {
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(error) => Err(classify(operation, self.table(), error)),
        }
    }

    async fn read(&self, operation: &'static str, key: &str) -> Result<Option<Item>, StoreError> {
        let request = self
            .client
            .get_item()
            .table_name(self.table())
            .key(LEASE_KEY, string(key))
            .consistent_read(true);
        let output = request
            .send()
            .await
            .map_err(|error| classify(operation, self.table(), error))?;
        Ok(output.item)
    }

    fn sort_into(&self, snapshot: &mut TableSnapshot, item: &Item) {
        let read = match codec::entity(item) {
            Entity::Lease => codec::decode(item).map(|lease| snapshot.leases.push(lease)),
            Entity::Worker => rows::decode_worker(item).map(|worker| snapshot.workers.push(worker)),
            Entity::Leader | Entity::ClientVersion | Entity::Foreign => Ok(()),
        };
        if let Err(problem) = read {
            let key = item.text(LEASE_KEY).ok().flatten().unwrap_or_default().to_owned();
            snapshot.unreadable.push(UnreadableRow { key, problem });
        }
    }
}

#[async_trait]
impl LeaseStore for DynamoDbLeaseStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        table::prepare(&self.client, &self.options).await
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        let mut snapshot = TableSnapshot::default();
        let mut from = None;
        loop {
            let request = self
                .client
                .scan()
                .table_name(self.table())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(from);
            let page = request
                .send()
                .await
                .map_err(|error| classify("scanning", self.table(), error))?;
            snapshot.read_units += page
                .consumed_capacity()
                .and_then(|used| used.capacity_units())
                .unwrap_or(0.5);
            for item in page.items() {
                self.sort_into(&mut snapshot, item);
            }
            from = page.last_evaluated_key;
            if from.as_ref().is_none_or(|key| key.is_empty()) {
                break;
            }
        }
        snapshot.leases.sort_by(|a, b| a.key.cmp(&b.key));
        snapshot.workers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(snapshot)
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        const READING: &str = "reading a lease";
        let item = self.read(READING, key.as_str()).await?;
        match item.filter(|item| codec::entity(item) == Entity::Lease) {
            Some(item) => codec::decode(&item)
                .map(Some)
                .map_err(|problem| self.unreadable(READING, format!("row {key}: {problem}"))),
            None => Ok(None),
        }
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        let mut keys = Vec::new();
        let mut from = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(self.table())
                .index_name(OWNER_INDEX)
                .key_condition_expression("#owner = :owner")
                .expression_attribute_names("#owner", LEASE_OWNER)
                .expression_attribute_values(":owner", string(worker.as_str()))
                .set_exclusive_start_key(from);
            let page = request
                .send()
                .await
                .map_err(|error| classify("looking for assignments", self.table(), error))?;
            keys.extend(
                page.items()
                    .iter()
                    .filter_map(|item| item.text(LEASE_KEY).ok().flatten().map(LeaseKey::from)),
            );
            from = page.last_evaluated_key;
            if from.as_ref().is_none_or(|key| key.is_empty()) {
                return Ok(keys);
            }
        }
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let put = self
            .put(codec::encode(lease))
            .condition_expression("attribute_not_exists(#key)");
        self.put_if(
            "creating a lease",
            put.expression_attribute_names("#key", LEASE_KEY),
        )
        .await
    }

    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        const WRITING: &str = "writing a lease";
        let expression = Expression::of(change, seen);
        let request = self
            .client
            .update_item()
            .table_name(self.table())
            .key(LEASE_KEY, string(seen.key.as_str()))
            .update_expression(expression.update())
            .condition_expression(expression.condition())
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let (item, applied) = match request.send().await {
            Ok(output) => (output.attributes, true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    (refusal.item.clone(), false)
                }
                _ => return Err(classify(WRITING, self.table(), error)),
            },
        };
        let row = match item {
            Some(item) if !item.is_empty() => Some(
                codec::decode(&item)
                    .map_err(|problem| self.unreadable(WRITING, format!("row {}: {problem}", seen.key)))?,
            ),
            // Some servers do not return the row on a refusal.
            _ if applied => Some(change.applied_to(seen, seen)),
            _ => self.get(&seen.key).await?,
        };
        Ok(match row {
            Some(row) if applied => WriteOutcome::Applied(row),
            row => WriteOutcome::Refused(row),
        })
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        let delete = self
            .delete_row(seen.key.as_str())
            .condition_expression("attribute_not_exists(#key) OR #counter = :counter")
            .expression_attribute_names("#key", LEASE_KEY)
            .expression_attribute_names("#counter", LEASE_COUNTER)
            .expression_attribute_values(":counter", number(seen.counter));
        self.delete_if("deleting a lease", delete).await
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        const READING: &str = "reading the leader lock";
        let item = self.read(READING, LEADER_KEY).await?;
        item.map(|item| rows::decode_lock(&item).map_err(|problem| self.unreadable(READING, problem)))
            .transpose()
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        let put = self
            .put(rows::encode_lock(lock))
            .expression_attribute_names("#key", LEASE_KEY);
        let put = match seen {
            None => put.condition_expression("attribute_not_exists(#key)"),
            Some(version) => put
                .condition_expression("attribute_exists(#key) AND #version = :version")
                .expression_attribute_names("#version", LOCK_VERSION)
                .expression_attribute_values(":version", string(version)),
        };
        self.put_if("taking the leader lock", put).await
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        let put = self
            .put(rows::encode_lock(lock))
            .condition_expression("#version = :version AND #owner = :owner")
            .expression_attribute_names("#version", LOCK_VERSION)
            .expression_attribute_names("#owner", LOCK_OWNER)
            .expression_attribute_values(":version", string(seen))
            .expression_attribute_values(":owner", string(lock.owner.as_str()));
        self.put_if("refreshing the leader lock", put).await
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        let delete = self
            .delete_row(LEADER_KEY)
            .condition_expression("#version = :version AND #owner = :owner")
            .expression_attribute_names("#version", LOCK_VERSION)
            .expression_attribute_names("#owner", LOCK_OWNER)
            .expression_attribute_values(":version", string(lock.version.clone()))
            .expression_attribute_values(":owner", string(lock.owner.as_str()));
        self.delete_if("releasing the leader lock", delete).await
    }

    async fn report(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        const REPORTING: &str = "reporting the worker";
        let put = self
            .put(rows::encode_worker(worker))
            .condition_expression("attribute_not_exists(#key) OR #entity = :worker")
            .expression_attribute_names("#key", LEASE_KEY)
            .expression_attribute_names("#entity", ENTITY_TYPE)
            .expression_attribute_values(":worker", string(WORKER_ENTITY));
        if self.put_if(REPORTING, put).await? {
            return Ok(());
        }
        let problem = format!(
            "worker id {} is the key of a row that is no worker's; choose another id",
            worker.id
        );
        Err(self.unreadable(REPORTING, problem))
    }

    async fn retire(&self, worker: &WorkerId) -> Result<(), StoreError> {
        let delete = self
            .delete_row(worker.as_str())
            .condition_expression("#entity = :worker")
            .expression_attribute_names("#entity", ENTITY_TYPE)
            .expression_attribute_values(":worker", string(WORKER_ENTITY));
        self.delete_if("retiring the worker", delete).await.map(|_| ())
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        let item = self.read("looking for a worker", worker.as_str()).await?;
        Ok(item.is_some_and(|item| codec::entity(&item) == Entity::Worker))
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        const AGREEING: &str = "reading the client version";
        let found = match self.read(AGREEING, CLIENT_VERSION_KEY).await? {
            Some(item) => item,
            None => {
                let put = self
                    .put(rows::encode_version(ours))
                    .condition_expression("attribute_not_exists(#key)")
                    .expression_attribute_names("#key", LEASE_KEY);
                if self.put_if(AGREEING, put).await? {
                    return Ok(ours.clone());
                }
                self.read(AGREEING, CLIENT_VERSION_KEY)
                    .await?
                    .unwrap_or_else(|| rows::encode_version(ours))
            }
        };
        rows::decode_version(&found).map_err(|problem| self.unreadable(AGREEING, problem))
    }
}
