//! What is paused, as whoever has a handle said.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How often a paused shard's lease is asked whether the pause is over.
const LOOK: Duration = Duration::from_secs(1);

/// The worker as a whole, and single shards of it, whether it has them or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pauses {
    all: bool,
    /// By the keys of their leases.
    shards: BTreeSet<String>,
    /// Streams that are not to be read any more, of several.
    streams: BTreeSet<String>,
}

impl Pauses {
    pub(crate) fn set_all(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.all, paused) != paused
    }

    pub(crate) fn set(&mut self, shard: &str, paused: bool) -> bool {
        if paused {
            self.shards.insert(shard.to_owned())
        } else {
            self.shards.remove(shard)
        }
    }

    pub(crate) fn set_streams(&mut self, streams: BTreeSet<String>) -> bool {
        let is_news = self.streams != streams;
        self.streams = streams;
        is_news
    }

    pub(crate) fn has_all(&self) -> bool {
        self.all
    }

    fn has(&self, shard: &str) -> bool {
        self.all || self.shards.contains(shard) || self.has_stream_of(shard)
    }

    fn has_stream_of(&self, shard: &str) -> bool {
        let stream = shard.rsplit_once(':').map(|(stream, _)| stream);
        stream.is_some_and(|stream| self.streams.contains(stream))
    }
}

/// One shard's view of them.
#[derive(Debug, Clone)]
pub(crate) struct PauseWatch(watch::Receiver<Pauses>);

impl PauseWatch {
    pub(crate) fn new(pauses: &watch::Sender<Pauses>) -> Self {
        Self(pauses.subscribe())
    }

    pub(crate) fn has(&self, shard: &str) -> bool {
        self.0.borrow().has(shard)
    }

    /// Whether its stream is not to be read any more.
    pub(crate) fn has_stream_of(&self, shard: &str) -> bool {
        self.0.borrow().has_stream_of(shard)
    }

    /// Completes when the shard is paused, here or by its lease.
    pub(crate) async fn paused(&mut self, shard: &str, by_lease: impl Fn() -> bool) {
        let pauses = |pauses: &Pauses| pauses.has(shard) || by_lease();
        if self.0.wait_for(pauses).await.is_err() {
            // The worker is gone, and nobody is left to pause it.
            std::future::pending::<()>().await;
        }
    }

    /// Completes when the shard is not paused, neither here nor by its lease, as `by_lease` tells whenever something has changed here,
    /// and once a second: an operator may have written it into the lease.
    pub(crate) async fn resumed(&mut self, shard: &str, by_lease: impl Fn() -> bool) {
        loop {
            let goes_on = |pauses: &Pauses| !pauses.has(shard) && !by_lease();
            let result = timeout(LOOK, self.0.wait_for(goes_on)).await;
            match result.map(|result| result.is_ok()) {
                Ok(true) => return,
                // The worker is gone, and nobody is left to resume it.
                Ok(false) => std::future::pending::<()>().await,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_an_operator_ends_in_the_lease_is_over_within_a_second() {
        let sender = watch::Sender::new(Pauses::default());
        let mut watch = PauseWatch::new(&sender);
        let is_paused = AtomicBool::new(true);
        let by_lease = || is_paused.load(Ordering::Relaxed);
        let waiting = timeout(LOOK * 5, watch.resumed("a", by_lease)).await;
        assert!(waiting.is_err(), "still paused");
        is_paused.store(false, Ordering::Relaxed);
        timeout(LOOK, watch.resumed("a", by_lease))
            .await
            .expect("resumed");
        let resumes = async {
            tokio::time::sleep(LOOK * 3 / 2).await;
            is_paused.store(false, Ordering::Relaxed);
        };
        is_paused.store(true, Ordering::Relaxed);
        let both = async { tokio::join!(watch.resumed("a", by_lease), resumes) };
        timeout(LOOK * 2, both).await.expect("it looks again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_is_paused_by_itself_or_with_all_and_goes_on_when_neither_is_so() {
        let sender = watch::Sender::new(Pauses::default());
        let mut watch = PauseWatch::new(&sender);
        assert!(watch.resumed("a", || false).now_or_never().is_some());
        assert!(watch.paused("a", || false).now_or_never().is_none());
        assert!(watch.paused("a", || true).now_or_never().is_some());
        assert!(sender.send_if_modified(|pauses| pauses.set("a", true)));
        assert!(!sender.send_if_modified(|pauses| pauses.set("a", true)), "it is");
        assert!(watch.has("a") && !watch.has("b"));
        assert!(watch.paused("a", || false).now_or_never().is_some());
        assert!(watch.paused("b", || false).now_or_never().is_none());
        assert!(sender.send_if_modified(|pauses| pauses.set_all(true)));
        assert!(watch.has("b"));
        assert!(sender.send_if_modified(|pauses| pauses.set("a", false)));
        assert!(watch.resumed("a", || false).now_or_never().is_none(), "all are");
        assert!(sender.send_if_modified(|pauses| pauses.set_all(false)));
        assert!(watch.resumed("a", || false).now_or_never().is_some());
        assert!(watch.resumed("a", || true).now_or_never().is_none());
    }

    #[test]
    fn the_shards_of_a_stream_that_is_left_are_paused() {
        let sender = watch::Sender::new(Pauses::default());
        let watch = PauseWatch::new(&sender);
        let left = || BTreeSet::from(["1:orders:5".to_owned()]);
        assert!(sender.send_if_modified(|pauses| pauses.set_streams(left())));
        assert!(
            !sender.send_if_modified(|pauses| pauses.set_streams(left())),
            "it is"
        );
        assert!(watch.has("1:orders:5:a") && watch.has_stream_of("1:orders:5:a"));
        assert!(!watch.has("1:orders:6:a") && !watch.has("a"));
        assert!(sender.send_if_modified(|pauses| pauses.set_streams(BTreeSet::new())));
        assert!(!watch.has("1:orders:5:a"));
    }
}
