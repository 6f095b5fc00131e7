//! Faults by the script: rules that a test adds and removes while its world runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Call, Event, EventFault, Fault, FaultInjector, Interruption, Outcome};

/// A list of [`Rule`]s and of clients that are cut off. Clones share both.
///
/// A cut client loses every request, whatever the rules say. Otherwise the first rule that matches and has faults left
/// decides, in the order in which the rules were added; if none does, the request passes.
///
/// ```
/// use kcl_local::Backend;
/// use kcl_local::faults::{Fault, FaultScript, Loss, Rule};
///
/// let faults = FaultScript::new();
/// let backend = Backend::builder().faults(faults.clone()).build();
/// let worker = backend.sdk_config_named("worker-1");
///
/// let lost = faults.add(Rule::on("UpdateItem").by("worker-1").times(2).fault(Fault::drop_answer(Loss::Reset)));
/// faults.cut("worker-2");
/// // ... run the worker ...
/// assert_eq!(faults.hits(lost), 0);
/// faults.heal("worker-2");
/// faults.remove(lost);
/// # drop(worker);
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    rules: BTreeMap<RuleId, Active>,
    cut: BTreeMap<String, Fault>,
}

#[derive(Debug)]
struct Active {
    rule: Rule,
    matched: u64,
    hits: u64,
}

/// Names a rule of a script, to ask about it or to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

/// Which requests meet which fault. A new rule matches every request of every client, for ever.
pub struct Rule {
    operation: Option<String>,
    client: Option<String>,
    predicate: Option<Box<Predicate>>,
    skip: u64,
    times: u64,
    fault: Fault,
}

type Predicate = dyn Fn(&Call<'_>) -> bool + Send + Sync;

impl Rule {
    /// A rule for every operation.
    pub fn any() -> Self {
        Self {
            operation: None,
            client: None,
            predicate: None,
            skip: 0,
            times: u64::MAX,
            fault: Fault::none(),
        }
    }

    /// A rule for one operation, such as `GetRecords`.
    pub fn on(operation: impl Into<String>) -> Self {
        Self {
            operation: Some(operation.into()),
            ..Self::any()
        }
    }

    /// Only requests of this client.
    pub fn by(self, client: impl Into<String>) -> Self {
        Self {
            client: Some(client.into()),
            ..self
        }
    }

    /// Only requests for which `predicate` holds.
    pub fn matching(self, predicate: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self {
            predicate: Some(Box::new(predicate)),
            ..self
        }
    }

    /// Lets the first `requests` pass.
    pub fn skip(self, requests: u64) -> Self {
        Self {
            skip: requests,
            ..self
        }
    }

    /// Ends after `requests` have met the fault.
    pub fn times(self, requests: u64) -> Self {
        Self {
            times: requests,
            ..self
        }
    }

    /// What the requests meet.
    pub fn fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        self.operation
            .as_deref()
            .is_none_or(|operation| operation == call.operation)
            && self.client.as_deref().is_none_or(|client| client == call.client)
            && self.predicate.as_deref().is_none_or(|predicate| predicate(call))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("operation", &self.operation)
            .field("client", &self.client)
            .field("predicate", &self.predicate.is_some())
            .field("skip", &self.skip)
            .field("times", &self.times)
            .field("fault", &self.fault)
            .finish()
    }
}

impl FaultScript {
    /// A script under which nothing goes wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule, behind those that are there.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.state();
        let id = RuleId(state.next);
        state.next += 1;
        state.rules.insert(
            id,
            Active {
                rule,
                matched: 0,
                hits: 0,
            },
        );
        id
    }

    /// Removes a rule; says whether it was there.
    pub fn remove(&self, rule: RuleId) -> bool {
        self.state().rules.remove(&rule).is_some()
    }

    /// Removes every rule and heals every client.
    pub fn clear(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.cut.clear();
    }

    /// How many requests have met this rule's fault; 0 for a removed rule.
    pub fn hits(&self, rule: RuleId) -> u64 {
        self.state().rules.get(&rule).map_or(0, |active| active.hits)
    }

    /// Cuts a client off: from now on its requests end as [`Fault::unreachable`]. Answers under way still arrive, but no
    /// more events of its subscriptions: those that have one to send stall, and stay so when the cut is healed.
    pub fn cut(&self, client: impl Into<String>) {
        self.cut_with(client, Fault::unreachable());
    }

    /// Cuts a client off in a certain way.
    pub fn cut_with(&self, client: impl Into<String>, fault: Fault) {
        self.state().cut.insert(client.into(), fault);
    }

    /// Ends the cut; says whether there was one.
    pub fn heal(&self, client: &str) -> bool {
        self.state().cut.remove(client).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Only a panicking predicate can poison the lock, and it leaves every count consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultInjector for FaultScript {
    fn decide(&self, call: &Call<'_>) -> Fault {
        let mut state = self.state();
        if let Some(fault) = state.cut.get(call.client) {
            return fault.clone();
        }
        for active in state.rules.values_mut() {
            if active.hits == active.rule.times || !active.rule.matches(call) {
                continue;
            }
            active.matched += 1;
            if active.matched > active.rule.skip {
                active.hits += 1;
                return active.rule.fault.clone();
            }
        }
        Fault::none()
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        if self.state().cut.contains_key(event.client) {
            return EventFault::interrupted(Interruption::Stall);
        }
        EventFault::none()
    }

    fn needs_past(&self) -> bool {
        let state = self.state();
        let mut faults = state.rules.values().map(|active| &active.rule.fault);
        faults.any(|fault| matches!(fault.outcome, Outcome::Stale(_)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::faults::Loss;

    fn fate(script: &FaultScript, client: &str, operation: &str) -> Fault {
        script.decide(&Call {
            client,
            service: None,
            operation,
            body: &Bytes::from_static(b"payload"),
        })
    }

    #[test]
    fn a_rule_takes_its_share_and_then_lets_requests_pass() {
        let script = FaultScript::new();
        let rule = script.add(
            Rule::on("GetRecords")
                .by("a")
                .skip(1)
                .times(2)
                .fault(Fault::throttled()),
        );
        assert_eq!(fate(&script, "b", "GetRecords"), Fault::none());
        assert_eq!(fate(&script, "a", "PutRecord"), Fault::none());
        let fates: Vec<_> = (0..4)
            .map(|_| fate(&script, "a", "GetRecords") == Fault::throttled())
            .collect();
        assert_eq!(fates, [false, true, true, false]);
        assert_eq!(script.hits(rule), 2);
    }

    #[test]
    fn the_first_rule_with_faults_left_decides() {
        let script = FaultScript::new();
        script.add(Rule::any().times(1).fault(Fault::internal_error()));
        let second = script.add(Rule::any().fault(Fault::throttled()));
        assert_eq!(fate(&script, "", "Scan"), Fault::internal_error());
        assert_eq!(fate(&script, "", "Scan"), Fault::throttled());
        assert!(script.remove(second));
        assert_eq!(fate(&script, "", "Scan"), Fault::none());
    }

    #[test]
    fn a_cut_client_loses_every_request_until_it_heals() {
        let script = FaultScript::new();
        script.cut("a");
        script.cut_with("b", Fault::drop_request(Loss::Hang));
        assert_eq!(fate(&script, "a", "Scan"), Fault::unreachable());
        assert_eq!(fate(&script, "b", "Scan"), Fault::drop_request(Loss::Hang));
        assert_eq!(fate(&script, "c", "Scan"), Fault::none());
        assert!(script.heal("a"));
        assert_eq!(fate(&script, "a", "Scan"), Fault::none());
    }

    #[test]
    fn a_predicate_sees_the_body() {
        let script = FaultScript::new();
        script.add(
            Rule::any()
                .matching(|call| call.body.starts_with(b"pay"))
                .fault(Fault::throttled()),
        );
        script.add(
            Rule::any()
                .matching(|call| call.body.is_empty())
                .fault(Fault::internal_error()),
        );
        assert_eq!(fate(&script, "", "Scan"), Fault::throttled());
    }
}
