//! Follows the tracker: which streams are read, and which are left.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{Activity, Cause, Health};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::agenda::{Named, naming};
use super::recognise::recognise;
use super::registry::{Entry, Registry};
use super::upkeep::StreamsUpkeep;
use crate::config::{StreamId, TrackedStream};
use crate::consumer::Pauses;
use crate::leading::Leading;
use crate::retry::Retry;

const ASKING: Activity = Activity {
    code: "streams-failing",
    doing: "asking which streams to read",
};
/// A tracker may take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker's part in reading several streams.
#[derive(Debug)]
pub(crate) struct Tracking {
    registry: Arc<Registry>,
    health: Health,
    pauses: watch::Sender<Pauses>,
}

/// A failure of the user's tracker.
struct Untold(String);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Cause for Untold {}

impl Tracking {
    pub(crate) fn new(registry: Arc<Registry>, health: Health, pauses: watch::Sender<Pauses>) -> Self {
        Self {
            registry,
            health,
            pauses,
        }
    }

    /// Never returns.
    pub(crate) async fn run(&self) {
        let remade = watch::Sender::new(BTreeSet::new());
        let upkeep = StreamsUpkeep::new(self.registry.clone(), self.health.clone());
        tokio::join!(self.ask(), self.look_after_all(&remade), upkeep.run(&remade));
    }

    /// Asks the tracker again and again.
    async fn ask(&self) {
        let member = self.registry.member();
        let interval = member.config.leases.streams_interval;
        let mut retry = Retry::new(member.env.clone(), Duration::from_millis(500), interval);
        loop {
            let pause = match self.ask_once().await {
                Ok(()) => {
                    self.health.succeeded(ASKING);
                    retry.succeeded();
                    interval
                }
                Err(error) => {
                    self.health.failed(ASKING, &error);
                    retry.pause()
                }
            };
            self.leave_what_is_not_named();
            sleep(pause).await;
        }
    }

    async fn ask_once(&self) -> Result<(), Untold> {
        let several = &self.registry.several;
        let answer = timeout(PATIENCE, several.ask()).await;
        let answer = answer.map_err(|_| Untold(format!("the tracker did not answer within {PATIENCE:?}")))?;
        let tracked = answer.map_err(|error| Untold(error.chain()))?;
        let named = self.understood(&tracked)?;
        several.named.send_if_modified(|before| {
            let is_news = **before != named;
            if is_news {
                let names: Vec<_> = named.iter().map(|named| named.stream.to_string()).collect();
                tracing::info!(streams = names.join(", "), "streams to read");
                *before = Arc::new(named);
            }
            is_news
        });
        Ok(())
    }

    /// One mistake makes all of an answer void: a stream whose name is misspelt would pass for one that is not read any more.
    fn understood(&self, tracked: &[TrackedStream]) -> Result<Vec<Named>, Untold> {
        let (several, options) = (&self.registry.several, &self.registry.member().config.retrieval);
        let problems = tracked
            .iter()
            .flat_map(|stream| stream.problems(&several.region, options));
        let problems: Vec<_> = problems.collect();
        if !problems.is_empty() {
            return Err(Untold(problems.join("; ")));
        }
        let named = tracked.iter().filter_map(|tracked| {
            Some(Named {
                stream: tracked.stream().ok()?,
                retrieval: tracked.retrieval(options),
            })
        });
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Err(Untold(
                "the tracker names no stream; stop the worker if there is nothing to read".to_owned(),
            ));
        }
        Ok(named)
    }

    /// Nothing more is delivered of a stream that is not named any more.
    fn leave_what_is_not_named(&self) {
        let unnamed: BTreeSet<_> = self.registry.unnamed().iter().map(ToString::to_string).collect();
        self.pauses
            .send_if_modified(|pauses| pauses.set_streams(unnamed.clone()));
    }

    /// Looks after the streams that were begun: asks who they are when somebody doubts it, and does the leader's work for them.
    async fn look_after_all(&self, remade: &watch::Sender<BTreeSet<StreamId>>) {
        let member = self.registry.member();
        let mut tasks = JoinSet::new();
        loop {
            for Entry { id, read, parts } in self.registry.take_fresh() {
                let (leading, env) = (parts.leading(member.fleet.clone()), member.env.clone());
                let named = self.registry.several.named.subscribe();
                tasks.spawn(async move {
                    let identity = Entry::identity(&id);
                    tokio::select! {
                        _ = recognise(&read, &env, &identity) => {}
                        () = while_named(&id, named, &leading) => {}
                    }
                    id
                });
            }
            tokio::select! {
                () = self.registry.news.notified() => {}
                Some(ended) = tasks.join_next() => match ended {
                    Ok(id) => remade.send_modify(|remade| { remade.insert(id); }),
                    // It is ours: the worker ends for it.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
            }
        }
    }
}

/// Does the leader's work for a stream for as long as it is named. Never returns.
async fn while_named(id: &StreamId, mut named: watch::Receiver<Arc<Vec<Named>>>, leading: &Leading) {
    loop {
        if named.wait_for(|named| naming(named, id).is_some()).await.is_err() {
            return std::future::pending().await;
        }
        tokio::select! {
            biased;
            _ = named.wait_for(|named| naming(named, id).is_none()) => {}
            () = leading.run() => {}
        }
    }
}
