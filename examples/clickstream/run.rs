//! What every run has in common: the view that is kept up to date, and the wait for the consumers to catch up.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::Fleet;
use crate::ledger::Totals;
use crate::stage::Stage;
use crate::view::Scene;

/// Rates are averages over about this time.
const AVERAGED: Duration = Duration::from_secs(2);

/// How much of the source was read, in thousandths; shared by the producer and the view.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(crate) fn set(&self, share: f64) {
        self.0.store((share * 1_000.0) as u64, Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1_000.0
    }
}

/// Shows what happens.
pub(crate) struct Show {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Show {
    pub(crate) fn begin(stage: &Arc<Stage>, fleet: &Arc<Fleet>, progress: Option<Progress>) -> Self {
        let (stage, fleet) = (stage.clone(), fleet.clone());
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut past = VecDeque::new();
            loop {
                let is_over = timeout(stage.view().period(), &mut ended).await.is_ok();
                let progress = progress.as_ref().map(Progress::get);
                stage.view().show(&scene(&stage, &fleet, progress, &mut past));
                if is_over {
                    return stage.view().close();
                }
            }
        });
        Self { task, end }
    }

    /// Shows how it ended, and leaves it on the screen.
    pub(crate) async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

/// `past` are the moments of the last seconds, for the rates.
fn scene(
    stage: &Stage,
    fleet: &Fleet,
    progress: Option<f64>,
    past: &mut VecDeque<(Duration, Totals)>,
) -> Scene {
    let (totals, behind) = {
        let books = stage.books();
        (books.ledger.totals().clone(), books.ledger.behind())
    };
    let now = stage.now();
    past.push_back((now, totals.clone()));
    while past.len() > 2 && past[1].0 + AVERAGED <= now {
        past.pop_front();
    }
    let (then, before) = &past[0];
    let since = (now - *then).max(Duration::from_millis(1));
    let mut rows = fleet.rows();
    for row in &mut rows {
        let of = |totals: &Totals| totals.by_worker.get(row.worker.as_str()).copied().unwrap_or(0);
        row.rate = (of(&totals) - of(before)) as f64 / since.as_secs_f64();
    }
    Scene {
        at: now,
        progress,
        put: totals.put,
        processed: totals.unique + totals.foreign,
        behind,
        rows,
    }
}

/// Waits until everything put was processed and every orphaned shard has an owner; says how long that took.
///
/// # Errors
/// It took longer than `patience`, or `give_up` came first, with its reason.
pub(crate) async fn drain(
    stage: &Stage,
    patience: Duration,
    give_up: impl Future<Output = String>,
) -> Result<Duration, String> {
    let began = Instant::now();
    let is_drained = || {
        let books = stage.books();
        books.ledger.behind() == 0 && books.take_overs.orphans() == 0
    };
    let wait = async {
        while !is_drained() {
            sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    tokio::select! {
        biased;
        time = wait => Ok(time),
        reason = give_up => Err(reason),
        () = sleep(patience) => Err(format!("the workers did not catch up within {} s", patience.as_secs())),
    }
}

/// Completes when a worker ended that nobody has stopped, and says why.
pub(crate) async fn failure(fleet: &Fleet) -> String {
    loop {
        if let Some(failure) = fleet.failure().await {
            return failure;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
