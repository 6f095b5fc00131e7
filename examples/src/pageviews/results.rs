//! The table with the results.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus,
};
use kcl_core::ExtendedSequenceNumber;
use tokio::time::{Instant, sleep};

use super::click::Minute;
use super::counting::{self, Addition};
use crate::{AnyError, chain};

/// The partition key: a page.
const PAGE: &str = "page";
/// The sort key: a minute and the shard that counted.
const COUNTED: &str = "counted";
const VIEWS: &str = "views";
const POSITION: &str = "position";
/// A new table is there in this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Owners of one shard that write to the same row in turn come to an end.
const ATTEMPTS: usize = 10;

/// A row of the table: what one shard has counted of a page in a minute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// The page.
    pub page: String,
    /// The minute.
    pub minute: Minute,
    /// The shard, and which stream of its name: see [`streams::identity`](crate::streams::identity).
    pub shard: String,
}

/// What stands in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The page.
    pub page: String,
    /// The minute, as text.
    pub minute: String,
    /// The shard.
    pub shard: String,
    /// Views in that minute.
    pub views: u64,
    /// The last record that is in it.
    pub position: ExtendedSequenceNumber,
}

/// The table did not take or give what it should.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A call failed.
    #[error("the results in {table} cannot be {doing}: {reason}")]
    Call {
        /// The table.
        table: String,
        /// What was to be done.
        doing: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// A row is not as this program writes it.
    #[error("{table} has a row that is none of this application's ({row}): give it a table of its own")]
    Foreign {
        /// The table.
        table: String,
        /// The row.
        row: String,
    },
    /// Somebody else changes a row all the time.
    #[error("another process goes on changing {row}: does another application write to {table}?")]
    Contended {
        /// The table.
        table: String,
        /// The row.
        row: String,
    },
}

/// The table. Clones share a client.
#[derive(Debug, Clone)]
pub struct Results {
    client: Client,
    table: String,
}

impl Results {
    /// The table of this name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        let table = table.into();
        Self { client, table }
    }

    /// Makes the table unless it exists.
    ///
    /// # Errors
    /// DynamoDB refuses, or the table is not there after a minute.
    pub async fn ensure(&self) -> Result<(), AnyError> {
        let key = |name: &str, kind| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
        };
        let text = |name: &str| {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            attribute.attribute_type(ScalarAttributeType::S).build()
        };
        let creation = self.client.create_table().table_name(&self.table);
        let creation = creation
            .key_schema(key(PAGE, KeyType::Hash)?)
            .key_schema(key(COUNTED, KeyType::Range)?)
            .attribute_definitions(text(PAGE)?)
            .attribute_definitions(text(COUNTED)?)
            .billing_mode(BillingMode::PayPerRequest);
        if let Err(error) = creation.send().await {
            let is_there = error
                .as_service_error()
                .is_some_and(|error| error.is_resource_in_use_exception());
            if !is_there {
                return Err(format!("cannot create the table {}: {}", self.table, chain(&error)).into());
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let described = self
                .client
                .describe_table()
                .table_name(&self.table)
                .send()
                .await?;
            if described.table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the table {} is not active after a minute", self.table).into());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Counts records in a row of which they are not in it yet. `known` is up to where everything was in it when last seen; what is
    /// returned is that now.
    ///
    /// # Errors
    /// The table does not take it. Nothing is known then of whether it was written: count the same records again.
    pub async fn count(
        &self,
        row: &Row,
        known: Option<ExtendedSequenceNumber>,
        records: &[ExtendedSequenceNumber],
    ) -> Result<Option<ExtendedSequenceNumber>, ResultsError> {
        let mut known = known;
        for _ in 0..ATTEMPTS {
            let Some(addition) = counting::addition(known.as_ref(), records) else {
                return Ok(known);
            };
            match self.add(row, known.as_ref(), &addition).await? {
                Added::Done => return Ok(Some(addition.position)),
                // By an owner of the shard before or after, or by an attempt of ours whose answer was lost.
                Added::Changed(position) => known = position,
            }
        }
        Err(ResultsError::Contended {
            table: self.table.clone(),
            row: row.to_string(),
        })
    }

    /// One conditional write: the views and the position change together, or not at all.
    async fn add(
        &self,
        row: &Row,
        known: Option<&ExtendedSequenceNumber>,
        addition: &Addition,
    ) -> Result<Added, ResultsError> {
        let write = self.client.update_item().table_name(&self.table);
        let write = write
            .key(PAGE, AttributeValue::S(row.page.clone()))
            .key(COUNTED, AttributeValue::S(row.counted()))
            .update_expression("ADD #views :more SET #position = :position")
            .expression_attribute_names("#views", VIEWS)
            .expression_attribute_names("#position", POSITION)
            .expression_attribute_values(":more", AttributeValue::N(addition.views.to_string()))
            .expression_attribute_values(":position", AttributeValue::S(addition.position.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let write = match known {
            None => write.condition_expression("attribute_not_exists(#position)"),
            Some(known) => write
                .condition_expression("#position = :known")
                .expression_attribute_values(":known", AttributeValue::S(known.to_string())),
        };
        let Err(error) = write.send().await else {
            return Ok(Added::Done);
        };
        let refused = error
            .as_service_error()
            .is_some_and(|error| error.is_conditional_check_failed_exception());
        if !refused {
            return Err(self.failed("written", &error));
        }
        let service = error.into_service_error();
        let found = match service {
            aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                refused,
            ) => refused.item,
            _ => None,
        };
        let Some(found) = found else {
            return Ok(Added::Changed(None));
        };
        let position = found
            .get(POSITION)
            .and_then(|position| position.as_s().ok()?.parse().ok());
        match position {
            Some(position) => Ok(Added::Changed(Some(position))),
            None => Err(self.foreign(&row.to_string())),
        }
    }

    /// All rows, as they are now.
    ///
    /// # Errors
    /// The table cannot be read, or is another application's.
    pub async fn views(&self) -> Result<Vec<View>, ResultsError> {
        let (mut views, mut start) = (Vec::new(), None);
        loop {
            let scan = self.client.scan().table_name(&self.table).consistent_read(true);
            let page = scan.set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| self.failed("read", &error))?;
            for item in page.items() {
                views.push(view(item).ok_or_else(|| self.foreign(&format!("{item:?}")))?);
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(views);
            }
        }
    }

    fn failed(&self, doing: &'static str, error: &(dyn std::error::Error + 'static)) -> ResultsError {
        ResultsError::Call {
            table: self.table.clone(),
            doing,
            reason: chain(error),
        }
    }

    fn foreign(&self, row: &str) -> ResultsError {
        ResultsError::Foreign {
            table: self.table.clone(),
            row: row.to_owned(),
        }
    }
}

enum Added {
    Done,
    /// Everything up to there is in the row already, if anything is.
    Changed(Option<ExtendedSequenceNumber>),
}

impl Row {
    fn counted(&self) -> String {
        format!("{}#{}", self.minute, self.shard)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.page, self.counted())
    }
}

fn view(item: &HashMap<String, AttributeValue>) -> Option<View> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok());
    let (minute, shard) = text(COUNTED)?.split_once('#')?;
    Some(View {
        page: text(PAGE)?.clone(),
        minute: minute.to_owned(),
        shard: shard.to_owned(),
        views: item.get(VIEWS)?.as_n().ok()?.parse().ok()?,
        position: text(POSITION)?.parse().ok()?,
    })
}

#[cfg(test)]
impl Results {
    /// A row as another program may write it.
    pub(super) async fn put_foreign(&self, row: &Row) {
        let put = self.client.put_item().table_name(&self.table);
        let put = put
            .item(PAGE, AttributeValue::S(row.page.clone()))
            .item(COUNTED, AttributeValue::S(row.counted()))
            .item(POSITION, AttributeValue::N("7".to_owned()));
        put.send().await.expect("put");
    }
}
