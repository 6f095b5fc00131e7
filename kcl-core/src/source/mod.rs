//! Where the records of a shard come from. Polling is one such source.

mod feed;
mod polling;

pub(crate) use self::feed::{Feed, Page, Pause, Room};
pub(crate) use self::polling::Polling;
#[cfg(test)]
pub(crate) use self::polling::appetite;
