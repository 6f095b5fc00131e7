//! Views of pages per minute in a DynamoDB table, in which each click counts exactly once: the application of the reference
//! deployments in `docs/deployments`.
//!
//! A click names a page and a time. Each shard has rows of its own in the table, one for each page and minute, so that no two
//! workers write to the same row and whoever reads adds the shards' rows up. A row has the number of views and the position of the
//! last record that is in it, and both change in one conditional write. A record that comes again, after a crash or from an owner
//! that does not know yet that it has lost the shard, is found at or before that position and is left out.
//!
//! [`counting`] decides what is added, and is pure; [`Results`] writes it; [`PageViews`] is the processor, and [`Consumer`] a worker with
//! everything that it needs on a machine that may go at any time.

mod click;
mod consumer;
pub mod counting;
mod processor;
mod producer;
mod results;

pub use click::{Click, Minute};
pub use consumer::Consumer;
pub use processor::PageViews;
pub use producer::{Producer, Put};
pub use results::{Results, ResultsError, Row, View};
