//! A backend's plan of trouble: named rules that other processes change while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::form::{PlanForm, RuleForm};
use super::{FaultScript, RuleId, RuleStatus};

/// More rules than anybody needs; each request asks them one after the other.
const MOST_RULES: usize = 1_000;

/// Rules as data. Clones share them.
///
/// ```
/// use kcl_local::Backend;
///
/// let backend = Backend::start();
/// let plan = br#"{ "rules": [
///     { "name": "slow", "operation": "GetRecords", "resource": "orders", "delay": "200ms" },
///     { "name": "lost", "client": "worker-1", "probability": 0.1, "fault": { "drop_answer": "reset" } }
/// ] }"#;
/// backend.plan().replace_from_json(plan)?;
/// assert_eq!(backend.plan().list().len(), 2);
///
/// let refused = backend.plan().add_from_json(br#"{ "fault": "throttel" }"#).unwrap_err();
/// assert!(refused.to_string().contains("expected one of"));
/// # Ok::<(), kcl_local::faults::PlanError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    script: FaultScript,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    /// How many rules have been given a number for a name.
    numbered: u64,
    rules: Vec<(String, RuleForm, RuleId)>,
}

/// A rule of a plan, and what it has done so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedRule {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleForm,
    /// How many requests it was for.
    pub matched: u64,
    /// How many requests have met its fault.
    pub hits: u64,
    /// Whether it strikes no more.
    pub over: bool,
}

/// A plan is not changed: nothing of what was asked for took effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is not JSON, or has members or values that are unknown.
    #[error("{0}")]
    Unreadable(String),
    /// A rule makes no sense.
    #[error("{rule}: {reason}")]
    Rule {
        /// Which one it is.
        rule: String,
        /// Why, and what is allowed.
        reason: String,
    },
    /// A name is taken.
    #[error("there is a rule called {0} already: remove it first, or give another name")]
    Taken(String),
    /// No rule has this name.
    #[error("there is no rule called {0}")]
    Unknown(String),
}

impl FaultPlan {
    /// The script that its rules stand in, which has others of a test's own besides.
    pub fn script(&self) -> &FaultScript {
        &self.script
    }

    /// Puts these rules in the place of all that are there; counts begin anew.
    ///
    /// # Errors
    /// What is wrong with them. Then the rules stay that were there.
    pub fn replace(&self, plan: PlanForm) -> Result<(), PlanError> {
        let mut state = self.state();
        let mut next = State {
            seed: plan.seed,
            ..State::default()
        };
        let named = next.name(plan.rules, &[])?;
        for (_, _, id) in state.rules.drain(..) {
            self.script.remove(id);
        }
        next.rules = self.put(named, 0, next.seed);
        *state = next;
        Ok(())
    }

    /// Adds rules behind those that are there, and returns their names.
    ///
    /// # Errors
    /// What is wrong with them, or that one's name is taken. Then none is added.
    pub fn add(&self, rules: Vec<RuleForm>) -> Result<Vec<String>, PlanError> {
        let mut state = self.state();
        let there = std::mem::take(&mut state.rules);
        let named = state.name(rules, &there);
        let (seed, before) = (state.seed, there.len());
        state.rules = there;
        let added = self.put(named?, before, seed);
        let names = added.iter().map(|(name, _, _)| name.clone()).collect();
        state.rules.extend(added);
        Ok(names)
    }

    /// Removes a rule. Requests that it froze go on.
    ///
    /// # Errors
    /// If no rule has this name.
    pub fn remove(&self, name: &str) -> Result<(), PlanError> {
        let mut state = self.state();
        let place = state.rules.iter().position(|(other, _, _)| other == name);
        let place = place.ok_or_else(|| PlanError::Unknown(name.chars().take(100).collect()))?;
        let (_, _, id) = state.rules.remove(place);
        self.script.remove(id);
        Ok(())
    }

    /// Removes every rule.
    pub fn clear(&self) {
        for (_, _, id) in self.state().rules.drain(..) {
            self.script.remove(id);
        }
    }

    /// The rules in their order, with what they have done.
    pub fn list(&self) -> Vec<PlannedRule> {
        let state = self.state();
        let planned = |(name, form, id): &(String, RuleForm, RuleId)| {
            let RuleStatus {
                matched,
                hits,
                is_over,
            } = self.script.status(*id)?;
            let rule = RuleForm {
                name: Some(name.clone()),
                ..form.clone()
            };
            Some(PlannedRule {
                rule,
                matched,
                hits,
                over: is_over,
            })
        };
        state.rules.iter().filter_map(planned).collect()
    }

    /// [`replace`](Self::replace) with a plan in JSON: `{"seed": 7, "rules": [..]}`.
    ///
    /// # Errors
    /// As `replace`; besides, what cannot be read of it and what would be allowed there.
    pub fn replace_from_json(&self, json: &[u8]) -> Result<(), PlanError> {
        self.replace(read(json)?)
    }

    /// [`add`](Self::add) with one rule in JSON, or with several: `{"rules": [..]}`.
    ///
    /// # Errors
    /// As `add`; besides, what cannot be read of it and what would be allowed there.
    pub fn add_from_json(&self, json: &[u8]) -> Result<Vec<String>, PlanError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Several {
            rules: Vec<RuleForm>,
        }
        let several = read::<Value>(json)?.get("rules").is_some();
        let rules = if several {
            read::<Several>(json)?.rules
        } else {
            vec![read::<RuleForm>(json)?]
        };
        self.add(rules)
    }

    /// Puts rules into the script, of which `before` are there already.
    fn put(
        &self,
        rules: Vec<(String, RuleForm)>,
        before: usize,
        seed: u64,
    ) -> Vec<(String, RuleForm, RuleId)> {
        let rules = rules.into_iter().zip(before as u64..);
        let added = rules.map(|((name, form), place)| {
            // Rules that share a seed are not to pick the same requests.
            let id = self.script.add(form.rule(seed.wrapping_add(place)));
            (name, form, id)
        });
        added.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Checks rules and gives names to those that have none.
    fn name(
        &mut self,
        rules: Vec<RuleForm>,
        there: &[(String, RuleForm, RuleId)],
    ) -> Result<Vec<(String, RuleForm)>, PlanError> {
        if rules.len() + there.len() > MOST_RULES {
            return Err(PlanError::Rule {
                rule: format!("{} rules", rules.len() + there.len()),
                reason: format!("a plan has {MOST_RULES} rules at most"),
            });
        }
        let mut named: Vec<(String, RuleForm)> = Vec::with_capacity(rules.len());
        for (place, form) in rules.into_iter().enumerate() {
            form.check().map_err(|reason| PlanError::Rule {
                rule: format!("rule {}", place + 1),
                reason,
            })?;
            let is_taken = |name: &str, named: &[(String, RuleForm)]| {
                there.iter().any(|(other, _, _)| other == name)
                    || named.iter().any(|(other, _)| other == name)
            };
            let name = match &form.name {
                Some(name) if is_taken(name, &named) => return Err(PlanError::Taken(name.clone())),
                Some(name) => name.clone(),
                None => loop {
                    self.numbered += 1;
                    let name = format!("rule-{}", self.numbered);
                    if !is_taken(&name, &named) {
                        break name;
                    }
                },
            };
            named.push((name, form));
        }
        Ok(named)
    }
}

/// Reads JSON, and says in which member something is wrong as far as the parser knows.
fn read<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, PlanError> {
    serde_json::from_slice(json).map_err(|error| PlanError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests;
