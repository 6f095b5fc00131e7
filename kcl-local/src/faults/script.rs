//! Faults by the script: rules that a test adds and removes while its world runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Call, Event, EventFault, Fault, FaultInjector, Freeze, Interruption, Outcome, Rule};

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
    until: Option<Instant>,
    /// What holds back the requests of a rule that freezes them.
    freeze: Option<Freeze>,
}

/// What a rule has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleStatus {
    /// How many requests it was for, those included that it let pass.
    pub matched: u64,
    /// How many requests have met its fault.
    pub hits: u64,
    /// Whether it strikes no more: it has met as many as it was to, or its time is over.
    pub is_over: bool,
}

impl Active {
    fn is_over(&self) -> bool {
        self.hits >= self.rule.times || self.until.is_some_and(|until| until <= Instant::now())
    }

    fn thaw(&self) {
        if let Some(freeze) = &self.freeze {
            freeze.thaw();
        }
    }
}

/// Names a rule of a script, to ask about it or to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl FaultScript {
    /// A script under which nothing goes wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule, behind those that are there.
    pub fn add(&self, mut rule: Rule) -> RuleId {
        let mut state = self.state();
        let until = rule
            .lasting
            .and_then(|lasting| Instant::now().checked_add(lasting));
        let freeze = rule.freezes.then(|| Freeze::until(until));
        if let Some(freeze) = &freeze {
            rule.fault.outcome = Outcome::Freeze(freeze.clone());
            rule.event.freeze = Some(freeze.clone());
        }
        let id = RuleId(state.next);
        state.next += 1;
        state.rules.insert(
            id,
            Active {
                rule,
                matched: 0,
                hits: 0,
                until,
                freeze,
            },
        );
        id
    }

    /// Removes a rule; says whether it was there.
    pub fn remove(&self, rule: RuleId) -> bool {
        let removed = self.state().rules.remove(&rule);
        removed.inspect(Active::thaw).is_some()
    }

    /// Removes every rule and heals every client.
    pub fn clear(&self) {
        let mut state = self.state();
        state.rules.values().for_each(Active::thaw);
        state.rules.clear();
        state.cut.clear();
    }

    /// How many requests have met this rule's fault; 0 for a removed rule.
    pub fn hits(&self, rule: RuleId) -> u64 {
        self.state().rules.get(&rule).map_or(0, |active| active.hits)
    }

    /// What a rule has done so far; nothing for a removed rule.
    pub fn status(&self, rule: RuleId) -> Option<RuleStatus> {
        self.state().rules.get(&rule).map(|active| RuleStatus {
            matched: active.matched,
            hits: active.hits,
            is_over: active.is_over(),
        })
    }

    /// The fate of `call`, if a cut or a rule decides it.
    pub(super) fn strike(&self, call: &Call<'_>) -> Option<Fault> {
        let mut state = self.state();
        if let Some(fault) = state.cut.get(call.client) {
            return Some(fault.clone());
        }
        for active in state.rules.values_mut() {
            if active.is_over() || !active.rule.matches(call) {
                continue;
            }
            active.matched += 1;
            if active.matched > active.rule.skip && active.rule.picks() {
                active.hits += 1;
                return Some(active.rule.fault.clone());
            }
        }
        None
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
        self.strike(call).unwrap_or_default()
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        let state = self.state();
        if state.cut.contains_key(event.client) {
            return EventFault::interrupted(Interruption::Stall);
        }
        let mut rules = state.rules.values();
        let met = rules.find(|active| !active.is_over() && active.rule.matches_event(event));
        met.map_or_else(EventFault::none, |active| active.rule.event.clone())
    }

    fn needs_past(&self) -> bool {
        let state = self.state();
        let mut faults = state.rules.values().map(|active| &active.rule.fault);
        faults.any(|fault| matches!(fault.outcome, Outcome::Stale(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::timeout;

    use super::*;
    use crate::faults::Loss;
    use crate::wire::Service;

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

    #[tokio::test(start_paused = true)]
    async fn a_rule_ends_with_its_time() {
        let script = FaultScript::new();
        let rule = script.add(
            Rule::any()
                .lasting(Duration::from_secs(30))
                .fault(Fault::throttled()),
        );
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(fate(&script, "", "Scan"), Fault::throttled());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fate(&script, "", "Scan"), Fault::none());
        assert!(script.status(rule).unwrap().is_over);
    }

    #[test]
    fn dice_pick_their_share_and_the_same_seed_picks_the_same() {
        let picked = |seed| {
            let script = FaultScript::new();
            script.add(Rule::any().chance(0.25, seed).fault(Fault::throttled()));
            (0..1_000)
                .map(|_| fate(&script, "", "Scan") == Fault::throttled())
                .collect::<Vec<_>>()
        };
        let first = picked(7);
        let share = first.iter().filter(|picked| **picked).count();
        assert!((200..300).contains(&share), "{share}");
        assert_eq!(first, picked(7));
        assert_ne!(first, picked(8));
    }

    #[test]
    fn a_rule_is_for_requests_about_what_it_names() {
        let script = FaultScript::new();
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/leases";
        script.add(
            Rule::on("Query")
                .or_on("Scan")
                .about(arn)
                .reading("ByOwner")
                .fault(Fault::throttled()),
        );
        let asked = |operation, body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            let call = Call {
                client: "",
                service: Some(Service::DynamoDb),
                operation,
                body: &body,
            };
            script.decide(&call) == Fault::throttled()
        };
        let of_the_index = r#"{"TableName":"leases","IndexName":"ByOwner"}"#;
        assert!(asked("Query", of_the_index) && asked("Scan", of_the_index));
        assert!(!asked("GetItem", of_the_index));
        assert!(!asked("Query", r#"{"TableName":"leases"}"#));
        assert!(!asked("Query", r#"{"TableName":"other","IndexName":"ByOwner"}"#));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_frozen_goes_on_when_its_rule_is_removed_or_ends() {
        let script = FaultScript::new();
        let rule = script.add(Rule::any().by("a").freeze());
        script.add(Rule::any().by("b").freeze().lasting(Duration::from_secs(60)));
        let held = |client| match fate(&script, client, "Scan").outcome {
            Outcome::Freeze(freeze) => freeze,
            other => panic!("{other:?}"),
        };
        let (first, second) = (held("a"), held("b"));
        let wait = Duration::from_secs(59);
        assert!(timeout(wait, first.thawed()).await.is_err());
        script.remove(rule);
        first.thawed().await;
        assert!(
            timeout(Duration::from_millis(500), second.thawed())
                .await
                .is_err()
        );
        second.thawed().await;
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
