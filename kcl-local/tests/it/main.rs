//! The backend as its users meet it: through AWS SDK clients and through raw HTTP.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod admin;
mod arbitrary;
mod binary;
mod cbor;
mod dynamodb_backups;
mod dynamodb_items;
mod dynamodb_tables;
mod dynamodb_touched;
mod elsewhere;
mod faults;
mod handler;
mod kinesis;
mod kinesis_limits;
mod kinesis_scopes;
mod kinesis_settings;
mod malformed;
mod page;
mod program;
#[cfg(feature = "tls")]
mod pushed;
mod recipes;
mod subscriptions;
mod tcp;
mod worlds;
