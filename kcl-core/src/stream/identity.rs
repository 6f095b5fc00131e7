//! Whether the leases are of the stream that this worker reads.
//!
//! A lease names its shard by a number that every stream has, so the leases of one stream look like those of another. What
//! tells them apart is recorded in the table: the stream's name and when it was created. Where that is not recorded yet
//! (a table of Java workers), or the service does not tell it, the leases themselves may show it.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{Checkpoint, JoinError, Lease, LeaseStore, StoreError, StoreErrorKind, StreamIdentity};

use tokio::time::{sleep, timeout};

use super::client::StreamClient;
use super::graph::ShardGraph;
use crate::aws::{CallError, ErrorClass};
use crate::config::{OtherStream, ShardId, StreamId};
use crate::error::Error;
use crate::retry::Retry;
use crate::streams::Pace;

/// The leases are of another stream than the one that is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the application's leases are of another stream than {ours}: {evidence}. Nothing was written. Start the worker on the \
     stream that its application was made for, give it another application name, or let on_other_stream set the leases aside \
     and begin this stream anew"
)]
pub(crate) struct LeasesOfAnother {
    pub(crate) ours: String,
    pub(crate) evidence: String,
}

impl LeasesOfAnother {
    /// The stream that the leases were made for is gone, and another one has its name.
    pub(crate) fn gone(was: &StreamIdentity, now: &StreamIdentity) -> Self {
        Self {
            ours: now.to_string(),
            evidence: format!("they were made for {was}, which is gone"),
        }
    }
}

impl From<LeasesOfAnother> for Error {
    fn from(leases: LeasesOfAnother) -> Self {
        Self::OtherStream(leases.to_string())
    }
}

/// The lease table is of one stream, and the worker reads several; or the reverse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OtherKind {
    #[error(
        "the lease table is of one stream: {evidence}, and this worker reads several. Nothing was written. Give the application of \
         several streams another name, and so another table, or let takes_over_from_one_stream take its leases over"
    )]
    OfOne { evidence: String },
    #[error(
        "the lease table is of several streams: {evidence}, and this worker reads one. Nothing was written. Give the worker its stream by \
         Streams::fixed, or give it another application name"
    )]
    OfSeveral { evidence: String },
    #[error("the leases of one stream are not taken over: {why}. Nothing was written")]
    NotTakenOver { why: String },
}

/// What is recorded as the stream of a table of several. No stream has this name.
const SEVERAL: &str = "several streams";

impl OtherKind {
    /// What is recorded in a table of several streams.
    pub(crate) fn several() -> StreamIdentity {
        StreamIdentity::new(SEVERAL, None)
    }

    fn of_several(leases: &[Lease]) -> Option<Self> {
        let lease = leases
            .iter()
            .find(|lease| StreamId::of_lease(&lease.key).is_some())?;
        Some(Self::OfSeveral {
            evidence: format!("there is a lease {}", lease.key),
        })
    }
}

/// A lease that others change faster than this is not set aside.
const MAX_ATTEMPTS: usize = 4;
/// A start waits no longer for the stream's description.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was recorded, against what is read.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// They are the same, and everything is recorded.
    Same,
    /// They may be the same; the leases have to be looked at.
    Unproven,
    /// They are not.
    Other(String),
}

fn compare(recorded: Option<&StreamIdentity>, ours: &StreamIdentity) -> Verdict {
    match recorded {
        None => Verdict::Unproven,
        Some(recorded) if !recorded.may_be(ours) => Verdict::Other(format!("they were made for {recorded}")),
        Some(recorded) if recorded.created_at.is_none() || ours.created_at.is_none() => Verdict::Unproven,
        Some(_) => Verdict::Same,
    }
}

/// What shows that leases are not of the listed stream; `None` if they may be.
///
/// A stream counts its shards as they are opened, and each sequence number begins with the time at which its shard was
/// opened. So a lease of a shard with a greater number than any that is listed, and a checkpoint before the beginning of its
/// shard or behind its end, are of another stream.
pub(crate) fn contradiction(leases: &[Lease], graph: &ShardGraph) -> Option<String> {
    leases.iter().find_map(|lease| {
        let id = ShardId::of_lease(&lease.key);
        if graph.is_foreign(&id) {
            return Some(format!(
                "there is a lease of {id}, and the stream never had so many shards"
            ));
        }
        let shard = graph.get(&id)?;
        match &lease.checkpoint {
            Checkpoint::At(at) if !shard.may_hold(&at.sequence) => Some(format!(
                "the checkpoint {} of {id} does not lie in that shard, which begins at {}",
                at.sequence, shard.starts_at
            )),
            _ => None,
        }
    })
}

/// Knows the stream that a worker reads, and sees to it that the leases are of it.
#[derive(Debug, Clone)]
pub(crate) struct Recognition {
    pub(crate) client: StreamClient,
    pub(crate) policy: OtherStream,
    /// Kept where several streams are asked for.
    pub(crate) pace: Option<Pace>,
}

impl Recognition {
    pub(crate) fn new(client: StreamClient, policy: OtherStream) -> Self {
        Self {
            client,
            policy,
            pace: None,
        }
    }

    /// Who the stream is. What the service does not tell, or does not let this worker know, stays unknown.
    pub(crate) async fn identity(&self) -> Result<StreamIdentity, CallError> {
        if let Some(pace) = &self.pace {
            pace.turn().await;
        }
        let created_at = match self.client.created_at().await {
            Ok(created_at) => created_at,
            Err(error)
                if matches!(
                    error.class,
                    ErrorClass::AccessDenied | ErrorClass::InvalidArgument
                ) =>
            {
                tracing::debug!(%error, "when the stream was created is not known");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(StreamIdentity::new(self.client.stream().name(), created_at))
    }

    /// As [`identity`](Self::identity), for a start, which goes on without it when the service does not answer. (Its limit is 20
    /// descriptions a second for an account, and many workers may start together.)
    pub(crate) async fn identity_at_start(&self, mut pauses: Retry) -> StreamIdentity {
        let asking = async {
            loop {
                match self.identity().await {
                    Ok(identity) => return identity,
                    Err(error) => tracing::debug!(%error, "when the stream was created is not known yet"),
                }
                sleep(pauses.pause()).await;
            }
        };
        let unknown = || StreamIdentity::new(self.client.stream().name(), None);
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| unknown())
    }

    /// Decides whether a worker that reads the stream `ours` joins those whose leases are in `store`; the stream to record.
    pub(crate) async fn admit(
        &self,
        ours: &StreamIdentity,
        store: Arc<dyn LeaseStore>,
        recorded: Option<StreamIdentity>,
    ) -> Result<Option<StreamIdentity>, JoinError> {
        if recorded.as_ref() == Some(&OtherKind::several()) {
            let evidence = "that is recorded in it".to_owned();
            return Err(JoinError::Refused(Box::new(OtherKind::OfSeveral { evidence })));
        }
        let evidence = match compare(recorded.as_ref(), ours) {
            Verdict::Same => return Ok(None),
            Verdict::Other(evidence) => Some(evidence),
            Verdict::Unproven => match self.examine(&*store).await? {
                Examined::Contradicted(evidence) => Some(evidence),
                Examined::Consistent => None,
                Examined::NotAtAll => return Ok(None),
                Examined::OfSeveral(refusal) => return Err(JoinError::Refused(Box::new(refusal))),
            },
        };
        let Some(evidence) = evidence else {
            let is_news =
                recorded.is_none_or(|recorded| recorded.created_at.is_none() && ours.created_at.is_some());
            return Ok(is_news.then(|| ours.clone()));
        };
        // The record may be newer than what this worker knows: then it is this worker's stream that is gone.
        match self.identity().await {
            Ok(now) if now.may_be(ours) => {}
            Ok(now) => return Err(in_doubt(format!("{ours} is gone, and {now} has its name"))),
            Err(error) => return Err(in_doubt(error.to_string())),
        }
        let refusal = LeasesOfAnother {
            ours: ours.to_string(),
            evidence,
        };
        if self.policy == OtherStream::Refuse {
            return Err(JoinError::Refused(Box::new(refusal)));
        }
        tracing::warn!(evidence = refusal.evidence, stream = %ours, "the leases are of another stream; they are set aside");
        set_aside(&*store, recorded.as_ref()).await?;
        Ok(Some(ours.clone()))
    }

    /// Lays the leases beside the stream. Where the stream cannot be listed nothing is known; no shard can be read then either.
    async fn examine(&self, store: &dyn LeaseStore) -> Result<Examined, StoreError> {
        let leases = store.scan_now().await?.leases;
        if leases.is_empty() {
            return Ok(Examined::Consistent);
        }
        if let Some(refusal) = OtherKind::of_several(&leases) {
            return Ok(Examined::OfSeveral(refusal));
        }
        Ok(match timeout(PATIENCE, self.client.list_shards(None)).await {
            Ok(Ok(graph)) => {
                contradiction(&leases, &graph).map_or(Examined::Consistent, Examined::Contradicted)
            }
            Ok(Err(_)) | Err(_) => Examined::NotAtAll,
        })
    }
}

/// The stream has to be asked again who it is.
fn in_doubt(problem: String) -> JoinError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "comparing the leases with the stream",
        "",
        problem,
    )
    .into()
}

/// What the leases show about the stream that they are of.
enum Examined {
    Consistent,
    Contradicted(String),
    NotAtAll,
    OfSeveral(OtherKind),
}

/// Sets all leases aside, unless another worker has done so and recorded its stream: what it makes then are leases of that one.
async fn set_aside(store: &dyn LeaseStore, recorded: Option<&StreamIdentity>) -> Result<(), StoreError> {
    let leases = store.scan_now().await?.leases;
    // What is read before the record is looked at was there before it changed.
    if store.stream().await?.as_ref() != recorded {
        return Ok(());
    }
    for lease in leases {
        set_one_aside(store, lease, recorded).await?;
    }
    Ok(())
}

async fn set_one_aside(
    store: &dyn LeaseStore,
    seen: Lease,
    recorded: Option<&StreamIdentity>,
) -> Result<(), StoreError> {
    let unknown = StreamIdentity::new("unknown", None);
    let mut row = Some(seen);
    let mut attempts = 0;
    while let Some(lease) = row {
        if store.set_aside(&lease, recorded.unwrap_or(&unknown)).await? {
            break;
        }
        attempts += 1;
        if attempts >= MAX_ATTEMPTS {
            let problem = format!("row {} is written to by a worker all the time", lease.key);
            let kind = StoreErrorKind::Unavailable;
            return Err(StoreError::new(kind, "setting a lease aside", "", problem));
        }
        row = store.get(&lease.key).await?;
        if store.stream().await?.as_ref() != recorded {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kcl_lease::MemoryLeaseStore;

    use super::super::graph::tests::{documented_example, id};
    use super::*;

    fn stream(name: &str, created_at: Option<u64>) -> StreamIdentity {
        StreamIdentity::new(name, created_at)
    }

    #[test]
    fn streams_are_told_apart_by_name_and_by_creation() {
        let ours = stream("clicks", Some(100));
        assert_eq!(compare(Some(&ours), &ours), Verdict::Same);
        for other in [
            stream("clicks", Some(99)),
            stream("orders", Some(100)),
            stream("orders", None),
        ] {
            assert!(
                matches!(compare(Some(&other), &ours), Verdict::Other(_)),
                "{other}"
            );
        }
    }

    #[test]
    fn what_is_not_known_proves_nothing() {
        let ours = stream("clicks", Some(100));
        assert_eq!(compare(None, &ours), Verdict::Unproven);
        assert_eq!(compare(Some(&stream("clicks", None)), &ours), Verdict::Unproven);
        assert_eq!(compare(Some(&ours), &stream("clicks", None)), Verdict::Unproven);
    }

    fn lease(number: u32, checkpoint: &str) -> Lease {
        let checkpoint = Checkpoint::parse(checkpoint, 0).expect("valid");
        Lease::new(id(number).lease_key(), checkpoint)
    }

    #[test]
    fn leases_of_a_larger_stream_and_checkpoints_of_another_time_show_it() {
        let graph = documented_example();
        let seen = |leases: &[Lease]| contradiction(leases, &graph);
        let beyond = graph.iter().count() as u32 + 7;
        assert!(seen(&[lease(beyond, "TRIM_HORIZON")]).is_some_and(|text| text.contains("so many shards")));
        let shard = graph.get(&id(6)).expect("listed");
        assert_eq!(
            seen(&[lease(6, shard.starts_at.as_str()), lease(7, "LATEST")]),
            None
        );
        assert!(seen(&[lease(6, "1")]).is_some_and(|text| text.contains("does not lie in that shard")));
        assert_eq!(seen(&[]), None);
    }

    /// A table whose leases are of the stream that was created at 200; `begun` is one of them.
    async fn begun_anew() -> (MemoryLeaseStore, Lease) {
        let store = MemoryLeaseStore::new();
        let begun = lease(1, "4711");
        store.create(&begun).await.expect("created");
        let now = stream("clicks", Some(200));
        assert!(store.record_stream(None, &now).await.expect("recorded"));
        (store, begun)
    }

    #[tokio::test]
    async fn what_another_worker_has_begun_meanwhile_is_not_set_aside() {
        let before = stream("clicks", Some(100));
        let (store, begun) = begun_anew().await;
        set_aside(&store, Some(&before)).await.expect("answered");
        let mut seen = begun.clone();
        seen.counter += 7;
        set_one_aside(&store, seen, Some(&before))
            .await
            .expect("answered");
        assert_eq!(store.scan().await.expect("answered").leases, [begun]);
        assert_eq!(store.kept().await.expect("answered"), []);
    }

    /// The stream `clicks`, as it can be asked who it is.
    async fn recognition(policy: OtherStream) -> Recognition {
        let backend = kcl_local::Backend::start();
        let client = aws_sdk_kinesis::Client::new(&backend.sdk_config());
        let request = client.create_stream().stream_name("clicks").shard_count(2);
        request.send().await.expect("created");
        let stream = crate::config::Stream::parse("clicks").expect("a name");
        Recognition::new(StreamClient::new(client, stream), policy)
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_only_a_stream_that_is_gone_neither_refuses_the_newer_ones_leases_nor_sets_them_aside()
    {
        for policy in [OtherStream::Refuse, OtherStream::BeginAnew] {
            let recognition = recognition(policy).await;
            let now = recognition.identity().await.expect("answered");
            let gone = stream("clicks", now.created_at.map(|at| at - 100));
            let (store, begun) = begun_anew().await;
            let store: Arc<dyn LeaseStore> = Arc::new(store);
            let joined = recognition.admit(&gone, store.clone(), Some(now)).await;
            let doubt = joined.expect_err("in doubt");
            assert!(
                matches!(&doubt, JoinError::Store(error) if error.is_retryable()),
                "{doubt}"
            );
            assert_eq!(store.scan().await.expect("answered").leases, [begun]);
        }
    }

    #[tokio::test]
    async fn a_lease_that_was_renewed_meanwhile_is_set_aside_as_it_is_then() {
        let before = stream("clicks", Some(200));
        let (store, begun) = begun_anew().await;
        let mut seen = begun.clone();
        seen.counter += 7;
        set_one_aside(&store, seen, Some(&before))
            .await
            .expect("answered");
        assert_eq!(store.scan().await.expect("answered").leases, []);
        assert_eq!(store.kept().await.expect("answered"), [(before, begun)]);
    }
}
