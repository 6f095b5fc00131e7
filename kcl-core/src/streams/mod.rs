//! The streams of a worker: what the shards of each share, and, where there are several, which they are.

mod admission;
mod agenda;
mod lookup;
mod pace;
mod read_stream;
mod recognise;
mod registry;
mod several;
mod tracking;
mod upkeep;

pub(crate) use self::admission::Admission;
pub(crate) use self::lookup::StreamsRead;
pub(crate) use self::pace::Pace;
pub(crate) use self::read_stream::{MemberParts, ReadStream, StreamParts};
pub(crate) use self::recognise::{LOOKING, recognise};
pub(crate) use self::registry::{NOT_NAMED, Registry};
pub(crate) use self::several::SeveralStreams;
pub(crate) use self::tracking::Tracking;
