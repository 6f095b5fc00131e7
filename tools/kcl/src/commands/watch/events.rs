//! What happened between two looks at a table. Pure.

use kcl_lease::{Lease, WorkerId};
use serde::Serialize;

use crate::screen::{Ink, Line, date};
use crate::table::Look;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// When it was seen.
    pub(crate) at: String,
    pub(crate) kind: Happening,
    /// A sentence.
    pub(crate) text: String,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Happening {
    Joined,
    Left,
    Leader,
    HandOffBegun,
    HandOffDone,
    OwnerChanged,
    OwnerLost,
    Created,
    Deleted,
    Ended,
    Paused,
    Resumed,
    Reset,
}

impl Event {
    /// As it is shown.
    pub(crate) fn line(&self) -> Line {
        let ink = match self.kind {
            Happening::OwnerLost | Happening::Left => Ink::Bad,
            Happening::HandOffBegun | Happening::Paused | Happening::Reset => Ink::Warning,
            Happening::HandOffDone | Happening::Joined => Ink::Good,
            _ => Ink::Plain,
        };
        Line::of(Ink::Faint, format!("{}  ", self.at)).and(ink, self.text.as_str())
    }
}

/// What is different now.
pub(crate) fn events(before: &Look, now: &Look) -> Vec<Event> {
    let at = date(now.at);
    let mut all = Vec::new();
    let mut add = |kind, text: String| {
        all.push(Event {
            at: at.clone(),
            kind,
            text,
        });
    };
    for row in &now.snapshot.workers {
        if before.worker(&row.id).is_none() {
            add(Happening::Joined, format!("{} joined", row.id));
        }
    }
    for row in &before.snapshot.workers {
        if now.worker(&row.id).is_none() {
            add(Happening::Left, format!("{} left", row.id));
        }
    }
    if before.leader() != now.leader() {
        let text = match now.leader() {
            Some(leader) => format!("{leader} leads now"),
            None => "nobody leads".to_owned(),
        };
        add(Happening::Leader, text);
    }
    for lease in &now.snapshot.leases {
        match before.lease(&lease.key) {
            None => add(Happening::Created, format!("the lease of {} was made", lease.key)),
            Some(seen) => of_lease(seen, lease, &mut add),
        }
    }
    for lease in &before.snapshot.leases {
        if now.lease(&lease.key).is_none() {
            add(
                Happening::Deleted,
                format!("the lease of {} was deleted", lease.key),
            );
        }
    }
    all
}

fn of_lease(seen: &Lease, lease: &Lease, add: &mut impl FnMut(Happening, String)) {
    let key = &lease.key;
    let name = |worker: Option<&WorkerId>| worker.map_or("nobody".to_owned(), ToString::to_string);
    let (from, to) = (seen.actual_owner(), lease.actual_owner());
    match (seen.is_in_hand_off(), lease.is_in_hand_off()) {
        (false, true) => {
            let next = name(lease.owner.as_ref());
            add(
                Happening::HandOffBegun,
                format!("{} hands {key} over to {next}", name(to)),
            );
        }
        (true, false) if from != to => {
            add(
                Happening::HandOffDone,
                format!("{key} went from {} to {}", name(from), name(to)),
            );
        }
        (true, false) => add(
            Happening::OwnerChanged,
            format!("the hand-off of {key} was taken back: {} keeps it", name(to)),
        ),
        _ if from != to && to.is_none() => {
            add(Happening::OwnerLost, format!("{} gave {key} up", name(from)));
        }
        _ if from != to => add(
            Happening::OwnerChanged,
            format!("{key} went from {} to {}", name(from), name(to)),
        ),
        _ => {}
    }
    if !seen.has_ended() && lease.has_ended() {
        add(
            Happening::Ended,
            format!("{key} was processed to its end by {}", name(from)),
        );
    }
    if let Some(to) = &lease.rewind_to
        && seen.rewind_to != lease.rewind_to
    {
        add(
            Happening::Reset,
            format!("{key} is to be processed anew from {to}"),
        );
    }
    if lease.checkpoint < seen.checkpoint {
        add(
            Happening::Reset,
            format!("{key} was set back to {}", lease.checkpoint),
        );
    }
    match (seen.paused_since, lease.paused_since) {
        (None, Some(_)) => add(Happening::Paused, format!("{key} is paused")),
        (Some(_), None) => add(Happening::Resumed, format!("{key} is resumed")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use kcl_lease::{Checkpoint, LeaderLock, TableSnapshot, WorkerRow};

    use super::*;

    fn look(leases: Vec<Lease>, workers: &[&str], leader: Option<&str>) -> Look {
        let workers = workers.iter().map(|id| WorkerRow::new(*id, 1)).collect();
        let lock = leader.map(|leader| LeaderLock::new(leader.into(), Duration::from_secs(5), "v"));
        Look {
            snapshot: TableSnapshot::new(leases, workers),
            lock: Ok(lock),
            at: UNIX_EPOCH,
        }
    }

    fn lease(owner: Option<&str>, processor: Option<&str>) -> Lease {
        let mut lease = Lease::new("s", Checkpoint::Latest);
        lease.owner = owner.map(Into::into);
        lease.checkpoint_owner = processor.map(Into::into);
        lease
    }

    fn told(before: Lease, now: Lease) -> Vec<String> {
        let (before, now) = (look(vec![before], &[], None), look(vec![now], &[], None));
        events(&before, &now).into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn a_hand_off_is_told_when_it_begins_and_when_it_is_over() {
        let (held, handed) = (lease(Some("a"), None), lease(Some("b"), Some("a")));
        assert_eq!(told(held.clone(), handed.clone()), ["a hands s over to b"]);
        assert_eq!(
            told(handed.clone(), lease(Some("b"), None)),
            ["s went from a to b"]
        );
        assert_eq!(
            told(handed, held.clone()),
            ["the hand-off of s was taken back: a keeps it"]
        );
        assert_eq!(told(held.clone(), lease(None, None)), ["a gave s up"]);
        assert!(told(held.clone(), held).is_empty());
    }

    #[test]
    fn what_becomes_of_workers_and_leases_is_told() {
        let mut ended = lease(Some("a"), None);
        ended.checkpoint = Checkpoint::ShardEnd;
        let before = look(vec![lease(Some("a"), None)], &["a"], Some("a"));
        let now = look(
            vec![ended, Lease::new("t", Checkpoint::TrimHorizon)],
            &["b"],
            Some("b"),
        );
        let texts: Vec<_> = events(&before, &now).into_iter().map(|it| it.text).collect();
        assert_eq!(
            texts,
            [
                "b joined",
                "a left",
                "b leads now",
                "s was processed to its end by a",
                "the lease of t was made"
            ]
        );
    }
}
