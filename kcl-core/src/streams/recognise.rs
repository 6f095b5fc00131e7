//! Asks who a stream is whenever somebody doubts that it is still the same.

use std::time::Duration;

use kcl_lease::{Activity, Environment, StreamIdentity};
use tokio::time::{Instant, sleep};

use super::ReadStream;
use crate::aws::{CallError, ErrorClass};
use crate::retry::Retry;

pub(crate) const LOOKING: Activity = Activity {
    code: "stream-failing",
    doing: "looking at the stream",
};

/// The longest pause between two questions for the stream's description. The first pauses are shorter, beginning with a second, unless
/// questions have kept coming.
const RECOGNITION_PAUSE: Duration = Duration::from_secs(10);

/// Answers in a row that may be lost without a word.
const UNMENTIONED: u32 = 2;

/// There is no such stream.
const GONE: &str = "stream-not-found";

/// Completes when the stream is not the one any more that this worker began with.
///
/// It is asked whenever reads fail in a way that this would explain, and now and then by the leader.
pub(crate) async fn recognise(
    stream: &ReadStream,
    env: &Environment,
    began_with: &StreamIdentity,
) -> StreamIdentity {
    let (doubt, health) = (&stream.doubt, &stream.health);
    let pauses = || Retry::new(env.clone(), Duration::from_secs(1), RECOGNITION_PAUSE);
    let (mut return_of_it, mut between) = (pauses(), pauses());
    let mut unanswered = 0;
    loop {
        let answered = Instant::now();
        let question = doubt.asked().await;
        if answered.elapsed() >= RECOGNITION_PAUSE {
            between.succeeded();
        }
        let identity = stream.recognition.identity().await;
        unanswered = if identity.is_ok() { 0 } else { unanswered + 1 };
        let pause = match identity {
            Ok(now) if !now.may_be(began_with) => {
                tracing::error!(before = %began_with, %now, "the stream was deleted and made anew");
                health.settle(GONE);
                let anew = "the stream was deleted and made anew";
                doubt.miss(CallError::new(
                    ErrorClass::NotFound,
                    "DescribeStreamSummary",
                    anew,
                ));
                return now;
            }
            Ok(now) => {
                doubt.settle(question);
                health.settle(GONE);
                health.succeeded(LOOKING);
                return_of_it.succeeded();
                match now.created_at {
                    Some(_) => between.pause(),
                    // Denied, or not told. It will hardly be told later, and a leader may wait for the answer.
                    None => Duration::from_secs(1),
                }
            }
            Err(error) if error.class == ErrorClass::NotFound => {
                health.raise(GONE, error.to_string());
                doubt.miss(error);
                return_of_it.pause()
            }
            Err(error) => {
                // Shards may wait for the answer.
                if unanswered > UNMENTIONED {
                    health.failed(LOOKING, &error);
                }
                RECOGNITION_PAUSE
            }
        };
        sleep(pause).await;
    }
}
