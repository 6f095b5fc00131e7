//! How many requests of each kind there were in each second of virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_local::faults::{Call, Fault, FaultInjector, Loss};
use kcl_local::wire::Service;
use tokio::time::Instant;

/// Requests by service and operation.
pub type Counts = BTreeMap<(Service, String), u64>;

/// A network on which every request takes the same time, and is counted. Clones share it.
#[derive(Debug, Clone)]
pub struct Traffic {
    latency: Duration,
    origin: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seconds: BTreeMap<u64, Counts>,
    dead: BTreeSet<String>,
}

impl Traffic {
    /// A network on which a request is under way for `latency`.
    pub fn new(latency: Duration) -> Self {
        Self {
            latency,
            origin: Instant::now(),
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A killed client sends nothing any more.
    pub fn bury(&self, client: &str) {
        self.state().dead.insert(client.to_owned());
    }

    /// The seconds of virtual time since the network exists.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_secs()
    }

    /// Waits for the beginning of a second of virtual time; which one it is.
    pub async fn next_second(&self) -> u64 {
        let next = self.now() + 1;
        tokio::time::sleep_until(self.origin + Duration::from_secs(next)).await;
        next
    }

    /// The requests of each second from `from` to before `to`.
    pub fn between(&self, from: u64, to: u64) -> Vec<Counts> {
        let state = self.state();
        (from..to)
            .map(|second| state.seconds.get(&second).cloned().unwrap_or_default())
            .collect()
    }
}

impl FaultInjector for Traffic {
    fn decide(&self, call: &Call<'_>) -> Fault {
        let Some(service) = call.service.filter(|_| !call.client.is_empty()) else {
            return Fault::none();
        };
        let now = self.now();
        let mut state = self.state();
        if state.dead.contains(call.client) {
            return Fault::drop_request(Loss::Hang);
        }
        let counts = state.seconds.entry(now).or_default();
        *counts.entry((service, call.operation.to_owned())).or_default() += 1;
        Fault::none().after(self.latency)
    }
}
