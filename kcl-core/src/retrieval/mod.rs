//! Records from their source to the door of the processor.

pub(crate) mod alone;
mod batches;
mod buffer;
mod cursor;
mod filling;
mod gap;
mod inquiry;
mod prefetch;
mod progress;
mod read_error;
mod reader;
mod unpacking;

pub(crate) use self::batches::Batches;
pub(crate) use self::buffer::Delivery;
pub(crate) use self::cursor::Cursor;
pub(crate) use self::filling::BatchLimits;
pub(crate) use self::prefetch::{Prefetch, ReaderParts};
pub(crate) use self::reader::Start;

#[cfg(test)]
mod tests;
