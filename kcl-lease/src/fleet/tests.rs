use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use tokio::task::AbortHandle;
use tokio::time::{Instant, advance, sleep, timeout};

use super::*;
use crate::checkpoint::Checkpoint;
use crate::ids::LeaseKey;
use crate::keeper::{LossReason, Standing};
use crate::lease::Lease;
use crate::load::{Load, LoadError, LoadSource};
use crate::plan::Balancing;
use crate::store::flaky::FlakyStore;
use crate::store::{LeaseChange, MemoryLeaseStore, WorkerRow, WriteOutcome};

const FAILOVER: Duration = Duration::from_secs(10);

/// A worker with a processor that gives every lease up as soon as it is asked to.
struct TestWorker {
    fleet: Fleet,
    processor: AbortHandle,
}

impl TestWorker {
    async fn join(store: &Arc<dyn LeaseStore>, id: &str) -> Self {
        Self::join_with(store, id, |_| {}).await
    }

    async fn join_with(
        store: &Arc<dyn LeaseStore>,
        id: &str,
        configure: impl FnOnce(&mut FleetOptions),
    ) -> Self {
        let start = Instant::now();
        let seed = id.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte));
        let epoch = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let env = Environment::seeded(seed, move || epoch + start.elapsed());
        let mut options = FleetOptions::with_failover_time(id, FAILOVER);
        configure(&mut options);
        let (fleet, mut acquired) = Fleet::join(Arc::clone(store), options, env).await.unwrap();
        let processor = tokio::spawn(async move {
            let mut leases = JoinSet::new();
            while let Some(held) = acquired.recv().await {
                leases.spawn(async move {
                    let mut watching = held.watch();
                    let _ = watching.wait_for(|standing| *standing != Standing::Held).await;
                    let _ = held.give_up().await;
                });
            }
        });
        Self {
            fleet,
            processor: processor.abort_handle(),
        }
    }

    fn count(&self) -> usize {
        self.fleet.held().iter().filter(|held| held.is_valid()).count()
    }

    fn leads(&self) -> bool {
        *self.fleet.leadership().borrow()
    }

    fn kill(self) {
        self.fleet.abandon();
        self.processor.abort();
    }

    async fn stop(self) {
        self.fleet.prepare_to_leave().await;
        let left = async {
            while !self.fleet.held().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(FAILOVER, left)
            .await
            .expect("processors give their leases up");
        self.fleet.leave().await;
    }
}

async fn table_of(leases: usize) -> Arc<dyn LeaseStore> {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
    fill(&store, leases).await;
    store
}

async fn fill(store: &Arc<dyn LeaseStore>, leases: usize) {
    for i in 0..leases {
        assert!(
            store
                .create(&Lease::new(format!("s{i:02}"), Checkpoint::TrimHorizon))
                .await
                .unwrap()
        );
    }
}

/// Waits until the workers hold these numbers of leases, in any order; how long it took.
async fn until_held(workers: &[&TestWorker], expected: &[usize], limit: Duration) -> Duration {
    let start = Instant::now();
    let counts = || {
        let mut counts: Vec<_> = workers.iter().map(|worker| worker.count()).collect();
        counts.sort_unstable();
        counts
    };
    while counts() != expected {
        assert!(
            start.elapsed() < limit,
            "after {limit:?} the workers hold {:?}, not {expected:?}",
            counts()
        );
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_lone_worker_takes_everything_at_once() {
    let store = table_of(8).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[8], Duration::from_millis(500)).await;
    assert!(a.leads());
    assert_eq!(a.fleet.status().workers, Some(1));
}

#[tokio::test(start_paused = true)]
async fn five_workers_that_start_together_share_evenly() {
    let store = table_of(10).await;
    let workers =
        futures_util::future::join_all(["a", "b", "c", "d", "e"].map(|id| TestWorker::join(&store, id)))
            .await;
    let all: Vec<_> = workers.iter().collect();
    until_held(&all, &[2, 2, 2, 2, 2], Duration::from_secs(8)).await;
    assert_eq!(workers.iter().filter(|worker| worker.leads()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_gets_its_share_in_seconds() {
    let store = table_of(8).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[8], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(20)).await;
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&a, &b], &[4, 4], Duration::from_secs(7)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_worker_s_leases_flow_again_soon_after_the_fail_over_time() {
    for victim_leads in [false, true] {
        let store = table_of(8).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[8], Duration::from_secs(1)).await;
        let b = TestWorker::join(&store, "b").await;
        let c = TestWorker::join(&store, "c").await;
        until_held(&[&a, &b, &c], &[2, 3, 3], Duration::from_secs(10)).await;
        sleep(Duration::from_secs(33)).await;
        assert!(a.leads());
        let (victim, rest) = if victim_leads { (a, [b, c]) } else { (c, [a, b]) };
        victim.kill();
        let took = until_held(&[&rest[0], &rest[1]], &[4, 4], Duration::from_secs(13)).await;
        assert!(
            took > Duration::from_secs(6),
            "nobody may take a lease before it can be expired: {took:?}"
        );
    }
}

/// Waits until the workers hold all these leases between them.
async fn until_taken(leases: &BTreeSet<LeaseKey>, workers: &[TestWorker]) {
    let is_held = |key: &LeaseKey| {
        let held = workers.iter().flat_map(|worker| worker.fleet.held());
        held.filter(HeldLease::is_valid).any(|held| held.key() == key)
    };
    while !leases.iter().all(is_held) {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_worker_s_leases_do_not_wait_longer_when_the_leader_changes_meanwhile() {
    for (part, leader_is_killed) in [
        (0.1, false),
        (0.3, false),
        (0.6, false),
        (0.9, false),
        (0.8, true),
    ] {
        let store = table_of(10).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[10], Duration::from_secs(1)).await;
        let rest =
            futures_util::future::join_all(["b", "c", "d", "e"].map(|id| TestWorker::join(&store, id)));
        let mut rest = rest.await;
        let all: Vec<_> = std::iter::once(&a).chain(&rest).collect();
        until_held(&all, &[2, 2, 2, 2, 2], Duration::from_secs(10)).await;
        sleep(Duration::from_secs(33)).await;
        assert!(a.leads());

        let victim = rest.remove(0);
        let orphans: BTreeSet<_> = victim
            .fleet
            .held()
            .iter()
            .map(|held| held.key().clone())
            .collect();
        victim.kill();
        let killed_at = Instant::now();
        sleep(FAILOVER.mul_f64(part)).await;
        if leader_is_killed {
            a.kill();
            // The lock is free after half of the fail-over time.
            until_taken(&orphans, &rest).await;
        } else {
            a.stop().await;
            sleep(Duration::from_millis(1500)).await;
            let leading = rest.iter().position(TestWorker::leads).expect("somebody leads");
            rest.remove(leading).stop().await;
            until_taken(&orphans, &rest).await;
        }
        let took = killed_at.elapsed();
        let limit = if leader_is_killed {
            FAILOVER.mul_f64(part + 0.5)
        } else {
            FAILOVER
        };
        assert!(
            took > Duration::from_secs(6),
            "nobody may take a lease before it can be expired: {took:?}"
        );
        assert!(
            took < limit + Duration::from_millis(1500),
            "at {part} of the fail-over time: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_hands_its_leases_over_within_two_seconds() {
    for leader_stops in [false, true] {
        let store = table_of(6).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[6], Duration::from_secs(1)).await;
        let b = TestWorker::join(&store, "b").await;
        let c = TestWorker::join(&store, "c").await;
        until_held(&[&a, &b, &c], &[2, 2, 2], Duration::from_secs(10)).await;
        sleep(Duration::from_secs(10)).await;
        let (leaver, rest) = if leader_stops { (a, [b, c]) } else { (c, [a, b]) };
        let leaving = tokio::spawn(leaver.stop());
        until_held(&[&rest[0], &rest[1]], &[3, 3], Duration::from_secs(2)).await;
        leaving.await.unwrap();
        let snapshot = store.scan().await.unwrap();
        assert_eq!(snapshot.workers.len(), 2, "the leaver's row is gone");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(rest.iter().filter(|worker| worker.leads()).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_while_leases_are_on_their_way_to_it_strands_none() {
    for pause in (0..4500).step_by(100).map(Duration::from_millis) {
        let store = table_of(8).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[8], Duration::from_secs(1)).await;
        let b = TestWorker::join(&store, "b").await;
        sleep(pause).await;
        b.stop().await;
        until_held(&[&a], &[8], Duration::from_millis(5500)).await;
    }
}

/// A hand-off from a worker that was cut off and has lost the lease: nobody but this worker knows that it is free.
#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_finishes_hand_offs_of_leases_that_it_lost() {
    let store = table_of(1).await;
    let key = LeaseKey::from("s00");
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[1], Duration::from_secs(5)).await;
    a.processor.abort();
    a.fleet.held()[0].lose(LossReason::Expired);
    let lease = store.get(&key).await.unwrap().unwrap();
    let to = "b".into();
    let began = store
        .write(&lease, &LeaseChange::BeginHandOff { to })
        .await
        .unwrap();
    assert!(matches!(began, WriteOutcome::Applied(_)));

    a.fleet.prepare_to_leave().await;
    a.fleet.leave().await;

    let left = store.get(&key).await.unwrap().unwrap();
    assert_eq!(left.owner, Some("b".into()));
    assert_eq!(left.checkpoint_owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_worker_frees_a_lease_that_it_lost_only_when_the_processor_has_let_go() {
    let store = table_of(1).await;
    let env = Environment::seeded(1, || UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let options = FleetOptions::with_failover_time("a", FAILOVER);
    let (fleet, mut acquired) = Fleet::join(Arc::clone(&store), options, env).await.unwrap();
    let held = acquired.recv().await.expect("the only worker gets it");
    let owner = async || store.get(held.key()).await.unwrap().unwrap().owner;
    held.lose(LossReason::Expired);
    fleet.prepare_to_leave().await;
    assert_eq!(owner().await, Some("a".into()), "it is still at work");
    fleet.leave().await;
    assert_eq!(owner().await, None);
}

/// It holds one lease.
async fn worker_behind_a_lagging_index() -> (Arc<dyn LeaseStore>, TestWorker) {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = flaky.clone();
    fill(&store, 1).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[1], Duration::from_secs(1)).await;
    flaky.set_index_lags(true);
    (store, a)
}

fn created_by(id: &str, key: &str) -> Lease {
    Lease::new(key, Checkpoint::TrimHorizon).owned_by(id.into())
}

#[tokio::test(start_paused = true)]
async fn a_worker_takes_up_at_once_what_it_created_as_its_own_though_the_index_lags() {
    let (store, a) = worker_behind_a_lagging_index().await;
    let ours = [created_by("a", "s01"), created_by("b", "s02")];
    for lease in &ours {
        store.create(lease).await.unwrap();
    }
    a.fleet.take_up(ours.into_iter().map(|lease| lease.key));
    until_held(&[&a], &[2], Duration::from_millis(20)).await;
    sleep(Duration::from_millis(20)).await;
    assert!(!a.fleet.shared.keeper.holds(&"s02".into()), "another worker's");
    assert!(a.fleet.shared.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_gives_back_what_it_created_as_its_own_though_the_index_lags() {
    let (store, a) = worker_behind_a_lagging_index().await;
    a.fleet.prepare_to_leave().await;
    let late = created_by("a", "s01");
    store.create(&late).await.unwrap();
    a.fleet.take_up([late.key.clone()]);
    a.fleet.leave().await;
    assert_eq!(store.get(&late.key).await.unwrap().unwrap().owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_room_for_as_many_leases_as_it_may_have_until_it_leaves() {
    let store = table_of(3).await;
    let a = TestWorker::join_with(&store, "a", |options| options.max_leases = 4).await;
    until_held(&[&a], &[3], Duration::from_secs(1)).await;
    let room_after = |key: &str| a.fleet.room_after(&key.into());
    assert_eq!((room_after("s00"), room_after("elsewhere")), (2, 1));
    a.fleet.take_up(["s03".into()]);
    assert_eq!(room_after("s00"), 1);
    let ending = a.fleet.held().remove(1);
    ending.checkpoint(Checkpoint::ShardEnd).await.unwrap();
    assert_eq!(room_after("s00"), 2);
    a.fleet.prepare_to_leave().await;
    assert_eq!(room_after("s00"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_worker_to_stop_leaves_nothing_behind_and_a_restart_is_immediate() {
    let store = table_of(4).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[4], Duration::from_secs(1)).await;
    a.stop().await;
    let snapshot = store.scan().await.unwrap();
    assert!(snapshot.leases.iter().all(|lease| lease.owner.is_none()));
    assert!(snapshot.workers.is_empty());
    assert_eq!(store.read_leader().await.unwrap(), None);
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&b], &[4], Duration::from_millis(500)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_cut_off_from_the_table_gives_up_before_anybody_takes_over() {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = Arc::clone(&flaky) as _;
    fill(&store, 4).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[4], Duration::from_secs(1)).await;
    flaky.set_cut_off(true);
    sleep(FAILOVER - Duration::from_secs(4)).await;
    assert_eq!(a.count(), 4, "a short outage changes nothing");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(a.count(), 0);
    flaky.set_cut_off(false);
    until_held(&[&a], &[4], Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn at_no_moment_do_two_workers_believe_that_they_own_a_lease() {
    let store = table_of(12).await;
    let mut workers: BTreeMap<usize, TestWorker> = BTreeMap::new();
    for step in 0..40_usize {
        let name = format!("w{step}");
        match step % 4 {
            0 | 1 => drop(workers.insert(step, TestWorker::join(&store, &name).await)),
            2 => workers.pop_first().expect("some run").1.kill(),
            _ => {
                if workers.len() > 2 {
                    let (_, leaver) = workers.pop_last().expect("some run");
                    tokio::spawn(leaver.stop());
                }
            }
        }
        for _ in 0..30 {
            advance(Duration::from_millis(100)).await;
            sleep(Duration::from_millis(20)).await;
            let mut owners: BTreeMap<String, usize> = BTreeMap::new();
            for held in workers
                .values()
                .flat_map(|worker| worker.fleet.held())
                .filter(HeldLease::is_valid)
            {
                *owners.entry(held.key().to_string()).or_default() += 1;
            }
            assert!(
                owners.values().all(|count| *count == 1),
                "step {step}: {owners:?}"
            );
        }
    }
    let all: Vec<_> = workers.values().collect();
    let total = || all.iter().map(|worker| worker.count()).sum::<usize>();
    let start = Instant::now();
    while total() != 12 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "only {} leases are held",
            total()
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_leader_forgets_workers_that_have_been_silent_for_a_day() {
    let store = table_of(2).await;
    for (id, age) in [("old", 86_500), ("recent", 3600)] {
        let row = WorkerRow {
            id: id.into(),
            reported_at: 1_800_000_000 - age,
            report_number: 0,
            report_period: None,
            metrics: BTreeMap::new(),
        };
        store.report(&row).await.unwrap();
    }
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[2], Duration::from_secs(1)).await;
    sleep(FAILOVER).await;
    let workers = store.scan().await.unwrap().workers;
    let ids: Vec<_> = workers.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["a", "recent"]);
}

#[tokio::test(start_paused = true)]
async fn joining_is_refused_with_advice_under_a_reserved_id_or_in_a_fleet_of_another_protocol() {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
    let join = |id: &str| Fleet::join(Arc::clone(&store), FleetOptions::new(id), Environment::system());
    for id in [
        "",
        "Leader",
        "Migration3.0",
        "TableMigration3.5",
        "shardId-000000000007",
        "123456789012:clicks:1:shardId-000000000007",
    ] {
        assert!(
            matches!(join(id).await, Err(JoinError::ReservedWorkerId(_))),
            "{id:?}"
        );
    }
    let old = ClientVersion {
        version: "CLIENT_VERSION_2X".into(),
        modified_by: "java".into(),
        modified_at: 1,
    };
    store.agree_on_version(&old).await.unwrap();
    let refusal = join("w").await.expect_err("refused").to_string();
    assert!(
        refusal.contains("CLIENT_VERSION_2X") && refusal.contains("finish the migration"),
        "{refusal}"
    );
    assert!(
        store.scan().await.unwrap().workers.is_empty(),
        "and nothing was written"
    );
}

/// As busy as it is told to be; at 101 % its source fails.
#[derive(Debug, Clone, Default)]
struct Dial(Arc<std::sync::atomic::AtomicU8>);

impl Dial {
    fn turn_to(&self, percent: u8) {
        self.0.store(percent, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl LoadSource for Dial {
    async fn sample(&self) -> Result<f64, LoadError> {
        Ok(f64::from(self.0.load(Ordering::Relaxed)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_load_cannot_be_measured_is_given_nothing_until_it_can() {
    let store = table_of(4).await;
    let (a, b) = (Dial::default(), Dial::default());
    let reporting = |dial: &Dial| {
        let load = Load::from_source(dial.clone());
        move |options: &mut FleetOptions| options.load = load
    };
    let first = TestWorker::join_with(&store, "a", reporting(&a)).await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    b.turn_to(101);
    let second = TestWorker::join_with(&store, "b", reporting(&b)).await;
    sleep(FAILOVER).await;
    assert_eq!(second.count(), 0);
    assert_eq!(
        store.scan().await.unwrap().workers[1].metrics["C"].samples,
        [-1.0]
    );
    b.turn_to(0);
    until_held(&[&first, &second], &[2, 2], Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_busier_than_the_others_gives_leases_away_unless_only_their_number_counts() {
    for (balancing, expected) in [(Balancing::Utilization, [1, 3]), (Balancing::Count, [2, 2])] {
        let store = table_of(4).await;
        let (a, b) = (Dial::default(), Dial::default());
        let reporting = |dial: &Dial| {
            let load = Load::from_source(dial.clone());
            move |options: &mut FleetOptions| (options.load, options.balancing) = (load, balancing)
        };
        let first = TestWorker::join_with(&store, "a", reporting(&a)).await;
        let second = TestWorker::join_with(&store, "b", reporting(&b)).await;
        until_held(&[&first, &second], &[2, 2], Duration::from_secs(5)).await;
        a.turn_to(90);
        b.turn_to(10);
        sleep(Duration::from_secs(110)).await;
        assert_eq!([first.count(), second.count()], expected, "{balancing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_large_fleet_three_get_ready_to_lead_and_one_of_them_does() {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = Arc::clone(&flaky) as _;
    fill(&store, 20).await;
    let mut workers = Vec::new();
    for i in 0..20 {
        workers.push(TestWorker::join(&store, &format!("w{i:02}")).await);
    }
    let all: Vec<_> = workers.iter().collect();
    until_held(&all, &[1; 20], FAILOVER).await;
    sleep(FAILOVER).await;
    let leader = workers
        .iter()
        .position(TestWorker::leads)
        .expect("somebody leads");
    let leader = workers.remove(leader);
    let heirs = store.read_leader().await.unwrap().expect("a lock").heirs;
    assert_eq!(heirs.len(), 3);
    leader.kill();
    let (killed_at, scans) = (Instant::now(), flaky.scans());
    let successor = loop {
        if let Some(successor) = workers.iter().find(|worker| worker.leads()) {
            break successor.fleet.worker_id().clone();
        }
        assert!(killed_at.elapsed() < FAILOVER * 7 / 10, "nobody leads");
        sleep(Duration::from_millis(100)).await;
    };
    assert!(heirs.contains(&successor));
    // They look every second, in the last 3.5 s of the lock.
    let most = 3 * 5;
    let scans = flaky.scans() - scans;
    assert!((3..=most).contains(&scans), "{scans} scans");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_heirs_die_with_the_leader_is_led_by_another() {
    let store = table_of(12).await;
    let mut workers = Vec::new();
    for i in 0..6 {
        workers.push(TestWorker::join(&store, &format!("w{i:02}")).await);
    }
    let all: Vec<_> = workers.iter().collect();
    until_held(&all, &[2; 6], FAILOVER).await;
    sleep(FAILOVER).await;
    let lock = store.read_leader().await.unwrap().expect("a lock");
    let (rest, gone): (Vec<_>, Vec<_>) = workers.into_iter().partition(|worker| {
        let id = worker.fleet.worker_id();
        *id != lock.owner && !lock.heirs.contains(id)
    });
    assert_eq!((rest.len(), gone.len()), (2, 4));
    for worker in gone {
        worker.kill();
    }
    let rest: Vec<_> = rest.iter().collect();
    // Nobody was there to see how long the leases of the dead stood still.
    until_held(&rest, &[6, 6], FAILOVER * 2).await;
}
