//! Records from Kinesis to the door of the processor.

mod appetite;
mod budget;
mod buffer;
mod cursor;
mod gap;
mod pace;
mod polling;
mod progress;
mod reading;

pub(crate) use self::budget::Budget;
pub(crate) use self::buffer::{Delivery, Outlet};
pub(crate) use self::cursor::Cursor;
pub(crate) use self::polling::{Poller, PollingOptions, ReaderParts};
pub(crate) use self::reading::Start;

#[cfg(test)]
mod tests;
