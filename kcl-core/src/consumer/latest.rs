//! Where "latest" was. Pure.
//!
//! A lease that starts at the latest record has no sequence number until its first checkpoint. Whoever takes it over in
//! the meantime would start at *their* latest record, and what was put or delivered before would be lost. So the first
//! reader leaves the time at which it began in the lease, as the state of a pending checkpoint: the one attribute that
//! survives a change of owner, is cleared by the first checkpoint, and means nothing to other implementations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kcl_lease::{Checkpoint, Lease, PendingCheckpoint};

use crate::retrieval::Cursor;

const PREFIX: &str = "kcl:reading-since-ms=";

/// Whether a lease starts at the latest record and nobody has left a note yet.
pub(super) fn needs_note(lease: &Lease) -> bool {
    lease.checkpoint == Checkpoint::Latest && lease.pending_checkpoint.is_none()
}

/// What the first reader of such a lease leaves in it at `now`, the time at the service; `None` before 1970.
pub(super) fn note_to_leave(now: SystemTime) -> Option<PendingCheckpoint> {
    let since = now
        .checked_sub(Cursor::CLOCK_MARGIN)?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    let state = Bytes::from(format!("{PREFIX}{}", since.as_millis()));
    Some(PendingCheckpoint {
        checkpoint: Checkpoint::Latest,
        state: Some(state),
    })
}

/// When reading at the latest record began, if a reader left a note.
pub(super) fn noted_start(pending: Option<&PendingCheckpoint>) -> Option<SystemTime> {
    let pending = pending.filter(|pending| pending.checkpoint == Checkpoint::Latest)?;
    let millis = std::str::from_utf8(pending.state.as_deref()?)
        .ok()?
        .strip_prefix(PREFIX)?
        .parse()
        .ok()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
    }

    #[test]
    fn a_note_is_left_once_and_read_by_the_next_reader() {
        let mut lease = Lease::new("shard", Checkpoint::Latest);
        assert_eq!(noted_start(lease.pending_checkpoint.as_ref()), None);
        assert!(needs_note(&lease));
        lease.pending_checkpoint = note_to_leave(now());
        assert_eq!(
            noted_start(lease.pending_checkpoint.as_ref()),
            Some(now() - Cursor::CLOCK_MARGIN)
        );
        assert!(!needs_note(&lease), "the first reader's note stays");
    }

    #[test]
    fn only_a_start_at_the_latest_record_needs_one() {
        for checkpoint in [
            Checkpoint::TrimHorizon,
            Checkpoint::AtTimestamp,
            Checkpoint::ShardEnd,
        ] {
            assert!(!needs_note(&Lease::new("shard", checkpoint)));
        }
    }

    #[test]
    fn a_pending_checkpoint_of_the_application_is_no_note() {
        let theirs = |checkpoint: &str, state: &'static str| PendingCheckpoint {
            checkpoint: Checkpoint::parse(checkpoint, 0).expect("valid"),
            state: Some(Bytes::from_static(state.as_bytes())),
        };
        assert_eq!(noted_start(Some(&theirs("17", "kcl:reading-since-ms=5"))), None);
        assert_eq!(noted_start(Some(&theirs("LATEST", "mine"))), None);
        assert_eq!(
            noted_start(Some(&theirs("LATEST", "kcl:reading-since-ms=x"))),
            None
        );
    }
}
