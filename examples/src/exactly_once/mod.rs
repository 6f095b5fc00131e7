//! Sums in a database, in which each record counts exactly once.
//!
//! A record names an account and an amount. In one transaction of the database a batch of records is added to the sums of its
//! accounts, and the position of its last record is written down beside them. Whoever takes a shard over asks the database,
//! not the lease, where it begins.
//!
//! [`ExactlyOnce`] is the processor. What it may write is decided by [`rules`], which are pure; [`Sqlite`] and [`Postgres`] only
//! lock a row, read it, ask the rules, and write what these say. [`conformance`] tries a database, for one of your own, too.

pub mod conformance;
mod database;
mod postgres;
mod processor;
pub mod rules;
mod sqlite;
mod target;

pub use database::{Applied, Batch, Claimed, Database, DatabaseError, Entry, Owner, Total, Totals};
pub use postgres::Postgres;
pub use processor::{ExactlyOnce, Gaps};
pub use rules::Refused;
pub use sqlite::Sqlite;
pub use target::Target;
