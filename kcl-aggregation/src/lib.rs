//! Many user records in one Kinesis record: the format of the Kinesis Producer Library (KPL), both ways. Pure: no I/O.
//!
//! An aggregate is four magic bytes, a Protocol Buffers message with the user records and tables of their keys, and the MD5
//! digest of the message. [`Aggregate`] takes it apart, [`Aggregator`] puts it together.
//!
//! ```
//! use kcl_aggregation::{Aggregate, Aggregator, UserRecord};
//!
//! let mut aggregator = Aggregator::default();
//! for line in ["line 0", "line 1"] {
//!     let full = aggregator.push(UserRecord::new("a key", line))?;
//!     assert!(full.is_none(), "there is room for more");
//! }
//! let entry = aggregator.finish().expect("something was pushed");
//!
//! let aggregate = Aggregate::parse(&entry.data).expect("it is one");
//! let lines: Vec<_> = aggregate.user_records().map(|record| record.data).collect();
//! assert_eq!(lines, ["line 0", "line 1"]);
//! # Ok::<(), kcl_aggregation::Refused>(())
//! ```

mod aggregate;
mod aggregator;
mod user_record;
mod wire;

pub use crate::aggregate::Aggregate;
pub use crate::aggregator::{Aggregator, Entry, Limits, Refused};
pub use crate::user_record::UserRecord;
pub use bytes::Bytes;
pub use bytestring::ByteString;

#[cfg(test)]
mod vectors;
