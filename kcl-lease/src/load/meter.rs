//! Samples a source and keeps what is to be reported.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::history::History;
use super::machine::Machine;
use super::{Load, LoadError, LoadSource};
use crate::environment::Environment;
use crate::health::{Activity, Health};
use crate::store::WorkerMetric;

/// How often is sampled; the Java KCL's default `inMemoryWorkerMetricsCaptureFrequencyMillis`.
const PERIOD: Duration = Duration::from_secs(1);
/// The start of a worker waits no longer than this for the first sample.
const PATIENCE_AT_START: Duration = Duration::from_millis(250);
const SAMPLING: Activity = Activity {
    code: "load-unmeasured",
    doing: "measuring the load",
};

/// How a worker's load is measured and reported; see the options of the fleet of the same names.
#[derive(Debug, Clone)]
pub(crate) struct MeterOptions {
    pub(crate) load: Load,
    pub(crate) max_utilization: u8,
    pub(crate) report_interval: Duration,
}

/// The load of this worker.
#[derive(Debug)]
pub(crate) struct Meter {
    source: Option<Arc<dyn LoadSource>>,
    max_utilization: f64,
    /// Whether the source was asked for by the user, so that it must work.
    is_trusted: bool,
    history: Mutex<History>,
}

impl Meter {
    /// Takes the first sample, with which a measurement begins.
    pub(crate) async fn start(options: &MeterOptions, env: &Environment) -> Self {
        let source: Option<Arc<dyn LoadSource>> = match &options.load {
            Load::Cpu if env.is_system() => Some(Arc::new(Machine::default())),
            Load::Cpu | Load::Unreported => None,
            Load::Source(source) => Some(Arc::clone(source)),
        };
        let is_trusted = matches!(options.load, Load::Source(_));
        let history = History::new(is_trusted, options.report_interval, Instant::now());
        let meter = Self {
            source,
            max_utilization: f64::from(options.max_utilization.clamp(1, 100)),
            is_trusted,
            history: Mutex::new(history),
        };
        if let Some(source) = &meter.source {
            match sample(&**source, PATIENCE_AT_START).await {
                Ok(percent) => meter.history().record(percent),
                Err(error) => tracing::info!(%error, "the load of this worker cannot be measured yet"),
            }
        }
        meter
    }

    /// Whether there is anything to measure.
    pub(crate) fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Samples every second, for ever. A source that the user asked for and that fails is a problem of the worker.
    pub(crate) async fn keep_sampling(&self, health: &Health) {
        let Some(source) = &self.source else { return };
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            match sample(&**source, PERIOD).await {
                Ok(percent) => {
                    self.history().record(percent);
                    health.succeeded(SAMPLING);
                }
                Err(error) if self.is_trusted => health.failed(SAMPLING, &error),
                Err(error) => tracing::debug!(%error, "the CPU could not be measured"),
            }
        }
    }

    /// What belongs into the worker's row now.
    pub(crate) fn report(&self) -> BTreeMap<String, WorkerMetric> {
        let samples = self.history().report(Instant::now());
        let metric = WorkerMetric {
            samples,
            max_utilization: self.max_utilization,
        };
        let metric = (!metric.samples.is_empty()).then(|| (WorkerMetric::CPU.to_owned(), metric));
        metric.into_iter().collect()
    }

    /// Whether a first measurement is still to come.
    pub(crate) fn has_just_begun(&self) -> bool {
        self.has_source() && self.history().has_just_begun(Instant::now())
    }

    /// Whether a first measurement is there to be reported.
    pub(crate) fn is_due(&self) -> bool {
        self.history().is_due()
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One sample, whatever the source does.
async fn sample(source: &dyn LoadSource, patience: Duration) -> Result<f64, LoadError> {
    let sampling = AssertUnwindSafe(source.sample()).catch_unwind();
    let percent = match timeout(patience, sampling).await {
        Ok(Ok(result)) => result?,
        Ok(Err(_)) => return Err("the load source panicked".into()),
        Err(_) => return Err(format!("the load source took longer than {patience:?}").into()),
    };
    if !(0.0..=100.0).contains(&percent) {
        return Err(format!("the load source measured {percent}; allowed are 0 to 100").into());
    }
    Ok(percent)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::UNIX_EPOCH;

    use async_trait::async_trait;
    use tokio::time::sleep;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Answer {
        Good(f64),
        Bad,
        Late,
        Panic,
    }

    /// Answers once each, the last one for ever.
    #[derive(Debug)]
    struct Scripted(Mutex<VecDeque<Answer>>);

    #[async_trait]
    impl LoadSource for Scripted {
        async fn sample(&self) -> Result<f64, LoadError> {
            let answer = {
                let mut answers = self.0.lock().unwrap();
                if answers.len() > 1 {
                    answers.pop_front()
                } else {
                    answers.front().copied()
                }
            };
            match answer.unwrap() {
                Answer::Good(percent) => Ok(percent),
                Answer::Bad => Err("no idea".into()),
                Answer::Late => {
                    sleep(PERIOD * 100).await;
                    Ok(1.0)
                }
                Answer::Panic => panic!("out of order"),
            }
        }
    }

    fn seeded() -> Environment {
        Environment::seeded(1, || UNIX_EPOCH)
    }

    fn options(load: &Load, max_utilization: u8) -> MeterOptions {
        MeterOptions {
            load: load.clone(),
            max_utilization,
            report_interval: Duration::from_secs(30),
        }
    }

    /// What is reported at once and after half a minute.
    async fn reports(answers: &[Answer]) -> [Vec<f64>; 2] {
        let load = Load::from_source(Scripted(Mutex::new(answers.iter().copied().collect())));
        let meter = Meter::start(&options(&load, 80), &seeded()).await;
        let samples = |meter: &Meter| {
            meter
                .report()
                .remove("C")
                .map_or(Vec::new(), |metric| metric.samples)
        };
        let first = samples(&meter);
        let health = Health::default();
        let _ = timeout(Duration::from_secs(30), meter.keep_sampling(&health)).await;
        [first, samples(&meter)]
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_is_sampled_at_the_start_and_then_reported_by_its_means() {
        use Answer::Good;
        assert_eq!(reports(&[Good(0.0), Good(20.0)]).await, [vec![], vec![20.0]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_measurement_is_still_to_come_until_there_was_time_for_it() {
        let just_begun = async |answers: [Answer; 2], seconds| {
            let load = Load::from_source(Scripted(Mutex::new(answers.into())));
            let meter = Meter::start(&options(&load, 100), &seeded()).await;
            let health = Health::default();
            let _ = timeout(Duration::from_secs(seconds), meter.keep_sampling(&health)).await;
            meter.report();
            meter.has_just_begun()
        };
        assert!(just_begun([Answer::Good(0.0), Answer::Good(20.0)], 0).await);
        assert!(!just_begun([Answer::Good(0.0), Answer::Good(20.0)], 2).await);
        assert!(just_begun([Answer::Good(0.0), Answer::Bad], 2).await);
        assert!(!just_begun([Answer::Good(0.0), Answer::Bad], 20).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_goes_wrong_in_a_source_is_a_failed_sample() {
        for wrong in [
            Answer::Bad,
            Answer::Late,
            Answer::Panic,
            Answer::Good(100.1),
            Answer::Good(-1.0),
            Answer::Good(f64::NAN),
        ] {
            assert_eq!(reports(&[wrong]).await, [vec![-1.0], vec![-1.0]], "{wrong:?}");
            let recovered = reports(&[wrong, wrong, Answer::Good(5.0), Answer::Good(9.0)]).await;
            assert_eq!(recovered[1], [9.0], "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_hardly_delays_the_start() {
        let started = Instant::now();
        reports_at_start(Answer::Late).await;
        assert_eq!(started.elapsed(), PATIENCE_AT_START);
    }

    async fn reports_at_start(answer: Answer) {
        let load = Load::from_source(Scripted(Mutex::new([answer].into())));
        Meter::start(&options(&load, 100), &seeded()).await;
    }

    #[tokio::test]
    async fn the_operating_range_is_reported_with_the_load() {
        let load = Load::from_source(Scripted(Mutex::new([Answer::Bad].into())));
        for (given, reported) in [(80, 80.0), (0, 1.0), (200, 100.0)] {
            let metric = Meter::start(&options(&load, given), &seeded()).await.report();
            assert_eq!(metric["C"].max_utilization, reported);
        }
    }

    #[tokio::test]
    async fn without_the_machine_and_by_choice_nothing_is_reported() {
        for (load, env) in [(Load::Cpu, seeded()), (Load::Unreported, Environment::system())] {
            let meter = Meter::start(&options(&load, 100), &env).await;
            assert!(!meter.has_source() && meter.report().is_empty(), "{load:?}");
            assert!(!meter.has_just_begun(), "{load:?}");
        }
    }

    #[tokio::test]
    async fn on_linux_the_cpu_is_found() {
        let meter = Meter::start(&options(&Load::Cpu, 100), &Environment::system()).await;
        assert!(meter.report().is_empty(), "one look is no measurement");
        let health = Health::default();
        let _ = timeout(PERIOD * 5 / 2, meter.keep_sampling(&health)).await;
        assert_eq!(meter.report().contains_key("C"), cfg!(target_os = "linux"));
    }
}
