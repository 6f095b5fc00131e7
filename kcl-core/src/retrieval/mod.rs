//! Records from Kinesis to the door of the processor.

mod buffer;
mod iterator;
mod pace;
mod polling;

pub(crate) use self::buffer::{Budget, Delivery, Outlet};
pub(crate) use self::iterator::{Cursor, IteratorRequest};
pub(crate) use self::polling::{Poller, PollingOptions};
