//! DynamoDB in memory: `dynoxide` behind the request handler, and the few answers that it lacks.
//!
//! Tables live until the backend is dropped. Provisioned throughput is stored but not enforced.

mod backups;
mod dispatch;
mod time;
mod touched;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dynoxide::actions::delete_table::DeleteTableRequest;
use dynoxide::{Database, DynoxideError};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

pub use self::touched::{Touched, TouchedRows};
use crate::clock::Clock;

/// The DynamoDB of one backend. Clones share the tables.
#[derive(Clone)]
pub struct DynamoDb {
    database: Database,
    backups: Arc<backups::Backups>,
    subscriptions: Arc<touched::Subscriptions>,
    clock: Clock,
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDb").finish_non_exhaustive()
    }
}

/// A refused request, as it goes over the wire.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}")]
pub struct DynamoDbError {
    /// The error's full name, such as `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// The JSON body, with the members that the error has besides its message.
    pub body: Bytes,
}

impl DynamoDbError {
    /// An error that the database itself does not know.
    fn new(code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "__type": code, "message": message });
        Self {
            code: code.to_owned(),
            status: 400,
            body: Bytes::from(body.to_string()),
        }
    }
}

impl From<DynoxideError> for DynamoDbError {
    fn from(error: DynoxideError) -> Self {
        Self {
            code: error.error_type().to_owned(),
            status: error.status_code(),
            body: Bytes::from(error.to_json()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    table_names: Vec<String>,
    last_evaluated_table_name: Option<String>,
}

impl DynamoDb {
    /// An empty database that reads the time from `clock`.
    #[expect(
        clippy::expect_used,
        reason = "an in-memory SQLite opens unless the process is out of memory"
    )]
    pub fn new(clock: Clock) -> Self {
        let database = Database::memory_with_clock(Arc::new(time::DatabaseClock(clock.clone())))
            .expect("an in-memory database always opens");
        Self {
            database,
            backups: Arc::default(),
            subscriptions: Arc::default(),
            clock,
        }
    }

    /// The database underneath, to look at or to fill without requests.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Performs `operation` on a JSON body and returns the JSON answer.
    ///
    /// # Errors
    ///
    /// What DynamoDB would answer; `UnknownOperationException` for an operation that is not served here.
    pub fn call(&self, operation: &str, body: &Bytes) -> Result<Bytes, DynamoDbError> {
        let answer = match operation {
            "DeleteTable" => self.delete_table(body),
            "DescribeContinuousBackups" => self.describe_continuous_backups(body),
            "DescribeLimits" => Ok(backups::describe_limits()),
            "UpdateContinuousBackups" => self.update_continuous_backups(body),
            _ => dispatch::call(&self.database, operation, body),
        }?;
        self.subscriptions.tell(operation, body);
        Ok(answer)
    }

    /// Deletes every table, protected or not.
    ///
    /// # Errors
    /// What the database says.
    pub fn clear(&self) -> Result<(), DynamoDbError> {
        loop {
            let listed: Listed = self.ask("ListTables", serde_json::json!({}))?;
            if listed.table_names.is_empty() {
                return Ok(());
            }
            for table in &listed.table_names {
                let open = serde_json::json!({ "TableName": table, "DeletionProtectionEnabled": false });
                self.ask::<IgnoredAny>("UpdateTable", open)?;
                self.ask::<IgnoredAny>("DeleteTable", serde_json::json!({ "TableName": table }))?;
            }
        }
    }

    /// The names of the tables, in order.
    ///
    /// # Errors
    /// What the database says.
    pub(crate) fn tables(&self) -> Result<Vec<String>, DynamoDbError> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let request = match names.last() {
                Some(last) => serde_json::json!({ "ExclusiveStartTableName": last }),
                None => serde_json::json!({}),
            };
            let listed: Listed = self.ask("ListTables", request)?;
            names.extend(listed.table_names);
            if listed.last_evaluated_table_name.is_none() {
                return Ok(names);
            }
        }
    }

    /// Performs an operation on a value.
    pub(crate) fn ask<A: DeserializeOwned>(
        &self,
        operation: &str,
        request: serde_json::Value,
    ) -> Result<A, DynamoDbError> {
        let answer = self.call(operation, &Bytes::from(request.to_string()))?;
        serde_json::from_slice(&answer)
            .map_err(|error| DynamoDbError::new("InternalServerError", &error.to_string()))
    }

    /// Collects which rows of `table`, whose partition key is the string attribute `key`, are written by [`call`](Self::call)
    /// from now on. The first [`take`](TouchedRows::take) tells [`Touched::Any`].
    pub fn touched_rows(&self, table: &str, key: &str) -> TouchedRows {
        self.subscriptions.add(table, key)
    }

    fn delete_table(&self, body: &Bytes) -> Result<Bytes, DynamoDbError> {
        let request: DeleteTableRequest = dispatch::read(body)?;
        let table = request.table_name.clone();
        let answer = self.database.delete_table(request)?;
        self.backups.forget(&table);
        dispatch::write(&answer)
    }
}
