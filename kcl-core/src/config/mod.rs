//! What can be configured, and what a stream is called.

mod fan_out;
mod former_streams;
mod initial_position;
mod limits;
mod other_stream;
mod policy;
mod read_encoding;
mod stream;
mod streams;
mod worker_config;

pub use self::fan_out::{FanOut, StreamConsumer};
pub use self::former_streams::FormerStreams;
pub use self::initial_position::InitialPosition;
pub use self::other_stream::OtherStream;
pub(crate) use self::policy::{FailedCall, Failure, Piece, Reaction};
pub use self::policy::{FailurePolicy, LastResort};
pub use self::read_encoding::ReadEncoding;
pub use self::stream::{InvalidStream, InvalidStreamId, ShardId, Stream, StreamId};
pub(crate) use self::streams::Given;
pub use self::streams::{StreamTracker, Streams, TrackedStream};
pub use self::worker_config::{LeaseOptions, ProcessingOptions, RetrievalOptions, WorkerConfig};
