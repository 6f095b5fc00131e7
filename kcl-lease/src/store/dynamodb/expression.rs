//! Lease changes as update and condition expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::*;
use super::codec::{encode_checkpoint, encode_hash_range, encode_pending, encode_rewind, encode_throughput};
use crate::lease::Lease;
use crate::store::{Effect, LeaseChange, Requirement};

/// An UpdateItem's expressions with their placeholders.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expression {
    conditions: Vec<String>,
    sets: Vec<String>,
    removes: Vec<String>,
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Expression {
    pub(super) fn of(change: &LeaseChange, seen: &Lease) -> Self {
        let mut expression = Self::default();
        for requirement in change.requirements(seen) {
            expression.require(requirement);
        }
        for effect in change.effects(seen) {
            expression.change(effect);
        }
        expression
    }

    pub(super) fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }

    pub(super) fn update(&self) -> String {
        let clause = |verb: &str, parts: &[String]| match parts {
            [] => String::new(),
            parts => format!("{verb} {} ", parts.join(", ")),
        };
        format!("{}{}", clause("SET", &self.sets), clause("REMOVE", &self.removes))
            .trim_end()
            .to_owned()
    }

    fn require(&mut self, requirement: Requirement) {
        match requirement {
            Requirement::Exists => {
                let key = self.name(LEASE_KEY);
                self.conditions.push(format!("attribute_exists({key})"));
            }
            Requirement::Counter(counter) => self.require_equal(LEASE_COUNTER, number(counter)),
            Requirement::Owner(owner) => {
                self.require_text_or_absent(LEASE_OWNER, owner.as_ref().map(AsRef::as_ref))
            }
            Requirement::CheckpointOwner(owner) => {
                self.require_text_or_absent(CHECKPOINT_OWNER, owner.as_ref().map(AsRef::as_ref));
            }
            Requirement::ProcessedBy(worker) => {
                let (processing, next) = (self.name(CHECKPOINT_OWNER), self.name(LEASE_OWNER));
                let worker = self.value("is", "processor", string(worker.as_str()));
                self.conditions.push(format!(
                    "({processing} = {worker} OR attribute_not_exists({processing}) AND {next} = {worker})"
                ));
            }
            Requirement::RewindTo(checkpoint) => {
                for (name, value) in encode_rewind(&checkpoint) {
                    self.require_equal(&name, value);
                }
            }
        }
    }

    fn require_text_or_absent(&mut self, attribute: &str, text: Option<&str>) {
        match text {
            Some(text) => self.require_equal(attribute, string(text)),
            None => {
                let name = self.name(attribute);
                self.conditions.push(format!("attribute_not_exists({name})"));
            }
        }
    }

    fn require_equal(&mut self, attribute: &str, value: AttributeValue) {
        let name = self.name(attribute);
        let value = self.value("is", attribute, value);
        self.conditions.push(format!("{name} = {value}"));
    }

    fn change(&mut self, effect: Effect) {
        match effect {
            Effect::SetCounter(counter) => self.set(LEASE_COUNTER, number(counter)),
            Effect::AddToCounter => self.add_one(LEASE_COUNTER),
            Effect::Owner(owner) => {
                self.set_or_remove(LEASE_OWNER, owner.map(|owner| string(owner.as_str())))
            }
            Effect::CheckpointOwner(owner) => {
                self.set_or_remove(CHECKPOINT_OWNER, owner.map(|owner| string(owner.as_str())));
            }
            Effect::Process(process) => self.set(OWNER_PROCESS, string(process.as_str())),
            Effect::AddOwnerSwitch => self.add_one(OWNER_SWITCHES),
            Effect::ResetOwnerSwitches => self.set(OWNER_SWITCHES, number(0)),
            Effect::Checkpoint(checkpoint) => {
                for (name, value) in encode_checkpoint(&checkpoint) {
                    self.set(&name, value);
                }
            }
            Effect::Pending(pending) => {
                let present: HashMap<_, _> = pending.iter().flat_map(encode_pending).collect();
                for name in [PENDING, PENDING_SUB, PENDING_STATE] {
                    self.set_or_remove(name, present.get(name).cloned());
                }
            }
            Effect::ReadingSince(millis) => self.set_or_remove(READING_SINCE, millis.map(number)),
            Effect::PausedSince(millis) => self.set_or_remove(PAUSED_SINCE, millis.map(number)),
            Effect::RewindTo(checkpoint) => {
                let present: HashMap<_, _> = checkpoint.iter().flat_map(encode_rewind).collect();
                for name in [REWIND_TO, REWIND_TO_SUB] {
                    self.set_or_remove(name, present.get(name).cloned());
                }
            }
            Effect::Children(children) => {
                self.set_or_remove(
                    CHILDREN,
                    Some(&children).filter(|set| !set.is_empty()).map(strings),
                );
            }
            Effect::HashRange(range) => {
                for (name, value) in encode_hash_range(range) {
                    self.set(&name, value);
                }
            }
            Effect::Throughput(kbps) => self.set(THROUGHPUT, encode_throughput(kbps)),
        }
    }

    fn set(&mut self, attribute: &str, value: AttributeValue) {
        let name = self.name(attribute);
        let value = self.value("to", attribute, value);
        self.sets.push(format!("{name} = {value}"));
    }

    fn set_or_remove(&mut self, attribute: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(attribute, value),
            None => {
                let name = self.name(attribute);
                self.removes.push(name);
            }
        }
    }

    fn add_one(&mut self, attribute: &str) {
        let name = self.name(attribute);
        let one = self.value("add", "one", number(1));
        self.sets.push(format!("{name} = {name} + {one}"));
    }

    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, role: &str, attribute: &str, value: AttributeValue) -> String {
        let placeholder = format!(":{role}_{attribute}");
        self.values.insert(placeholder.clone(), value);
        placeholder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;

    fn owned() -> Lease {
        Lease {
            owner: Some("a".into()),
            counter: 7,
            ..Lease::new("shard-1", Checkpoint::TrimHorizon)
        }
    }

    #[test]
    fn a_renewal_is_conditional_on_the_counter_on_the_owner_and_on_no_hand_off_unless_one_is_known() {
        let renew = LeaseChange::Renew {
            throughput_kbps: None,
        };
        let in_hand_off = Lease {
            owner: Some("b".into()),
            checkpoint_owner: Some("a".into()),
            ..owned()
        };
        let expression = Expression::of(&renew, &in_hand_off);
        assert_eq!(
            expression.condition(),
            "#leaseCounter = :is_leaseCounter AND (#checkpointOwner = :is_processor OR attribute_not_exists(#checkpointOwner) AND #leaseOwner = :is_processor)"
        );
        let expression = Expression::of(&renew, &owned());
        assert_eq!(
            expression.condition(),
            "#leaseCounter = :is_leaseCounter AND #leaseOwner = :is_leaseOwner AND attribute_not_exists(#checkpointOwner)"
        );
        assert_eq!(expression.update(), "SET #leaseCounter = :to_leaseCounter");
        assert_eq!(expression.values[":is_leaseCounter"], number(7));
        assert_eq!(expression.values[":to_leaseCounter"], number(8));
    }

    #[test]
    fn a_release_removes_the_owner_and_moves_the_counter() {
        let expression = Expression::of(&LeaseChange::Release, &owned());
        assert_eq!(
            expression.condition(),
            "attribute_exists(#leaseKey) AND #leaseCounter = :is_leaseCounter AND #leaseOwner = :is_leaseOwner AND attribute_not_exists(#checkpointOwner)"
        );
        assert_eq!(
            expression.update(),
            "SET #leaseCounter = #leaseCounter + :add_one REMOVE #leaseOwner"
        );
    }

    #[test]
    fn a_checkpoint_requires_the_writer_to_own_the_lease() {
        let change = LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: Checkpoint::ShardEnd,
            pending: None,
        };
        let expression = Expression::of(&change, &owned());
        assert_eq!(
            expression.condition(),
            "#leaseCounter = :is_leaseCounter AND #leaseOwner = :is_leaseOwner"
        );
        assert!(expression.update().ends_with(
            "REMOVE #pendingCheckpoint, #pendingCheckpointSubSequenceNumber, #pendingCheckpointState"
        ));
        let in_hand_off = Lease {
            owner: Some("b".into()),
            checkpoint_owner: Some("a".into()),
            ..owned()
        };
        let expression = Expression::of(&change, &in_hand_off);
        assert_eq!(
            expression.condition(),
            "#leaseCounter = :is_leaseCounter AND #checkpointOwner = :is_checkpointOwner"
        );
    }
}
