//! What an operator changes by hand in a lease's row while the fleet runs.

use std::fmt;

use serde_json::{Value, json};

use crate::seeds::Dice;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The lease is nobody's.
    Freed,
    /// The lease is this worker's, and nobody hands it over.
    Given(String),
    /// The checkpoint is the beginning of the shard.
    Rewound,
    /// The shard is to be processed anew from its beginning, by whoever begins with it next.
    Ordered,
    /// The counter is another one, and there is an attribute that no library knows.
    Touched,
    /// The checkpoint is this text, with this sub-sequence number.
    Set(String, u64),
}

impl Edit {
    /// Any of them; a lease is given to one of these workers, or to one that never was.
    pub fn drawn(dice: &mut Dice, workers: &[String]) -> Self {
        let to = dice.pick(workers).cloned();
        let unknown = || "a-typing-error".to_owned();
        let edits = [
            Self::Freed,
            Self::Rewound,
            Self::Touched,
            Self::Given(to.unwrap_or_else(unknown)),
            Self::Given(unknown()),
        ];
        dice.pick(&edits).cloned().unwrap_or(Self::Freed)
    }

    /// Whether it changes who may process the shard, or what an owner knows of its lease.
    #[must_use]
    pub fn is_about_the_owner(&self) -> bool {
        matches!(self, Self::Freed | Self::Given(_) | Self::Touched)
    }

    /// Whether it changes what is said to be done.
    #[must_use]
    pub fn is_about_progress(&self) -> bool {
        matches!(self, Self::Rewound | Self::Set(..))
    }

    /// The parts of an `UpdateItem` that make it, for a shard that has not ended.
    #[must_use]
    pub fn update(&self) -> Value {
        let (update, mut values) = match self {
            Self::Freed => ("REMOVE leaseOwner, checkpointOwner", json!({})),
            Self::Given(to) => (
                "SET leaseOwner = :to REMOVE checkpointOwner",
                json!({ ":to": { "S": to } }),
            ),
            Self::Rewound => (
                "SET #checkpoint = :start, checkpointSubSequenceNumber = :zero",
                json!({ ":start": { "S": "TRIM_HORIZON" }, ":zero": { "N": "0" } }),
            ),
            Self::Set(checkpoint, sub_sequence) => (
                "SET #checkpoint = :start, checkpointSubSequenceNumber = :sub",
                json!({ ":start": { "S": checkpoint }, ":sub": { "N": sub_sequence.to_string() } }),
            ),
            Self::Ordered => (
                "SET rewindTo = :start, rewindToSubSequenceNumber = :zero",
                json!({ ":start": { "S": "TRIM_HORIZON" }, ":zero": { "N": "0" } }),
            ),
            Self::Touched => (
                "SET leaseCounter = leaseCounter + :one, remark = :remark",
                json!({ ":one": { "N": "1" }, ":remark": { "S": "seen" } }),
            ),
        };
        values[":ended"] = json!({ "S": "SHARD_END" });
        json!({
            "UpdateExpression": update,
            "ConditionExpression": "attribute_exists(leaseKey) AND #checkpoint <> :ended",
            "ExpressionAttributeNames": { "#checkpoint": "checkpoint" },
            "ExpressionAttributeValues": values,
        })
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Freed => f.write_str("freed"),
            Self::Given(to) => write!(f, "given to {to}"),
            Self::Rewound => f.write_str("rewound to its beginning"),
            Self::Ordered => f.write_str("ordered to be processed anew"),
            Self::Touched => f.write_str("touched"),
            Self::Set(checkpoint, sub_sequence) => write!(f, "set to {checkpoint:?}, {sub_sequence}"),
        }
    }
}
