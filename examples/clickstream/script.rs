//! The disturbances, and when they come.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tokio::time::sleep;

use crate::AnyError;
use crate::fleet::Fleet;
use crate::stage::Stage;
use crate::streams;
use crate::view::short;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Split,
    Join(&'static str),
    Merge,
    Stop(&'static str),
    Kill(&'static str),
}

/// The steps, as shares of the time in which events are written. The crash comes early enough to be over, at the default
/// fail-over time, when the writing ends.
const STEPS: [(f64, Step); 5] = [
    (0.14, Step::Split),
    (0.26, Step::Join("w4")),
    (0.38, Step::Merge),
    (0.50, Step::Stop("w2")),
    (0.62, Step::Kill("w1")),
];

/// Does one step after the other.
pub(crate) async fn play(
    stage: Arc<Stage>,
    fleet: Arc<Fleet>,
    kinesis: Client,
    stream: String,
    time: Duration,
) -> Result<(), AnyError> {
    let began = stage.now();
    for (share, step) in STEPS {
        sleep((began + time.mul_f64(share)).saturating_sub(stage.now())).await;
        match step {
            Step::Split => stage.tell(&streams::split(&kinesis, &stream).await?),
            Step::Merge => match streams::merge(&kinesis, &stream).await {
                Ok(merged) => stage.tell(&merged),
                Err(error) => stage.tell(&error.to_string()),
            },
            Step::Join(worker) => {
                stage.tell(&format!("{worker} joins"));
                fleet.start(worker)?;
            }
            Step::Stop(worker) => {
                stage.tell(&format!("{worker} is asked to stop{}", holding(&fleet, worker)));
                let asked = stage.now();
                fleet.stop(worker).await?;
                let took = (stage.now() - asked).as_secs_f64();
                stage.tell(&format!("{worker} stopped after {took:.1} s"));
            }
            Step::Kill(worker) => {
                stage.tell(&format!(
                    "{worker} is killed without warning{}",
                    holding(&fleet, worker)
                ));
                fleet.kill(worker).await;
            }
        }
    }
    Ok(())
}

/// What a worker has at the moment.
fn holding(fleet: &Fleet, worker: &str) -> String {
    let Some(status) = fleet.status(worker) else {
        return String::new();
    };
    let shards: Vec<_> = status.shards.iter().map(|shard| short(&shard.shard_id)).collect();
    let leads = if status.is_leader {
        "leads the fleet and "
    } else {
        ""
    };
    format!("; it {leads}holds [{}]", shards.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_in_order_and_leave_two_workers() {
        assert!(STEPS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(STEPS.iter().all(|(share, _)| (0.0..1.0).contains(share)));
        let gone = STEPS
            .iter()
            .filter(|(_, step)| matches!(step, Step::Stop(_) | Step::Kill(_)))
            .count();
        assert_eq!(gone, 2);
    }
}
