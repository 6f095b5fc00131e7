//! Large records, and workers with little memory for them: in the histories of some seeds.

use std::fmt;

use bytes::Bytes;
use http::Response;
use kcl_core::SequenceNumber;
use kcl_local::faults::{Call, Event, EventFault, Fault, FaultInjector};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::faults::Network;
use crate::history::{History, Name, What};
use crate::seeds::Dice;

/// What the workers of a history have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What a worker may hold of its stream, in bytes.
    pub bound: u64,
    /// What a record takes, in bytes.
    pub record: usize,
}

impl Memory {
    /// How much there is in the history of a seed, if that is little.
    #[must_use]
    pub fn drawn(seed: u64) -> Option<Self> {
        let mut dice = Dice::of(seed, "memory");
        let bound = *dice.pick(&[384 << 10, 512 << 10]).unwrap_or(&(512 << 10));
        let record = *dice.pick(&[30_000, 40_000]).unwrap_or(&30_000);
        (seed % 25 == 12).then_some(Self { bound, record })
    }

    /// A record that holds this text, and as much more as it takes; one of so many that take it together.
    #[must_use]
    pub fn filled(&self, text: &str, parts: usize) -> String {
        format!("{text:0>width$}", width = self.record / parts)
    }
}

/// The network, whose answers are written down where memory is little.
pub struct Answers {
    network: Network,
    history: Option<History>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    sequence_number: String,
    partition_key: String,
    data: Payload,
}

/// The size of a payload, in bytes.
struct Payload(u64);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sizes)
    }
}

struct Sizes;

impl Visitor<'_> for Sizes {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or text in base 64")
    }

    fn visit_str<E>(self, text: &str) -> Result<Payload, E> {
        Ok(Payload(text.len() as u64 / 4 * 3))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Payload, E> {
        Ok(Payload(bytes.len() as u64))
    }
}

impl Record {
    fn size(&self) -> u64 {
        self.partition_key.len() as u64 + self.data.0
    }
}

impl Answers {
    /// The same network; with a history to write to, its answers are written down.
    #[must_use]
    pub fn new(network: Network, history: Option<History>) -> Self {
        Self { network, history }
    }
}

impl FaultInjector for Answers {
    fn decide(&self, call: &Call<'_>) -> Fault {
        self.network.decide(call)
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        self.network.event(event)
    }

    fn needs_past(&self) -> bool {
        self.network.needs_past()
    }

    fn answered(&self, client: &str, operation: &str, answer: &Response<Bytes>) {
        let Some(history) = self.history.as_ref().filter(|_| operation == "GetRecords") else {
            return;
        };
        // The world's own requests have no client.
        if client.is_empty() || !answer.status().is_success() {
            return;
        }
        let answer: Answer = match answer.body().first() {
            Some(b'{') => serde_json::from_slice(answer.body()).expect("records"),
            _ => ciborium::from_reader(answer.body().as_ref()).expect("records"),
        };
        let records = answer.records.iter().map(|record| {
            let number = SequenceNumber::parse(record.sequence_number.as_str()).expect("a number");
            (number, record.size())
        });
        let records: Vec<_> = records.collect();
        if !records.is_empty() {
            history.record(&Name::from(client), What::Read { records });
        }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}
