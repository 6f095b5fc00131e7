//! What becomes of streams that are not read any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done with the leases of a stream that the [tracker](crate::StreamTracker) does not name any more, in an application of
/// several streams. In any case no worker reads it from then on.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// use kcl_core::FormerStreams;
///
/// builder.former_streams(FormerStreams::DeleteAfter(Duration::from_secs(3600)))
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FormerStreams {
    /// They are kept: should the stream be named again, it goes on where it was.
    #[default]
    Keep,
    /// They are deleted when the leader has missed the stream for so long, and at once if the stream was deleted. (The time begins anew
    /// when another worker leads.) Should the stream be named again later, it is begun as a new one.
    DeleteAfter(#[serde(with = "humantime_serde")] Duration),
}
