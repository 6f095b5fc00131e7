//! Where "latest" was. Pure.
//!
//! A lease that starts at the latest record has no sequence number until its first checkpoint. Whoever takes it over in
//! the meantime would start at *their* latest record, and what was put or delivered before would be lost. So the first
//! reader leaves the time at which it began in the lease.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_lease::{Checkpoint, Lease};

use crate::retrieval::Cursor;

/// Whether a lease starts at the latest record and nobody has left a note yet.
pub(super) fn needs_note(lease: &Lease) -> bool {
    lease.checkpoint == Checkpoint::Latest && lease.reading_since.is_none()
}

/// What the first reader of such a lease leaves in it at `now`, the time at the service; `None` before 1970.
pub(super) fn note_to_leave(now: SystemTime) -> Option<u64> {
    let since = now
        .checked_sub(Cursor::CLOCK_MARGIN)?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// When reading at the latest record began, if a reader left a note.
pub(super) fn noted_start(lease: &Lease) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(lease.reading_since?))
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
        assert_eq!(noted_start(&lease), None);
        assert!(needs_note(&lease));
        lease.reading_since = note_to_leave(now());
        assert_eq!(noted_start(&lease), Some(now() - Cursor::CLOCK_MARGIN));
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
    fn a_note_that_no_clock_can_mean_is_none() {
        let mut lease = Lease::new("shard", Checkpoint::Latest);
        lease.reading_since = Some(u64::MAX);
        assert!(noted_start(&lease).is_none_or(|at| at > now()));
        assert_eq!(note_to_leave(UNIX_EPOCH), None);
    }
}
