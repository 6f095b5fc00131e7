//! What can be configured, and what a stream is called.

mod initial_position;
mod options;
mod other_stream;
mod policy;
mod stream;

pub use self::initial_position::InitialPosition;
pub(crate) use self::options::Options;
pub use self::other_stream::OtherStream;
pub(crate) use self::policy::{Failure, Reaction};
pub use self::policy::{FailurePolicy, SkipRule};
pub use self::stream::{InvalidStream, ShardId, Stream};
