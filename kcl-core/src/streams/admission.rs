//! Whether a worker of several streams joins those whose leases are in the table, and how it takes over those of one stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{JoinError, Lease, LeaseKey, LeaseStore, StoreError, StoreErrorKind, StreamIdentity};
use tokio::time::sleep;

use super::several::SeveralStreams;
use crate::aws::{CallError, ErrorClass};
use crate::config::{Stream, StreamId};
use crate::stream::{LeaseKeys, OtherKind, contradiction};

/// What a worker of several streams is allowed.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    pub(crate) several: &'a SeveralStreams,
    /// Whether it takes over the leases of a table of one stream.
    pub(crate) takes_over: bool,
    /// A worker that lives renews its leases within this time.
    pub(crate) failover_time: Duration,
}

impl Admission<'_> {
    /// Decides it; the stream to record.
    pub(crate) async fn decide(
        &self,
        store: Arc<dyn LeaseStore>,
        recorded: Option<StreamIdentity>,
    ) -> Result<Option<StreamIdentity>, JoinError> {
        let ours = OtherKind::several();
        if recorded.as_ref() == Some(&ours) {
            return Ok(None);
        }
        let leases = store.scan_now().await?.leases;
        let of_one: Vec<Lease> = leases
            .into_iter()
            .filter(|lease| StreamId::of_lease(&lease.key).is_none())
            .collect();
        let evidence = match (&recorded, of_one.first()) {
            (Some(recorded), _) => format!("its leases were made for {recorded}"),
            (None, Some(lease)) => format!("there is a lease {} without a stream", lease.key),
            (None, None) => return Ok(Some(ours)),
        };
        if !self.takes_over {
            return Err(refused(OtherKind::OfOne { evidence }));
        }
        self.take_over(&*store, &of_one, recorded.as_ref()).await?;
        Ok(Some(ours))
    }

    /// Gives the leases of one stream the names that they have among several. What an earlier attempt did stays done.
    async fn take_over(
        &self,
        store: &dyn LeaseStore,
        leases: &[Lease],
        recorded: Option<&StreamIdentity>,
    ) -> Result<(), JoinError> {
        let stream = self.stream_of_table(recorded).await?;
        let client = self.several.client(stream.clone());
        let id = client.id().await.map_err(|error| unanswered(&error))?;
        let now = StreamIdentity::new(id.name(), Some(id.created_at()));
        if let Some(recorded) = recorded.filter(|recorded| !recorded.may_be(&now)) {
            let why =
                format!("its leases were made for {recorded}, and the stream of that name is {now} by now");
            return Err(refused(OtherKind::NotTakenOver { why }));
        }
        let graph = client
            .list_shards(None)
            .await
            .map_err(|error| unanswered(&error))?;
        if let Some(why) = contradiction(leases, &graph) {
            return Err(refused(OtherKind::NotTakenOver { why }));
        }
        self.see_that_nobody_works(store, leases).await?;
        let keys = LeaseKeys::among_others(id);
        for lease in leases {
            // Another worker may take over as well, and have gone on.
            let Some(lease) = store.get(&lease.key).await? else {
                continue;
            };
            store.create(&keys.in_table(lease.without_owner())).await?;
            if !store.delete(&lease).await? && store.get(&lease.key).await?.is_some() {
                let why = format!("{} is written to by a worker of one stream", lease.key);
                return Err(refused(OtherKind::NotTakenOver { why }));
            }
            tracing::info!(lease = %lease.key, stream = %stream, checkpoint = %lease.checkpoint, "took a lease over");
        }
        Ok(())
    }

    /// The stream that the table is of: among those that are to be read, the one of the name that is recorded, or the only one.
    async fn stream_of_table(&self, recorded: Option<&StreamIdentity>) -> Result<Stream, JoinError> {
        let asked = self.several.ask().await;
        let tracked = asked.map_err(|error| in_doubt(error.chain()))?;
        let streams: Vec<Stream> = tracked
            .iter()
            .filter_map(|tracked| tracked.stream().ok())
            .collect();
        let is_it = |stream: &&Stream| recorded.is_none_or(|recorded| recorded.name == stream.name());
        let mut candidates = streams.iter().filter(is_it);
        match (candidates.next(), candidates.next()) {
            (Some(stream), None) => Ok(stream.clone()),
            _ => {
                let of = recorded.map_or_else(
                    || "which is not recorded".to_owned(),
                    |recorded| format!("which is {recorded}"),
                );
                let why = format!(
                    "it has to be clear which of the streams the table is of, {of}: name that one, and no other of its name; where it is \
                     not recorded, name it alone for the first start"
                );
                Err(refused(OtherKind::NotTakenOver { why }))
            }
        }
    }

    /// Waits for as long as a worker that lives may take to renew a lease.
    async fn see_that_nobody_works(&self, store: &dyn LeaseStore, leases: &[Lease]) -> Result<(), JoinError> {
        let owned = leases.iter().filter(|lease| lease.owner.is_some());
        let before: BTreeMap<&LeaseKey, u64> = owned.map(|lease| (&lease.key, lease.counter)).collect();
        if before.is_empty() {
            return Ok(());
        }
        sleep(self.failover_time).await;
        let now = store.scan_now().await?.leases;
        let is_alive = |lease: &&Lease| {
            before
                .get(&lease.key)
                .is_some_and(|before| *before != lease.counter)
        };
        match now.iter().find(is_alive) {
            None => Ok(()),
            Some(lease) => {
                let owner = lease
                    .actual_owner()
                    .map_or_else(|| "nobody".to_owned(), ToString::to_string);
                let why = format!(
                    "a worker of one stream still works ({owner} has {}); stop all of them first",
                    lease.key
                );
                Err(refused(OtherKind::NotTakenOver { why }))
            }
        }
    }
}

fn refused(why: OtherKind) -> JoinError {
    JoinError::Refused(Box::new(why))
}

fn unanswered(error: &CallError) -> JoinError {
    if error.class == ErrorClass::NotFound {
        return refused(OtherKind::NotTakenOver {
            why: format!("the stream of its leases is not there: {error}"),
        });
    }
    in_doubt(error.to_string())
}

/// It has to be asked again.
fn in_doubt(problem: String) -> JoinError {
    let kind = StoreErrorKind::Unavailable;
    StoreError::new(kind, "taking over the leases of one stream", "", problem).into()
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::Client;
    use kcl_lease::{Checkpoint, MemoryLeaseStore, Metrics};

    use super::*;
    use crate::config::{OtherStream, ReadEncoding, TrackedStream};

    /// The streams `orders`, with two shards, and `clicks`.
    async fn several(names: &[&str]) -> SeveralStreams {
        let backend = kcl_local::Backend::start();
        let client = Client::new(&backend.sdk_config());
        for stream in ["orders", "clicks"] {
            let request = client.create_stream().stream_name(stream).shard_count(2);
            request.send().await.expect("created");
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let region = client.config().region().expect("there is one").to_string();
        let tracker: Vec<TrackedStream> = names.iter().copied().map(TrackedStream::from).collect();
        let (encoding, policy) = (ReadEncoding::default(), OtherStream::default());
        SeveralStreams::new(
            Arc::new(tracker),
            client,
            region,
            encoding,
            policy,
            Metrics::default(),
        )
    }

    fn lease(shard: u32, owner: Option<&str>) -> Lease {
        let lease = Lease::new(format!("shardId-{shard:012}").as_str(), Checkpoint::TrimHorizon);
        match owner {
            Some(owner) => lease.owned_by(owner.into()),
            None => lease,
        }
    }

    async fn table(leases: &[Lease]) -> Arc<MemoryLeaseStore> {
        let store = MemoryLeaseStore::new();
        for lease in leases {
            store.create(lease).await.expect("created");
        }
        Arc::new(store)
    }

    async fn decide(
        several: &SeveralStreams,
        takes_over: bool,
        store: &Arc<MemoryLeaseStore>,
        recorded: Option<StreamIdentity>,
    ) -> Result<Option<StreamIdentity>, String> {
        let admission = Admission {
            several,
            takes_over,
            failover_time: Duration::from_secs(10),
        };
        let decided = admission.decide(store.clone(), recorded).await;
        decided.map_err(|refused| refused.to_string())
    }

    async fn keys(store: &MemoryLeaseStore) -> Vec<String> {
        let leases = store.scan().await.expect("scanned").leases;
        let mut keys: Vec<_> = leases.iter().map(|lease| lease.key.to_string()).collect();
        keys.sort();
        keys
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_table_is_recorded_as_one_of_several_and_one_of_one_stream_is_refused() {
        let several = several(&["orders", "clicks"]).await;
        let ours = OtherKind::several();
        let empty = table(&[]).await;
        assert_eq!(
            decide(&several, false, &empty, None).await,
            Ok(Some(ours.clone()))
        );
        assert_eq!(decide(&several, false, &empty, Some(ours)).await, Ok(None));
        let of_one = table(&[lease(0, None)]).await;
        let told = decide(&several, false, &of_one, None).await.expect_err("refused");
        assert!(
            told.contains("there is a lease shardId-000000000000 without"),
            "{told}"
        );
        let recorded = Some(StreamIdentity::new("orders", Some(17)));
        let told = decide(&several, false, &empty, recorded)
            .await
            .expect_err("refused");
        assert!(told.contains("made for orders"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn leases_of_one_stream_are_taken_over_with_all_that_they_say() {
        let several = several(&["orders", "clicks"]).await;
        let mut paused = lease(1, Some("gone"));
        paused.paused_since = Some(7);
        let store = table(&[lease(0, None), paused]).await;
        let recorded = Some(StreamIdentity::new("orders", None));
        assert!(decide(&several, true, &store, recorded).await.is_ok());
        let leases = store.scan().await.expect("scanned").leases;
        assert_eq!(leases.len(), 2);
        for lease in &leases {
            let (id, _) = StreamId::of_lease(&lease.key).expect("of several");
            assert_eq!((id.name(), &lease.owner), ("orders", &None));
            assert!(lease.stream_shard.is_some());
        }
        assert_eq!(leases.iter().filter_map(|lease| lease.paused_since).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_over_before_stays_as_it_is_now() {
        let several = several(&["orders"]).await;
        let store = table(&[lease(0, None)]).await;
        assert!(decide(&several, true, &store, None).await.is_ok());
        let taken = keys(&store).await;
        // The worker that did it went away before it had deleted the second one.
        store.create(&lease(1, None)).await.expect("created");
        assert!(decide(&several, true, &store, None).await.is_ok());
        let both = keys(&store).await;
        assert!(both.len() == 2 && both.contains(&taken[0]), "{both:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_taken_over_while_it_is_not_clear_whose_it_is_or_somebody_works() {
        let both = several(&["orders", "clicks"]).await;
        let store = table(&[lease(0, None)]).await;
        let before = keys(&store).await;
        let told = decide(&both, true, &store, None).await.expect_err("refused");
        assert!(told.contains("which is not recorded"), "{told}");
        let elsewhere = Some(StreamIdentity::new("views", None));
        let told = decide(&both, true, &store, elsewhere).await.expect_err("refused");
        assert!(told.contains("which is views"), "{told}");
        let remade = Some(StreamIdentity::new("orders", Some(17)));
        let told = decide(&both, true, &store, remade).await.expect_err("refused");
        assert!(told.contains("by now"), "{told}");
        assert_eq!(keys(&store).await, before);

        let store = table(&[lease(0, Some("java"))]).await;
        let renewing = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let seen = store.get(&"shardId-000000000000".into()).await;
            let seen = seen.expect("answered").expect("there");
            let mut renewed = seen.clone();
            renewed.counter += 1;
            assert!(store.delete(&seen).await.expect("answered"));
            assert!(store.create(&renewed).await.expect("answered"));
        };
        let recorded = Some(StreamIdentity::new("orders", None));
        let (told, ()) = tokio::join!(decide(&both, true, &store, recorded), renewing);
        let told = told.expect_err("refused");
        assert!(told.contains("java has shardId-000000000000"), "{told}");
        assert_eq!(keys(&store).await, before);
    }
}
