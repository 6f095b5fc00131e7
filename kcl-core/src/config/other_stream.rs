//! What happens when the leases turn out to be of another stream.

use serde::{Deserialize, Serialize};

/// What to do when an application's leases are of another stream than the one that this worker reads: one of another name, or
/// one that had the same name, was deleted, and was made anew.
///
/// Nothing is written before that is known. Sequence numbers of one stream mean nothing in another.
///
/// ```no_run
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// builder.on_other_stream(kcl_core::OtherStream::BeginAnew)
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OtherStream {
    /// The worker ends with [`Error::OtherStream`](crate::Error::OtherStream), and the leases stay as they are.
    #[default]
    Refuse,
    /// The leases are set aside, each in a row that no worker reads, and the stream is begun at the
    /// [initial position](crate::WorkerBuilder::initial_position), as by a new application.
    BeginAnew,
}
