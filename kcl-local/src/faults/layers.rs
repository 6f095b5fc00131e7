//! Two injectors, of which the first goes first.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::{Call, Event, EventFault, Fault, FaultInjector, FaultScript};

/// The script of the backend's plan, and the injector that the backend was built with for what the script has nothing for.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) plan: FaultScript,
    pub(crate) rest: Arc<dyn FaultInjector>,
}

impl FaultInjector for Layers {
    fn decide(&self, call: &Call<'_>) -> Fault {
        self.plan.strike(call).unwrap_or_else(|| self.rest.decide(call))
    }

    fn answered(&self, client: &str, operation: &str, answer: &Response<Bytes>) {
        self.rest.answered(client, operation, answer);
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        match self.plan.event(event) {
            fault if fault == EventFault::none() => self.rest.event(event),
            fault => fault,
        }
    }

    fn event_arrived(&self, event: &Event<'_>) {
        self.rest.event_arrived(event);
    }

    fn needs_past(&self) -> bool {
        self.plan.needs_past() || self.rest.needs_past()
    }
}
