//! What an operator makes of a lease's row by mistake, so that nobody can read it, and how it is mended later.

use std::fmt;

use serde_json::{Value, json};

use crate::seeds::Dice;

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The checkpoint is an empty text.
    Empty,
    /// The checkpoint is a word in lower case.
    LowerCase,
    /// There is no checkpoint.
    Missing,
    /// The counter is a text.
    CounterIsText,
}

const CHECKPOINT: &str = "checkpoint";
const COUNTER: &str = "leaseCounter";

impl Damage {
    /// Any of them.
    pub fn drawn(dice: &mut Dice) -> Self {
        let all = [Self::Empty, Self::LowerCase, Self::Missing, Self::CounterIsText];
        dice.pick(&all).copied().unwrap_or(Self::Empty)
    }

    fn attribute(self) -> &'static str {
        match self {
            Self::CounterIsText => COUNTER,
            _ => CHECKPOINT,
        }
    }

    /// What the attribute is then.
    fn value(self) -> Option<Value> {
        match self {
            Self::Empty => Some(json!({ "S": "" })),
            Self::LowerCase => Some(json!({ "S": "trim_horizon" })),
            Self::Missing => None,
            Self::CounterIsText => Some(json!({ "S": "seven" })),
        }
    }

    /// The parts of an `UpdateItem` that make it, for a shard that has not ended.
    #[must_use]
    pub fn update(self) -> Value {
        let mut values = json!({ ":ended": { "S": "SHARD_END" } });
        let update = if let Some(value) = self.value() {
            values[":value"] = value;
            "SET #attribute = :value"
        } else {
            "REMOVE #attribute"
        };
        json!({
            "UpdateExpression": update,
            "ConditionExpression": "attribute_exists(leaseKey) AND #checkpoint <> :ended",
            "ExpressionAttributeNames": { "#attribute": self.attribute(), "#checkpoint": CHECKPOINT },
            "ExpressionAttributeValues": values,
        })
    }

    /// The parts of an `UpdateItem` that bring back what was there, unless somebody has done so.
    #[must_use]
    pub fn repair(self, before: &Value) -> Value {
        let mut values = json!({ ":before": before[self.attribute()].clone() });
        let condition = if let Some(value) = self.value() {
            values[":value"] = value;
            "#attribute = :value"
        } else {
            "attribute_exists(leaseKey) AND attribute_not_exists(#attribute)"
        };
        json!({
            "UpdateExpression": "SET #attribute = :before",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": { "#attribute": self.attribute() },
            "ExpressionAttributeValues": values,
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "its checkpoint is empty",
            Self::LowerCase => "its checkpoint is in lower case",
            Self::Missing => "its checkpoint is missing",
            Self::CounterIsText => "its counter is a text",
        })
    }
}
