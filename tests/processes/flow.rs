//! How long shards stand still, as the results of the page views show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::ExtendedSequenceNumber;
use kcl_examples::pageviews::{Put, Results};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Looks at the results all the time.
pub(crate) struct Flow {
    seen: Arc<Mutex<Seen>>,
    results: Results,
    _looking: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// What a shard had counted, and when that last grew.
    shards: BTreeMap<String, (u64, Instant)>,
    /// The longest time without growth that is over, since somebody began to look.
    longest: BTreeMap<String, Duration>,
}

impl Flow {
    pub(crate) fn of(results: &Results) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (table, noted) = (results.clone(), seen.clone());
        let looking = tokio::spawn(async move {
            loop {
                let views = table.views().await.expect("read");
                note(
                    &mut lock(&noted),
                    views.into_iter().map(|view| (view.shard, view.views)),
                );
                sleep(LOOK).await;
            }
        });
        Self {
            seen,
            results: results.clone(),
            _looking: AbortOnDropHandle::new(looking),
        }
    }

    /// From now on the longest times count.
    pub(crate) fn begin(&self) {
        lock(&self.seen).longest.clear();
    }

    /// The shards that have counted something since then.
    pub(crate) fn flowing_since(&self, since: Instant) -> BTreeSet<String> {
        let seen = lock(&self.seen);
        let flowing = seen.shards.iter().filter(|(_, (_, grown_at))| *grown_at > since);
        flowing.map(|(shard, _)| id(shard).to_owned()).collect()
    }

    /// The longest time for which one of these shards stood still.
    pub(crate) fn longest_stall(&self, shards: &BTreeSet<String>) -> Duration {
        let seen = lock(&self.seen);
        let stalls = seen
            .longest
            .iter()
            .filter(|(shard, _)| shards.contains(id(shard)));
        stalls.map(|(_, stall)| *stall).max().unwrap_or_default()
    }

    /// The last record that each shard has counted.
    pub(crate) async fn positions(&self) -> BTreeMap<String, ExtendedSequenceNumber> {
        let mut positions = BTreeMap::<String, ExtendedSequenceNumber>::new();
        for view in self.results.views().await.expect("read") {
            let shard = id(&view.shard).to_owned();
            let last = positions
                .remove(&shard)
                .map_or(view.position.clone(), |last| last.max(view.position));
            positions.insert(shard, last);
        }
        positions
    }

    /// What is counted, by page.
    pub(crate) async fn counted(&self) -> Put {
        let mut pages = Put::new();
        for view in self.results.views().await.expect("read") {
            *pages.entry(view.page).or_default() += view.views;
        }
        pages
    }
}

/// A shard's id without the stream's.
fn id(shard: &str) -> &str {
    shard.split(' ').next().unwrap_or(shard)
}

fn note(seen: &mut Seen, rows: impl Iterator<Item = (String, u64)>) {
    let (now, mut totals) = (Instant::now(), BTreeMap::<_, u64>::new());
    for (shard, views) in rows {
        *totals.entry(shard).or_default() += views;
    }
    for (shard, total) in totals {
        let (before, grown_at) = *seen.shards.entry(shard.clone()).or_insert((0, now));
        if total > before {
            let stood = seen.longest.entry(shard.clone()).or_default();
            *stood = (*stood).max(now.duration_since(grown_at));
            seen.shards.insert(shard, (total, now));
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
