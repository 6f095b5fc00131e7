//! What is delivered, and from where.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kcl_core::ExtendedSequenceNumber;

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const ELSEWHERE: &str = "what is delivered was put at that place, and belongs to that shard";

/// Some records are read before it is known that they were put.
const SLACK: Duration = Duration::from_secs(1);

type Record = (Name, u64);

/// Compares the places at which records are put and delivered.
#[derive(Debug, Default)]
pub(super) struct Places {
    put: BTreeMap<ExtendedSequenceNumber, Record>,
    delivered: VecDeque<(Duration, ExtendedSequenceNumber, Record)>,
}

impl Places {
    /// Where a record was delivered that was not put there, although others were put with that record of Kinesis.
    fn wrong(&self, position: &ExtendedSequenceNumber, record: &Record) -> Option<String> {
        let first = ExtendedSequenceNumber::new(position.sequence.clone(), 0);
        let last = ExtendedSequenceNumber::new(position.sequence.clone(), u64::MAX);
        let is_known = self.put.range(first..=last).next().is_some();
        let put = self.put.get(position);
        if !is_known || put == Some(record) {
            return None;
        }
        let (key, counter) = record;
        let there = put.map_or("nothing".to_owned(), |(key, counter)| format!("{key}:{counter}"));
        Some(format!(
            "{key}:{counter} was delivered at {position}, where {there} was put for that shard"
        ))
    }
}

impl Rule for Places {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Put {
                key,
                counter,
                position,
                ..
            } => {
                self.put.insert(position.clone(), (key.clone(), *counter));
            }
            What::Delivered {
                key,
                counter,
                position,
                ..
            } => {
                let record = (key.clone(), *counter);
                self.delivered.push_back((event.at, position.clone(), record));
            }
            _ => {}
        }
        let is_over = event.what == What::Settled;
        let mut seen = None;
        while let Some((_, position, record)) = self
            .delivered
            .pop_front_if(|(at, _, _)| is_over || *at + SLACK < event.at)
        {
            seen = seen.or_else(|| self.wrong(&position, &record));
        }
        seen.map(|seen| (ELSEWHERE, seen))
    }
}
