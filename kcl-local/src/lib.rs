//! Kinesis Data Streams and DynamoDB inside a test process.
//!
//! A [`Backend`] answers the AWS SDK without a network: [`Backend::sdk_config`] configures any SDK client with a
//! transport that hands requests straight to the services. So serialization, retries, time-outs and error parsing are
//! the shipped ones, and under `tokio::time::pause` minutes pass in milliseconds. The same backend also listens on TCP,
//! for other processes and languages, and as the binary `kcl-local`.
//!
//! ```
//! use aws_sdk_dynamodb::types::AttributeValue;
//! use kcl_local::Backend;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
//! let backend = Backend::start();
//! let dynamodb = aws_sdk_dynamodb::Client::new(&backend.sdk_config());
//! # let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build()?;
//! # let kind = AttributeDefinition::builder()
//! #     .attribute_name("leaseKey").attribute_type(ScalarAttributeType::S).build()?;
//! # dynamodb.create_table().table_name("leases").key_schema(key).attribute_definitions(kind)
//! #     .billing_mode(BillingMode::PayPerRequest).send().await?;
//! let key = AttributeValue::S("shardId-000000000000".into());
//! dynamodb.put_item().table_name("leases").item("leaseKey", key).send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`faults`] makes things go wrong on purpose: delays, throttling, lost requests, lost answers, clients cut off.

mod admin;
mod backend;
mod body;
pub mod clock;
pub mod dynamodb;
pub mod faults;
pub mod handler;
pub mod kinesis;
mod services;
pub mod transport;
pub mod wire;

pub use backend::{Backend, BackendBuilder};
pub use body::Body;
