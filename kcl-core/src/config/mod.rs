//! What can be configured, and what a stream is called.

mod fan_out;
mod initial_position;
mod limits;
mod other_stream;
mod policy;
mod read_encoding;
mod stream;
mod worker_config;

pub use self::fan_out::{FanOut, StreamConsumer};
pub use self::initial_position::InitialPosition;
pub use self::other_stream::OtherStream;
pub(crate) use self::policy::{FailedCall, Failure, Piece, Reaction};
pub use self::policy::{FailurePolicy, LastResort};
pub use self::read_encoding::ReadEncoding;
pub use self::stream::{InvalidStream, ShardId, Stream};
pub use self::worker_config::{LeaseOptions, ProcessingOptions, RetrievalOptions, WorkerConfig};
