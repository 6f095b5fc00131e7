//! Which requests meet which fault.

use std::fmt;
use std::time::Duration;

use super::call::resource_name;
use super::{Call, Event, EventFault, Fault};
use crate::wire::Service;

/// Which requests meet which fault. A new rule matches every request of every client, for ever.
pub struct Rule {
    operations: Vec<String>,
    client: Option<String>,
    service: Option<Service>,
    resource: Option<String>,
    index: Option<String>,
    predicate: Option<Box<Predicate>>,
    pub(super) skip: u64,
    pub(super) times: u64,
    pub(super) lasting: Option<Duration>,
    chance: Option<Chance>,
    pub(super) fault: Fault,
    pub(super) event: EventFault,
    pub(super) freezes: bool,
}

type Predicate = dyn Fn(&Call<'_>) -> bool + Send + Sync;

/// Seeded dice.
struct Chance {
    probability: f64,
    dice: fastrand::Rng,
}

impl Rule {
    /// A rule for every operation.
    pub fn any() -> Self {
        Self {
            operations: Vec::new(),
            client: None,
            service: None,
            resource: None,
            index: None,
            predicate: None,
            skip: 0,
            times: u64::MAX,
            lasting: None,
            chance: None,
            fault: Fault::none(),
            event: EventFault::none(),
            freezes: false,
        }
    }

    /// A rule for one operation, such as `GetRecords`.
    pub fn on(operation: impl Into<String>) -> Self {
        Self::any().or_on(operation)
    }

    /// For this operation as well.
    pub fn or_on(mut self, operation: impl Into<String>) -> Self {
        self.operations.push(operation.into());
        self
    }

    /// Only requests of this client.
    pub fn by(self, client: impl Into<String>) -> Self {
        Self {
            client: Some(client.into()),
            ..self
        }
    }

    /// Only requests to this service.
    pub fn of(self, service: Service) -> Self {
        Self {
            service: Some(service),
            ..self
        }
    }

    /// Only requests about this stream or table, given by its name or its ARN. A request may be about several.
    pub fn about(self, resource: impl AsRef<str>) -> Self {
        Self {
            resource: Some(resource_name(resource.as_ref()).to_owned()),
            ..self
        }
    }

    /// Only reads of this index.
    pub fn reading(self, index: impl Into<String>) -> Self {
        Self {
            index: Some(index.into()),
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

    /// Ends so long after it was added, on tokio's clock.
    pub fn lasting(self, duration: Duration) -> Self {
        Self {
            lasting: Some(duration),
            ..self
        }
    }

    /// Only a share of the requests, 0 to 1, picked by dice: the same seed picks the same ones of the same sequence.
    pub fn chance(self, probability: f64, seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self {
            chance: Some(Chance { probability, dice }),
            ..self
        }
    }

    /// What the requests meet.
    pub fn fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// What events of the client's subscriptions meet.
    pub fn event(self, event: EventFault) -> Self {
        Self { event, ..self }
    }

    /// Requests, and events of subscriptions, stand still until the rule is removed or ends, and go on then.
    pub fn freeze(self) -> Self {
        Self {
            freezes: true,
            ..self
        }
    }

    pub(super) fn matches(&self, call: &Call<'_>) -> bool {
        self.is_for(call.operation)
            && self.client.as_deref().is_none_or(|client| client == call.client)
            && self.service.is_none_or(|service| call.service == Some(service))
            && self.predicate.as_deref().is_none_or(|predicate| predicate(call))
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| call.resources().contains(resource))
            && self
                .index
                .as_ref()
                .is_none_or(|index| call.index().as_ref() == Some(index))
    }

    /// Whether events of this client's subscription meet it.
    pub(super) fn matches_event(&self, event: &Event<'_>) -> bool {
        self.event != EventFault::none()
            && self.is_for("SubscribeToShard")
            && self.client.as_deref().is_none_or(|client| client == event.client)
            && self.service.is_none_or(|service| service == Service::Kinesis)
            && self
                .resource
                .as_deref()
                .is_none_or(|resource| event.stream == Some(resource))
    }

    /// Whether the dice pick this one.
    pub(super) fn picks(&mut self) -> bool {
        self.chance
            .as_mut()
            .is_none_or(|chance| chance.dice.f64() < chance.probability)
    }

    fn is_for(&self, operation: &str) -> bool {
        self.operations.is_empty() || self.operations.iter().any(|one| one == operation)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("operations", &self.operations)
            .field("client", &self.client)
            .field("service", &self.service)
            .field("resource", &self.resource)
            .field("index", &self.index)
            .field("predicate", &self.predicate.is_some())
            .field("skip", &self.skip)
            .field("times", &self.times)
            .field("lasting", &self.lasting)
            .field(
                "probability",
                &self.chance.as_ref().map(|chance| chance.probability),
            )
            .field("fault", &self.fault)
            .field("event", &self.event)
            .field("freezes", &self.freezes)
            .finish()
    }
}
