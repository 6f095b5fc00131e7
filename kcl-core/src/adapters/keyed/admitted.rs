//! Records in the order of their shard, from the first one that is not done, and the watermark in front of it.

use std::collections::VecDeque;

use kcl_lease::ExtendedSequenceNumber;

/// Where a record is kept until it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    /// In the place of a record that is done.
    const DONE: Self = Self(u32::MAX);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A record costs memory of its own only until it is done; then four bytes, until all in front of it are done, too.
#[derive(Debug)]
pub(super) struct Admitted<T> {
    kept: Vec<Kept<T>>,
    free: Vec<Slot>,
    /// From the first record that is not done.
    line: VecDeque<Slot>,
    /// The number of the first one in line.
    first: u64,
    last: Option<ExtendedSequenceNumber>,
}

#[derive(Debug)]
struct Kept<T> {
    number: u64,
    /// The position of the record in front of it.
    before: Option<ExtendedSequenceNumber>,
    /// None while it is under way.
    content: Option<T>,
}

impl<T> Default for Admitted<T> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            free: Vec::new(),
            line: VecDeque::new(),
            first: 0,
            last: None,
        }
    }
}

impl<T> Admitted<T> {
    pub(super) fn push(&mut self, position: &ExtendedSequenceNumber, content: T) -> Slot {
        let kept = Kept {
            number: self.first + self.line.len() as u64,
            before: self.last.replace(position.clone()),
            content: Some(content),
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.kept[slot.index()] = kept;
                slot
            }
            None => {
                self.kept.push(kept);
                Slot(self.kept.len() as u32 - 1)
            }
        };
        self.line.push_back(slot);
        slot
    }

    pub(super) fn take(&mut self, slot: Slot) -> Option<T> {
        self.kept[slot.index()].content.take()
    }

    pub(super) fn content(&mut self, slot: Slot) -> Option<&mut T> {
        self.kept[slot.index()].content.as_mut()
    }

    pub(super) fn put_back(&mut self, slot: Slot, content: T) {
        self.kept[slot.index()].content = Some(content);
    }

    pub(super) fn done(&mut self, slot: Slot) {
        let place = self.kept[slot.index()].number - self.first;
        self.line[place as usize] = Slot::DONE;
        while self.line.front() == Some(&Slot::DONE) {
            self.line.pop_front();
            self.first += 1;
        }
        self.free.push(slot);
    }

    pub(super) fn watermark(&self) -> Option<&ExtendedSequenceNumber> {
        match self.line.front() {
            Some(slot) => self.kept[slot.index()].before.as_ref(),
            None => self.last.as_ref(),
        }
    }

    pub(super) fn last(&self) -> Option<&ExtendedSequenceNumber> {
        self.last.as_ref()
    }

    pub(super) fn undone(&self) -> usize {
        self.kept.len() - self.free.len()
    }

    /// Gives memory back. None is kept.
    pub(super) fn shrink(&mut self) {
        self.first += self.line.len() as u64;
        (self.kept, self.free, self.line) = Default::default();
    }

    /// From the first one that is not done to the last one.
    pub(super) fn span(&self) -> usize {
        self.line.len()
    }
}
