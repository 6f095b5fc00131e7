//! Joining the fleet.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::{Activity, HeldLease, JoinError, Membership, StreamIdentity};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Reads, Worker};
use crate::aws::ErrorClass;
use crate::error::Error;
use crate::retry::Retry;
use crate::streams::{Admission, LOOKING, ReadStream, SeveralStreams};

const JOINING: Activity = Activity {
    code: "joining-failing",
    doing: "joining the fleet",
};

/// A member of its fleet.
pub(super) struct Joined {
    pub(super) fleet: Membership,
    pub(super) acquired: mpsc::UnboundedReceiver<HeldLease>,
    /// The stream that it reads, if it is one.
    pub(super) stream: Option<StreamIdentity>,
}

/// Joins the fleet, if its leases are of what this worker reads; a failure that may pass is shown and retried.
pub(super) async fn join(worker: &Worker) -> Result<Joined, Error> {
    match &worker.reads {
        Reads::One(read) => join_with_one(worker, read).await,
        Reads::Several(several) => join_with_several(worker, several).await,
    }
}

async fn join_with_several(worker: &Worker, several: &SeveralStreams) -> Result<Joined, Error> {
    let mut retry = pauses(worker);
    let admission = Admission {
        several,
        takes_over: worker.config.leases.takes_over_from_one_stream,
        failover_time: worker.config.fleet.failover_time,
    };
    let admit = |store, found| admission.decide(store, found).boxed();
    loop {
        let joining = Membership::join_if(
            worker.store.clone(),
            worker.shared.worker_id.clone(),
            worker.config.fleet.clone(),
            worker.env.clone(),
            &admit,
        );
        match joining.await {
            Ok((fleet, acquired)) => {
                worker.shared.health.succeeded(JOINING);
                return Ok(Joined {
                    fleet,
                    acquired,
                    stream: None,
                });
            }
            Err(error) => failed(worker, error, &mut retry).await?,
        }
    }
}

/// Waits after what may pass.
async fn failed(worker: &Worker, error: JoinError, retry: &mut Retry) -> Result<(), Error> {
    match error {
        JoinError::Refused(reason) => Err(Error::OtherStream(reason.to_string())),
        JoinError::Store(error) if error.is_retryable() => {
            worker.shared.health.failed(JOINING, &error);
            sleep(retry.pause()).await;
            Ok(())
        }
        error => Err(error.into()),
    }
}

fn pauses(worker: &Worker) -> Retry {
    Retry::new(
        worker.env.clone(),
        Duration::from_millis(250),
        Duration::from_secs(10),
    )
}

async fn join_with_one(worker: &Worker, read: &ReadStream) -> Result<Joined, Error> {
    let (probed, mut stream) = tokio::join!(
        read.client.probe(),
        read.recognition.identity_at_start(pauses(worker))
    );
    if let Err(error) = probed {
        let is_lasting = match error.class {
            ErrorClass::NotFound | ErrorClass::AccessDenied | ErrorClass::InvalidArgument => true,
            ErrorClass::NotSigned(problem) => problem.is_lasting(),
            _ => false,
        };
        if is_lasting {
            return Err(Error::Stream {
                stream: worker.shared.stream(),
                reason: error.to_string(),
                source: error.into(),
            });
        }
        worker.shared.health.failed(LOOKING, &error);
    }
    let mut retry = pauses(worker);
    let recorded = Mutex::new(None);
    loop {
        let admission = |store, found: Option<StreamIdentity>| {
            (*recorded.lock().unwrap_or_else(PoisonError::into_inner)).clone_from(&found);
            read.recognition.admit(&stream, store, found).boxed()
        };
        let joining = Membership::join_if(
            worker.store.clone(),
            worker.shared.worker_id.clone(),
            worker.config.fleet.clone(),
            worker.env.clone(),
            &admission,
        );
        match joining.await {
            Ok((fleet, acquired)) => {
                worker.shared.health.succeeded(JOINING);
                // From here on each shard tells how it is read.
                worker.shared.health.ended(LOOKING);
                read.doubt.settle_all();
                if stream.created_at.is_none() {
                    read.doubt.raise();
                }
                let recorded = recorded.into_inner().unwrap_or_else(PoisonError::into_inner);
                let known =
                    recorded.filter(|recorded| stream.created_at.is_none() && recorded.may_be(&stream));
                return Ok(Joined {
                    fleet,
                    acquired,
                    stream: Some(known.unwrap_or(stream)),
                });
            }
            Err(error) => {
                failed(worker, error, &mut retry).await?;
                // It may have been made anew meanwhile.
                let now = read.recognition.identity_at_start(pauses(worker)).await;
                if now.created_at.is_some() {
                    stream = now;
                }
            }
        }
    }
}
