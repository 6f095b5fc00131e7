//! What processors are told, and what they are promised.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kcl_core::{Checkpoint, SequenceNumber};

use super::by_hand::Tampered;
use super::{Rule, Times};
use crate::edits::Edit;
use crate::history::{Event, Name, Ownership, What};

pub(super) const UNTOLD: &str = "a processor whose shard is somebody else's was told so, if its worker lives";
pub(super) const LEFT_ALONE: &str = "a processor at rest is asked to shut down before its worker has stopped";
pub(super) const FORGOTTEN: &str = "a checkpoint that was acknowledged is in the table";
pub(super) const AGAIN: &str = "an owner does not begin with what its lease says is done";

/// The table is looked at ten times a second.
const SLACK: Duration = Duration::from_millis(300);

/// Where records are handled beside each other, checkpoints are looked at ten times a second, too.
const NOTED: Duration = Duration::from_millis(150);

/// So long an answer may take, and what looks into the lack of one.
const ANSWERED: Duration = Duration::from_secs(30);

type Processor = (Name, Ownership);

#[derive(Debug, Default)]
struct State {
    is_told: bool,
    is_busy: bool,
    /// Records that are handled beside each other.
    handled: usize,
    /// When its last call was over.
    idle_since: Duration,
    has_begun: bool,
    /// Whether a call failed before it had begun: then the record in front may be delivered, to see whether that fails, too.
    has_failed: bool,
    /// The checkpoint of its lease when it was initialized.
    start: Option<Checkpoint>,
}

/// Follows every processor from its beginning to its end.
#[derive(Debug)]
pub(super) struct Telling {
    processors: BTreeMap<Processor, State>,
    /// Lives that ended, in whatever way.
    ended: BTreeSet<Name>,
    /// When lives were told to stop.
    stopping: BTreeMap<Name, Duration>,
    /// Lives whose runtime is blocked, or was until then: whoever is to ask is not let on.
    blocked: BTreeMap<Name, Duration>,
    tampered: Tampered,
    rows: BTreeMap<Name, Checkpoint>,
    acknowledged: VecDeque<(Duration, Name, Checkpoint)>,
    /// When checkpoints were moved back by hand.
    rewound: BTreeMap<Name, Duration>,
    /// Shards that are to be processed anew, as far as is known.
    ordered: BTreeSet<Name>,
    /// When rows were deleted by hand.
    deleted: BTreeMap<Name, Duration>,
    /// Shards that a processor agreed to end.
    done: BTreeSet<Name>,
    /// Whether a stream was deleted: then rows are given other names.
    was_deleted: bool,
    /// Records of Kinesis that hold several user records.
    aggregates: BTreeSet<SequenceNumber>,
}

impl Telling {
    pub(super) fn new(times: Times) -> Self {
        Self {
            processors: BTreeMap::new(),
            ended: BTreeSet::new(),
            stopping: BTreeMap::new(),
            blocked: BTreeMap::new(),
            tampered: Tampered::new(times),
            rows: BTreeMap::new(),
            acknowledged: VecDeque::new(),
            rewound: BTreeMap::new(),
            ordered: BTreeSet::new(),
            deleted: BTreeMap::new(),
            done: BTreeSet::new(),
            was_deleted: false,
            aggregates: BTreeSet::new(),
        }
    }

    /// A processor; `None` if its row was deleted or given away by hand since it was initialized.
    fn processor(&mut self, who: &Name, of: &Ownership) -> Option<&mut State> {
        self.processors.get_mut(&(who.clone(), of.clone()))
    }

    /// Processors that were followed by another one and never heard of it.
    fn untold(&self) -> Option<String> {
        let followed = |(who, of): &Processor| {
            let mut others = self.processors.keys();
            others.any(|(other, it)| it.shard == of.shard && it.token > of.token && (other, it) != (who, of))
        };
        let (processor, _) = self.processors.iter().find(|(processor, state)| {
            // A call that is still under way is not interrupted.
            !state.is_told && !state.is_busy && !self.ended.contains(&processor.0) && followed(processor)
        })?;
        let (who, of) = processor;
        Some(format!("{who} on {} with {}", of.shard, of.token))
    }

    /// Whether a checkpoint that is acknowledged now may have been written before the row was rewound.
    fn was_perhaps_rewound(&self, shard: &Name, at: Duration) -> bool {
        let rewound_at = self.rewound.get(shard);
        rewound_at.is_some_and(|rewound_at| at <= *rewound_at + ANSWERED)
    }

    /// Whether it may have been written before the row was deleted.
    fn was_perhaps_deleted(&self, shard: &Name, at: Duration) -> bool {
        let deleted_at = self.deleted.get(shard);
        deleted_at.is_some_and(|deleted_at| at <= *deleted_at + NOTED)
    }

    fn forgotten(&mut self, at: Duration) -> Option<String> {
        let mut seen = None;
        while let Some((_, shard, to)) = self
            .acknowledged
            .pop_front_if(|(acknowledged, _, _)| *acknowledged + SLACK < at)
        {
            if let Some(row) = self.rows.get(&shard)
                && *row < to
            {
                seen = Some(format!("{shard} at {to}; the table says {row}"));
            }
        }
        seen
    }
}

impl Rule for Telling {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let who = &event.who;
        self.tampered.see(event);
        match &event.what {
            What::Initialized { of } if !self.tampered.is_recent(&of.shard, event.at) => {
                // What was ordered may have been carried out since the table was looked at.
                let is_known = !self.ordered.contains(&of.shard);
                let start = self.rows.get(&of.shard).filter(|_| is_known).cloned();
                let state = self.processors.entry((who.clone(), of.clone())).or_default();
                if state.start.is_none() {
                    state.start = start;
                }
            }
            What::BatchBegan { of, .. } => {
                self.processor(who, of)?.is_busy = true;
            }
            What::BatchEnded { of, is_ok, .. } => {
                let at = event.at;
                let state = self.processor(who, of)?;
                (state.is_busy, state.idle_since) = (false, at);
                state.has_failed |= !is_ok;
            }
            What::Put { position, .. } if position.sub_sequence > 0 => {
                self.aggregates.insert(position.sequence.clone());
            }
            What::Delivered { of, position, .. } => {
                let is_plain = !self.aggregates.contains(&position.sequence);
                let state = self.processor(who, of)?;
                if !std::mem::replace(&mut state.has_begun, true)
                    && let Some(Checkpoint::At(done)) = &state.start
                    && position <= done
                    // Of that record only a part is, and it is delivered as a whole.
                    && !(is_plain && done.sub_sequence > 0 && position.sequence == done.sequence)
                    && !(state.has_failed && position == done)
                {
                    return Some((AGAIN, format!("{position} of {} is done: {}", of.shard, done)));
                }
            }
            What::RecordBegan { of, position, .. } => {
                let state = self.processor(who, of)?;
                if let Some(Checkpoint::At(done)) = &state.start
                    && position <= done
                {
                    state.handled += 1;
                    return Some((AGAIN, format!("{position} of {} is done: {}", of.shard, done)));
                }
                state.has_begun = true;
                state.handled += 1;
            }
            What::RecordEnded { of, .. } => {
                let at = event.at;
                let state = self.processor(who, of)?;
                state.handled = state.handled.saturating_sub(1);
                state.idle_since = at;
            }
            What::StandsStill => {
                self.blocked.insert(who.clone(), Duration::MAX);
            }
            What::MovesOn => {
                self.blocked.insert(who.clone(), event.at);
            }
            What::StreamDeleted { .. } => self.was_deleted = true,
            What::LeaseLost { of } | What::ShutdownRequested { of } | What::ShardEnded { of } => {
                if matches!(event.what, What::ShardEnded { .. }) {
                    self.done.insert(of.shard.clone());
                }
                self.processor(who, of)?.is_told = true;
            }
            What::Killed { .. } | What::Ended { .. } | What::GaveWay { .. } => {
                self.ended.insert(who.clone());
            }
            What::Stopped { faults, .. } => {
                self.ended.insert(who.clone());
                let told_at = self.stopping.get(who).copied().unwrap_or_default();
                if self.blocked.get(who).is_some_and(|until| *until >= told_at) {
                    return None;
                }
                let is_busy = |state: &State| state.is_busy || state.handled > 0;
                let is_alone =
                    |state: &State| !state.is_told && !is_busy(state) && state.idle_since <= told_at;
                let alone = self
                    .processors
                    .iter()
                    .find(|((life, _), state)| life == who && is_alone(state));
                if let Some(((_, of), _)) = alone.filter(|_| *faults == 0) {
                    return Some((LEFT_ALONE, format!("{who} on {} with {}", of.shard, of.token)));
                }
            }
            What::Stopping { .. } => {
                self.stopping.insert(who.clone(), event.at);
            }
            What::Row { shard, row } => {
                self.rows.insert(shard.clone(), row.checkpoint.clone());
                if row.rewind_to.is_some() {
                    self.ordered.insert(shard.clone());
                } else if self.ordered.remove(shard) {
                    self.acknowledged.retain(|(_, of, _)| of != shard);
                    self.rewound.insert(shard.clone(), event.at);
                }
            }
            What::RowEditedByHand { shard, row, edit } => {
                self.rows.insert(shard.clone(), row.checkpoint.clone());
                if *edit == Edit::Ordered {
                    self.ordered.insert(shard.clone());
                    self.acknowledged.retain(|(_, of, _)| of != shard);
                }
                if edit.is_about_progress() {
                    self.acknowledged.retain(|(_, of, _)| of != shard);
                    self.rewound.insert(shard.clone(), event.at);
                }
            }
            What::RowDeletedByHand { shard } => {
                self.deleted.insert(shard.clone(), event.at);
            }
            What::Checkpointed { of, to }
                if !self.was_perhaps_rewound(&of.shard, event.at)
                    && !self.ordered.contains(&of.shard)
                    && !self.was_perhaps_deleted(&of.shard, event.at) =>
            {
                self.acknowledged
                    .push_back((event.at, of.shard.clone(), to.clone()));
            }
            // The table is looked at ten times a second, and what has ended may be deleted before it is seen.
            What::RowGone { shard } if self.done.contains(shard) || self.was_deleted => {
                self.rows.remove(shard);
                self.acknowledged.retain(|(_, of, _)| of != shard);
            }
            What::Settled => return self.untold().map(|seen| (UNTOLD, seen)),
            _ => {}
        }
        self.forgotten(event.at).map(|seen| (FORGOTTEN, seen))
    }

    fn forget(&mut self, shard: &Name) {
        self.rows.remove(shard);
        self.acknowledged.retain(|(_, of, _)| of != shard);
        self.processors.retain(|(_, of), _| of.shard != *shard);
    }
}
