//! Where a processor begins.

use kcl_lease::ExtendedSequenceNumber;

/// Where the delivery of a shard begins, as its processor says.
///
/// ```
/// use kcl_core::Begin;
///
/// # fn column() -> Option<String> { None }
/// # fn main() -> Result<(), kcl_core::ProcessorError> {
/// let kept: Option<String> = column(); // what the transaction of the last batch left in the application's own table
/// let begin = match kept {
///     Some(position) => Begin::Behind(position.parse()?),
///     None => Begin::AtCheckpoint,
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Begin {
    /// Behind the shard's checkpoint, or where that says: [`ShardContext::start`](crate::ShardContext::start), or behind a
    /// checkpoint that was made in [`initialize`](crate::RecordProcessor::initialize).
    #[default]
    AtCheckpoint,
    /// Behind this record, wherever the checkpoint is. A checkpoint that lies behind it stays until the processor has come so far
    /// again: checkpoints before it write nothing. If the record was trimmed since,
    /// [`RecordBatch::gap`](crate::RecordBatch::gap) says so.
    Behind(ExtendedSequenceNumber),
}
