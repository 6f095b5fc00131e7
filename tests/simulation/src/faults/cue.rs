//! A request that a script waits for, and what it meets.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Request;
use kcl_local::faults::{Call, Fault, Loss};
use serde_json::Value;
use tokio::sync::watch;

use super::late;

/// A request to DynamoDB as a script sees it: the library's writes to leases are told apart by what they set.
#[derive(Debug)]
pub struct Asked {
    operation: String,
    body: Value,
}

type IsIt = dyn Fn(&Asked) -> bool + Send;

/// What becomes of the requests that are waited for.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Nothing: it is only told that they were sent.
    Passes,
    /// This fault.
    Meets(Fault),
    /// Their sender hears nothing. Each arrives when, and if, the script says so.
    ArrivesLate,
}

/// Which requests a script waits for, and what becomes of them.
pub struct Cue {
    client: String,
    is_it: Box<IsIt>,
    fate: Fate,
    is_for_one: bool,
}

/// What came of a [`Cue`]. Clones are the same.
#[derive(Debug, Clone)]
pub struct Met {
    count: watch::Receiver<u64>,
    key: Arc<Mutex<Option<String>>>,
    withheld: Arc<Mutex<Vec<Request<Bytes>>>>,
    is_over: Arc<Mutex<bool>>,
}

/// A cue that is in force.
struct Active {
    cue: Cue,
    count: watch::Sender<u64>,
    met: Met,
}

/// The cues of a script, in the order in which they were given.
#[derive(Default)]
pub(super) struct Cues {
    active: Vec<Active>,
}

impl Asked {
    fn new(call: &Call<'_>) -> Self {
        Self {
            operation: call.operation.to_owned(),
            body: serde_json::from_slice(call.body).unwrap_or_default(),
        }
    }

    /// The operation, such as `Scan`.
    #[must_use]
    pub fn is(&self, operation: &str) -> bool {
        self.operation == operation
    }

    /// The key of the row that it is about.
    fn key(&self) -> Option<&str> {
        let rows = [&self.body["Key"], &self.body["Item"]];
        rows.iter().find_map(|row| row["leaseKey"]["S"].as_str())
    }

    /// Whether it is about the row with this key.
    #[must_use]
    pub fn is_of(&self, key: &str) -> bool {
        self.key() == Some(key)
    }

    fn value(&self, placeholder: &str) -> Option<&str> {
        self.body["ExpressionAttributeValues"][placeholder]["S"].as_str()
    }

    fn changes(&self, placeholder: &str) -> bool {
        let values = &self.body["ExpressionAttributeValues"];
        self.is("UpdateItem") && values.get(placeholder).is_some()
    }

    /// Whether it begins to hand a lease over to this worker.
    #[must_use]
    pub fn begins_hand_off(&self, to: &str) -> bool {
        self.changes(":to_checkpointOwner") && self.value(":to_leaseOwner") == Some(to)
    }

    /// Whether it gives a lease to this worker at once.
    #[must_use]
    pub fn assigns(&self, to: &str) -> bool {
        self.changes(":to_leaseOwner")
            && !self.changes(":to_checkpointOwner")
            && self.value(":to_leaseOwner") == Some(to)
    }

    /// Whether it leaves a lease to nobody.
    #[must_use]
    pub fn releases(&self) -> bool {
        let update = self.body["UpdateExpression"].as_str().unwrap_or_default();
        let removed = update.split_once("REMOVE").map(|(_, removed)| removed);
        self.is("UpdateItem") && removed.is_some_and(|removed| removed.contains("#leaseOwner"))
    }

    /// Whether it renews a lease, or tells of progress.
    #[must_use]
    pub fn renews(&self) -> bool {
        self.changes(":to_leaseCounter")
    }

    /// Whether its sender knows of a hand-off of the lease that it writes to.
    #[must_use]
    pub fn knows_of_hand_off(&self) -> bool {
        let names_the_owner = [":is_processor", ":is_checkpointOwner"];
        names_the_owner.iter().any(|name| self.value(name).is_some())
    }

    /// Whether a worker reports in it.
    #[must_use]
    pub fn reports(&self) -> bool {
        self.changes(":to_reportNumber")
    }

    /// Whether a worker says in it that it cannot do its work.
    #[must_use]
    pub fn says_unfit(&self) -> bool {
        self.reports() && self.value(":to_condition") == Some("UNFIT")
    }

    /// Whether it names the shards that follow one, as is done before its end is recorded.
    #[must_use]
    pub fn names_children(&self) -> bool {
        let names = &self.body["ExpressionAttributeNames"];
        let mut names = names.as_object().into_iter().flat_map(|names| names.values());
        self.is("UpdateItem") && names.any(|name| name == "childShardIds")
    }

    /// Whether it makes a new lease.
    #[must_use]
    pub fn creates_lease(&self) -> bool {
        self.is("PutItem") && !self.body["Item"]["checkpoint"].is_null()
    }
}

impl Cue {
    /// Requests of this worker; the first of them only.
    pub fn next_of(client: &str, is_it: impl Fn(&Asked) -> bool + Send + 'static) -> Self {
        Self {
            client: client.to_owned(),
            is_it: Box::new(is_it),
            fate: Fate::Passes,
            is_for_one: true,
        }
    }

    /// Requests of this worker, until the script ends it.
    pub fn each_of(client: &str, is_it: impl Fn(&Asked) -> bool + Send + 'static) -> Self {
        Self {
            is_for_one: false,
            ..Self::next_of(client, is_it)
        }
    }

    /// The same with something that becomes of them.
    #[must_use]
    pub fn that(self, fate: Fate) -> Self {
        Self { fate, ..self }
    }
}

impl Met {
    /// How many requests were met so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    /// Completes when the first request was met, in the moment in which its fate is decided.
    pub async fn once(&self) {
        let mut count = self.count.clone();
        // Without its sender nothing more is met.
        if count.wait_for(|count| *count > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The key of the row that the last request was about.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on requests pass as if there were no cue.
    pub fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn is_over(&self) -> bool {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests that were withheld so far.
    pub(super) fn withheld(&self) -> Vec<Request<Bytes>> {
        std::mem::take(&mut *self.withheld.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Cues {
    /// Waits for the requests of a cue from now on.
    pub(super) fn add(&mut self, cue: Cue) -> Met {
        let (count, counted) = watch::channel(0);
        let met = Met {
            count: counted,
            key: Arc::default(),
            withheld: Arc::default(),
            is_over: Arc::default(),
        };
        self.active.push(Active {
            cue,
            count,
            met: met.clone(),
        });
        met
    }

    /// What the first cue that a request meets makes of it, unless it passes.
    pub(super) fn meet(&mut self, call: &Call<'_>) -> Option<Fault> {
        self.active.retain(|active| !active.met.is_over());
        if self.active.is_empty() {
            return None;
        }
        let asked = Asked::new(call);
        let index = self
            .active
            .iter()
            .position(|active| active.cue.client == call.client && (active.cue.is_it)(&asked))?;
        let active = &self.active[index];
        *active.met.key.lock().unwrap_or_else(PoisonError::into_inner) = asked.key().map(ToOwned::to_owned);
        active.count.send_modify(|count| *count += 1);
        let fault = match &active.cue.fate {
            Fate::Passes => None,
            Fate::Meets(fault) => Some(fault.clone()),
            Fate::ArrivesLate => {
                let withheld = active.met.withheld.lock();
                withheld
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(late::request(call));
                Some(Fault::drop_request(Loss::Hang))
            }
        };
        if active.cue.is_for_one {
            self.active.remove(index);
        }
        fault
    }
}

impl fmt::Debug for Cue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cue")
            .field("client", &self.client)
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Cues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cues = self.active.iter().map(|active| &active.cue);
        f.debug_list().entries(cues).finish()
    }
}

#[cfg(test)]
mod tests {
    use kcl_local::wire::Service;

    use super::*;

    const HAND_OFF: &str = r##"{"Key":{"leaseKey":{"S":"shard"}},"UpdateExpression":"SET #leaseOwner = :to_leaseOwner, #checkpointOwner = :to_checkpointOwner","ExpressionAttributeValues":{":to_leaseOwner":{"S":"b"},":to_checkpointOwner":{"S":"a"}}}"##;
    const ASSIGNMENT: &str = r##"{"Key":{"leaseKey":{"S":"shard"}},"UpdateExpression":"SET #leaseOwner = :to_leaseOwner REMOVE #checkpointOwner","ExpressionAttributeValues":{":to_leaseOwner":{"S":"b"}}}"##;
    const RELEASE: &str = r##"{"Key":{"leaseKey":{"S":"shard"}},"UpdateExpression":"SET #leaseCounter = #leaseCounter + :add_one REMOVE #leaseOwner","ExpressionAttributeValues":{":add_one":{"N":"1"}}}"##;

    fn asked(body: &str) -> Asked {
        Asked {
            operation: "UpdateItem".to_owned(),
            body: serde_json::from_str(body).expect("JSON"),
        }
    }

    fn meet(cues: &mut Cues, client: &str, body: &'static str) -> Option<Fault> {
        let body = Bytes::from_static(body.as_bytes());
        cues.meet(&Call {
            client,
            service: Some(Service::DynamoDb),
            operation: "UpdateItem",
            body: &body,
        })
    }

    #[test]
    fn writes_are_told_apart() {
        let (hand_off, assignment, release) = (asked(HAND_OFF), asked(ASSIGNMENT), asked(RELEASE));
        assert!(hand_off.begins_hand_off("b") && !hand_off.assigns("b"));
        assert!(!hand_off.begins_hand_off("a") && hand_off.is_of("shard"));
        assert!(assignment.assigns("b") && !assignment.begins_hand_off("b") && !assignment.releases());
        assert!(release.releases() && !release.renews() && !release.is_of("other"));
    }

    #[test]
    fn a_report_of_a_worker_that_cannot_work_is_told_from_others() {
        let report = |said: &str| {
            let values = format!(r#"{{":to_reportNumber":{{"N":"7"}}{said}}}"#);
            asked(&format!(
                r#"{{"Key":{{"leaseKey":{{"S":"a"}}}},"ExpressionAttributeValues":{values}}}"#
            ))
        };
        let unfit = report(r#",":to_condition":{"S":"UNFIT"}"#);
        let well = report("");
        assert!(unfit.says_unfit() && unfit.is_of("a"));
        assert!(well.reports() && !well.says_unfit() && !asked(RELEASE).reports());
    }

    #[test]
    fn a_cue_for_one_request_leaves_the_next_alone() {
        let mut cues = Cues::default();
        let lost = Fault::drop_request(Loss::Reset);
        let met = cues.add(Cue::next_of("a", |asked| asked.assigns("b")).that(Fate::Meets(lost.clone())));
        assert_eq!(meet(&mut cues, "b", ASSIGNMENT), None);
        assert_eq!(meet(&mut cues, "a", HAND_OFF), None);
        assert_eq!(met.count(), 0);
        assert_eq!(meet(&mut cues, "a", ASSIGNMENT), Some(lost));
        assert_eq!(meet(&mut cues, "a", ASSIGNMENT), None);
        assert_eq!((met.count(), met.key().as_deref()), (1, Some("shard")));
    }

    #[test]
    fn a_cue_for_each_request_lasts_until_it_is_ended_and_keeps_what_it_withholds() {
        let mut cues = Cues::default();
        let met = cues.add(Cue::each_of("a", |_| true).that(Fate::ArrivesLate));
        for _ in 0..2 {
            assert!(meet(&mut cues, "a", RELEASE).is_some());
        }
        assert_eq!(met.withheld().len(), 2);
        met.end();
        assert_eq!(meet(&mut cues, "a", RELEASE), None);
        assert_eq!((met.count(), met.withheld().len()), (2, 0));
    }
}
