//! Waits for a notice.

use std::error::Error as _;
use std::time::Duration;

use tokio::time::sleep;

use crate::endpoint::{Endpoint, EndpointError};
use crate::imds::{Imds, ImdsError};
use crate::notice::{Notice, NoticeError};
use crate::pace::{Pace, Round, Said};

const SPOT: &str = "/latest/meta-data/spot/instance-action";
const LIFECYCLE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";
const REBALANCE: &str = "/latest/meta-data/events/recommendations/rebalance";

/// What AWS recommends for spot interruptions.
const INTERVAL: Duration = Duration::from_secs(5);
/// More often would be throttled where several processes of an instance ask.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Watches for notices that this instance is about to go.
///
/// ```no_run
/// # async fn run(worker: kcl_core_stand_in::Worker) -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_ec2::Watch;
///
/// let watch = Watch::from_env()?;
/// worker.run_until(async { println!("leaving: {}", watch.notice().await) }).await?;
/// # Ok(())
/// # }
/// # mod kcl_core_stand_in {
/// #     pub struct Worker;
/// #     impl Worker {
/// #         pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), std::io::Error> { stop.await; Ok(()) }
/// #     }
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    /// None where the environment turns the service off.
    imds: Option<Imds>,
    interval: Duration,
    wants_rebalance: bool,
}

/// It is not known whether this instance stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The instance metadata service did not say.
    #[error(transparent)]
    Imds(ImdsError),
    /// It said something else than what AWS documents.
    #[error("{path} cannot be understood")]
    Notice {
        /// What was asked for.
        path: &'static str,
        /// What is wrong with the answer.
        #[source]
        source: NoticeError,
    },
}

impl Watch {
    /// At the endpoint that the environment names, see [`Endpoint::from_env`].
    ///
    /// # Errors
    /// A variable of the environment is wrong.
    pub fn from_env() -> Result<Self, EndpointError> {
        Ok(Self::with(Endpoint::from_env()?.map(Imds::new)))
    }

    /// At this endpoint.
    pub fn at(endpoint: Endpoint) -> Self {
        Self::with(Some(Imds::new(endpoint)))
    }

    pub(crate) fn with(imds: Option<Imds>) -> Self {
        Self {
            imds,
            interval: INTERVAL,
            wants_rebalance: false,
        }
    }

    /// How often is asked, 0.1 s at the least. Default: 5 s, as AWS recommends.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(SHORTEST_INTERVAL);
        self
    }

    /// Whether the advice to rebalance is a notice as well. Default: no, as it does not mean that the instance goes. An Auto Scaling
    /// group with capacity rebalancing starts another instance on that advice, and then terminates this one, which is a notice anyway.
    #[must_use]
    pub fn on_rebalance(mut self, wanted: bool) -> Self {
        self.wants_rebalance = wanted;
        self
    }

    /// Completes when there is a notice. What does not work is said in the log once, and tried again; where there is no instance
    /// metadata service this never completes.
    pub async fn notice(mut self) -> Notice {
        if self.imds.is_none() {
            tracing::info!(
                "the environment turns the instance metadata service off: nobody watches for notices"
            );
            return std::future::pending().await;
        }
        let mut pace = Pace::new(self.interval);
        loop {
            let (round, problem) = match self.look().await {
                Ok(Some(notice)) => {
                    tracing::warn!(%notice, "this instance is about to go");
                    return notice;
                }
                Ok(None) => (Round::Answered, None),
                Err(LookError::Imds(error)) if error.is_absence() => {
                    (Round::Absent, Some(LookError::Imds(error)))
                }
                Err(error) => (Round::Failed, Some(error)),
            };
            let (said, pause) = pace.after(round);
            let problem = problem.as_ref().map(told).unwrap_or_default();
            match said {
                Said::Nothing => {}
                Said::Absent => tracing::info!("nobody tells when this machine goes: {problem}"),
                Said::Failing => tracing::warn!("notices may come late, or not at all: {problem}"),
                Said::Back => tracing::info!("the instance metadata service answers again"),
            }
            sleep(pause).await;
        }
    }

    /// Asks once; none if this instance stays.
    ///
    /// # Errors
    /// The service did not answer, or said something else than what AWS documents. (What does not work hides no notice that is found
    /// elsewhere.)
    pub async fn look(&mut self) -> Result<Option<Notice>, LookError> {
        let mut problem = None;
        for (path, understand) in self.questions() {
            let Some(imds) = &mut self.imds else {
                return Ok(None);
            };
            let found = match imds.get(path).await {
                Ok(None) => Ok(None),
                Ok(Some(answer)) => understand(&answer).map_err(|source| LookError::Notice { path, source }),
                Err(error) if error.is_absence() => return Err(LookError::Imds(error)),
                Err(error) => Err(LookError::Imds(error)),
            };
            match found {
                Ok(None) => {}
                Ok(Some(notice)) => return Ok(Some(notice)),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        problem.map_or(Ok(None), Err)
    }

    fn questions(&self) -> impl Iterator<Item = (&'static str, Understand)> + use<> {
        let spot: (_, Understand) = (SPOT, |answer| Notice::of_spot(answer).map(Some));
        let lifecycle: (_, Understand) = (LIFECYCLE, Notice::of_lifecycle);
        let rebalance: (_, Understand) = (REBALANCE, |answer| Notice::of_rebalance(answer).map(Some));
        let wanted = self.wants_rebalance.then_some(rebalance);
        [spot, lifecycle].into_iter().chain(wanted)
    }
}

/// What an answer means.
type Understand = fn(&str) -> Result<Option<Notice>, NoticeError>;

/// An error with what is behind it.
fn told(error: &LookError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
