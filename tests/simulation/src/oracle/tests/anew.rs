//! What becomes of the leases of a stream that is gone.

use super::*;
use crate::oracle::anew;

fn other() -> Name {
    "shard-0 of stream 2".into()
}

fn put(number: u64, shard: Name) -> What {
    What::Put {
        key: "a".into(),
        counter: number,
        shard,
        position: place(number, 0),
    }
}

fn at(shard: Name, checkpoint: Checkpoint) -> What {
    What::Row {
        shard,
        row: Row {
            owner: Some("a".to_owned()),
            checkpoint_owner: None,
            counter: 1,
            checkpoint,
            rewind_to: None,
        },
    }
}

fn deleted() -> What {
    What::StreamDeleted {
        shards: vec![shard(0)],
    }
}

/// Where the lease of the new stream's shard is then.
fn new_at(checkpoint: Checkpoint) -> Vec<&'static str> {
    let mut broken = broken(vec![
        (1, "world", put(7, shard(0))),
        (2, "world", deleted()),
        (3, "world", at(other(), checkpoint)),
    ]);
    broken.retain(|rule| *rule == anew::FOREIGN);
    broken
}

#[test]
fn a_checkpoint_of_the_stream_before_is_found() {
    assert_eq!(new_at(inside(7, 0)), [anew::FOREIGN]);
    assert_eq!(new_at(inside(8, 0)), [""; 0]);
    assert_eq!(new_at(Checkpoint::TrimHorizon), [""; 0]);
}

/// The lease of the old stream's shard was at 7, is gone, and this is kept of it.
fn kept(checkpoint: Option<Checkpoint>) -> Vec<&'static str> {
    let kept = |checkpoint| What::Kept {
        shard: shard(0),
        checkpoint,
    };
    let mut events = vec![
        (1, "world", at(shard(0), inside(7, 0))),
        (2, "world", deleted()),
        (3, "world", What::RowGone { shard: shard(0) }),
    ];
    events.extend(checkpoint.map(|checkpoint| (4, "world", kept(checkpoint))));
    events.push((5, "world", What::Settled));
    broken(events)
}

#[test]
fn a_lease_that_is_not_kept_or_kept_as_it_was_earlier_is_found() {
    assert_eq!(kept(None), [anew::KEPT]);
    assert_eq!(kept(Some(inside(6, 0))), [anew::KEPT]);
    assert_eq!(kept(Some(inside(7, 0))), [""; 0]);
}

#[test]
fn records_of_a_stream_that_is_gone_are_not_missed() {
    let history = |gone: Option<What>| {
        let mut events = vec![(1, "world", put(0, shard(0)))];
        events.extend(gone.map(|gone| (2, "world", gone)));
        events.push((3, "world", What::Settled));
        broken(events)
    };
    assert_eq!(history(None), [crate::oracle::rest::LOST]);
    assert_eq!(history(Some(deleted())), [""; 0]);
}
