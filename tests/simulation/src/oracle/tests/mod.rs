//! Histories that break each rule, and the nearest ones that do not.

mod anew;
mod balance;
mod cleanup;
mod cost;
mod denied;
mod family;
mod gap;
mod given_up;
mod leaving;
mod memory;
mod namesakes;
mod order;
mod overlaps;
mod ownership;
mod paused;
mod places;
mod policies;
mod renewals;
mod rest;
mod rewinds;
mod singles;
mod stalls;
mod stuck;
mod table;
mod targets;
mod telling;

use std::time::Duration;

use kcl_core::{Checkpoint, ExtendedSequenceNumber, SequenceNumber};

use super::{Oracle, Start, Times};
use crate::damage::Damage;
use crate::edits::Edit;
use crate::history::{Event, Name, Ownership, Row, What};

const TIMES: Times = Times {
    failover: Duration::from_secs(10),
    drain: Duration::from_secs(20),
    longest_call: Duration::from_secs(2),
    stop: Duration::from_secs(20),
};

/// The rules that a history breaks; each event is so many seconds after the beginning.
fn broken(events: Vec<(u64, &str, What)>) -> Vec<&'static str> {
    broken_from(Start::Beginning, events)
}

/// The same for an application that starts to read elsewhere.
fn broken_from(start: Start, events: Vec<(u64, &str, What)>) -> Vec<&'static str> {
    judged(Oracle::new(TIMES).starting(start), events)
}

fn judged(mut oracle: Oracle, events: Vec<(u64, &str, What)>) -> Vec<&'static str> {
    let events: Vec<_> = events
        .into_iter()
        .map(|(at, who, what)| Event {
            at: Duration::from_secs(at),
            who: who.into(),
            what,
        })
        .collect();
    let violations = events.iter().flat_map(|event| oracle.see(event));
    violations.map(|violation| violation.rule).collect()
}

fn shard(number: u64) -> Name {
    format!("shard-{number}").into()
}

fn of(number: u64, token: u64) -> Ownership {
    Ownership {
        shard: shard(number),
        token,
    }
}

fn sequence(number: u64) -> SequenceNumber {
    SequenceNumber::parse(number.to_string()).expect("a number")
}

/// The place of a user record.
fn place(number: u64, sub_sequence: u64) -> ExtendedSequenceNumber {
    ExtendedSequenceNumber::new(sequence(number), sub_sequence)
}

fn at(number: u64) -> Checkpoint {
    inside(number, 0)
}

/// A checkpoint at a user record.
fn inside(number: u64, sub_sequence: u64) -> Checkpoint {
    Checkpoint::At(place(number, sub_sequence))
}

/// That it was put, or delivered, at another place: as a user record.
fn placed(mut what: What, at: ExtendedSequenceNumber) -> What {
    if let What::Put { position, .. } | What::Delivered { position, .. } = &mut what {
        *position = at;
    }
    what
}

fn put(number: u64, counter: u64) -> What {
    What::Put {
        key: "key".into(),
        counter,
        shard: shard(number),
        position: place(counter, 0),
    }
}

fn initialized(number: u64, token: u64) -> What {
    What::Initialized {
        of: of(number, token),
    }
}

fn began(number: u64, token: u64, call: u64) -> What {
    What::BatchBegan {
        of: of(number, token),
        call,
        is_valid: true,
        records: 1,
    }
}

fn took(number: u64, token: u64, counter: u64) -> What {
    What::Delivered {
        of: of(number, token),
        key: "key".into(),
        counter,
        position: place(counter, 0),
    }
}

fn ended(number: u64, token: u64, call: u64, is_ok: bool) -> What {
    What::BatchEnded {
        of: of(number, token),
        call,
        is_ok,
    }
}

fn row(number: u64, owner: &str, from: Option<&str>, counter: u64, checkpoint: Checkpoint) -> What {
    What::Row {
        shard: shard(number),
        row: Row {
            owner: Some(owner.to_owned()),
            checkpoint_owner: from.map(ToOwned::to_owned),
            counter,
            checkpoint,
            rewind_to: None,
        },
    }
}

fn starts(id: &str) -> What {
    What::Started {
        id: id.to_owned(),
        failover: TIMES.failover,
    }
}
