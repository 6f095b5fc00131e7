use std::sync::PoisonError;

use super::*;

/// An outlet that does what it is told, and remembers what it took.
#[derive(Clone, Default)]
struct Moody(Arc<Mutex<Moods>>);

#[derive(Default)]
struct Moods {
    mood: Mood,
    /// When a minute began, in seconds, and how many data came.
    taken: Vec<(u64, usize)>,
    /// Attempts, those under way, and the most that were under way at once.
    attempts: usize,
    under_way: usize,
    most_under_way: usize,
    parcels: usize,
}

#[derive(Default, Clone, Copy)]
enum Mood {
    #[default]
    Takes,
    Refuses,
    Throttles,
    Swallows,
}

impl Moody {
    fn moods(&self) -> MutexGuard<'_, Moods> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, mood: Mood) {
        self.moods().mood = mood;
    }
}

struct UnderWay(Moody);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.moods().under_way -= 1;
    }
}

impl Outlet for Moody {
    type Body = (u64, usize);

    const NAME: &'static str = "the test";

    fn pack(&self, began: SystemTime, data: &[Datum]) -> Vec<Parcel<(u64, usize)>> {
        let began = began.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let parcels = self.moods().parcels.max(1);
        let parcel = |_| Parcel {
            data: data.len(),
            body: (began, data.len()),
        };
        (0..parcels).map(parcel).collect()
    }

    async fn send(&mut self, body: &(u64, usize)) -> Result<(), Refusal> {
        let mood = {
            let mut moods = self.moods();
            moods.attempts += 1;
            moods.under_way += 1;
            moods.most_under_way = moods.most_under_way.max(moods.under_way);
            moods.mood
        };
        let _under_way = UnderWay(self.clone());
        match mood {
            Mood::Takes => {
                self.moods().taken.push(*body);
                Ok(())
            }
            Mood::Refuses => Err(Refusal::Never("it is wrong".to_owned())),
            Mood::Throttles => Err(Refusal::NotNow {
                code: "throttled",
                text: "too much".to_owned(),
            }),
            Mood::Swallows => std::future::pending().await,
        }
    }
}

/// A minute's number, and some seconds into it.
const BEGAN: u64 = 1_800_000_000 + 20;

/// An exporter in virtual time.
fn exporter(outlet: &Moody) -> Exporter {
    let started = Instant::now();
    let clock = move || UNIX_EPOCH + Duration::from_secs(BEGAN) + started.elapsed();
    let numbers = CloudWatch::new("orders").environment(Environment::seeded(7, clock));
    numbers.start(outlet.clone()).expect("started")
}

fn tell(exporter: &Exporter) {
    exporter.recorder().set(Gauge::LeasesHeld, Labels::NONE, 3.0);
}

async fn minutes(count: u32) {
    sleep(MINUTE * count).await;
}

#[tokio::test(start_paused = true)]
async fn each_minute_of_the_clock_is_told_once() {
    let outlet = Moody::default();
    let exporter = exporter(&outlet);
    tell(&exporter);
    minutes(5).await;
    let taken = outlet.moods().taken.clone();
    let began: Vec<_> = taken.iter().map(|(began, _)| began - 1_800_000_000).collect();
    assert_eq!(began, [0, 60, 120, 180, 240]);
    assert!(
        taken.iter().all(|(_, data)| *data == 4),
        "a gauge and three zeros: {taken:?}"
    );
    assert_eq!(exporter.finish().await, 0);
    let last = outlet.moods().taken.last().copied();
    assert_eq!(
        last,
        Some((1_800_000_300, 4)),
        "what there was of the last minute"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_comes_later_and_in_order() {
    let outlet = Moody::default();
    let exporter = exporter(&outlet);
    outlet.is(Mood::Throttles);
    minutes(10).await;
    assert_eq!(outlet.moods().taken, []);
    assert!(outlet.moods().attempts <= 10, "one attempt a minute");
    outlet.is(Mood::Takes);
    minutes(1).await;
    let taken = outlet.moods().taken.clone();
    let began: Vec<_> = taken
        .iter()
        .map(|(began, _)| (began - 1_800_000_000) / 60)
        .collect();
    assert_eq!(began, (0..11).collect::<Vec<_>>());
    assert_eq!(exporter.lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_the_oldest_is_dropped() {
    let outlet = Moody::default();
    outlet.moods().parcels = 500;
    let exporter = exporter(&outlet);
    outlet.is(Mood::Swallows);
    minutes(30).await;
    assert_eq!(outlet.moods().most_under_way, 1, "one attempt at a time");
    // Three zeros in each parcel.
    let told = 30 * 500 * 3;
    assert_eq!(exporter.lost(), told - MOST_WAITING as u64 / 3 * 3);
    outlet.is(Mood::Takes);
    minutes(2).await;
    let oldest = outlet.moods().taken.first().copied().expect("taken");
    assert!(
        oldest.0 >= 1_800_000_000 + 23 * 60,
        "the oldest are gone: {oldest:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_dropped_alone() {
    let outlet = Moody::default();
    let exporter = exporter(&outlet);
    outlet.is(Mood::Refuses);
    minutes(2).await;
    outlet.is(Mood::Takes);
    minutes(2).await;
    assert_eq!(outlet.moods().taken.len(), 2);
    assert_eq!(exporter.finish().await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_does_not_wait_for_long() {
    for before in [Duration::from_secs(5), Duration::from_secs(55)] {
        let outlet = Moody::default();
        let exporter = exporter(&outlet);
        outlet.is(Mood::Swallows);
        sleep(before).await;
        let asked = Instant::now();
        let lost = exporter.finish().await;
        assert!(asked.elapsed() <= LAST_ATTEMPTS, "{:?}", asked.elapsed());
        assert!(lost >= 3, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_or_jumps_keeps_nobody_busy() {
    let jumps = Arc::new(AtomicU64::new(BEGAN));
    let clock = {
        let jumps = Arc::clone(&jumps);
        move || UNIX_EPOCH + Duration::from_secs(jumps.load(Ordering::Relaxed))
    };
    let outlet = Moody::default();
    let numbers = CloudWatch::new("orders").environment(Environment::seeded(7, clock));
    let exporter = numbers.start(outlet.clone()).expect("started");
    minutes(10).await;
    jumps.store(BEGAN / 2, Ordering::Relaxed);
    minutes(10).await;
    jumps.store(u64::from(u32::MAX), Ordering::Relaxed);
    minutes(10).await;
    let attempts = outlet.moods().attempts;
    assert!((15..=60).contains(&attempts), "{attempts}");
    exporter.finish().await;
}

#[test]
fn outside_of_a_runtime_it_says_what_to_do() {
    let error = CloudWatch::new("orders")
        .start(Moody::default())
        .expect_err("none");
    assert!(error.to_string().contains("#[tokio::main]"), "{error}");
}
