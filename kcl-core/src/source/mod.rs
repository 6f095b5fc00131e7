//! Where the records of a shard come from: it is polled, or it is subscribed to.

mod fallback;
mod fan_out;
mod feed;
mod oldest;
mod polling;

use kcl_lease::Environment;

use self::fallback::Fallback;
use self::fan_out::FanOut;
pub(crate) use self::feed::{Feed, Page, Pause, Room};
use self::polling::Polling;
#[cfg(test)]
pub(crate) use self::polling::appetite;
use crate::config::{RetrievalOptions, ShardId};
use crate::stream::{ConsumerArn, ShardProblems, StreamClient};

/// Makes the feed of each shard that a worker reads.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) stream: StreamClient,
    pub(crate) env: Environment,
    pub(crate) options: RetrievalOptions,
    /// With fan-out: as whom shards are subscribed to.
    pub(crate) consumer: Option<ConsumerArn>,
    /// What shards have instead of what was asked for.
    pub(crate) problems: ShardProblems,
}

impl Source {
    pub(crate) fn feed(&self, shard: &ShardId) -> Box<dyn Feed> {
        let polling = || Polling::new(shard.clone(), self.stream.clone(), &self.options);
        let Some(consumer) = &self.consumer else {
            return Box::new(polling());
        };
        let (stream, env) = (self.stream.clone(), self.env.clone());
        let fan_out = FanOut::new(shard.clone(), stream, consumer.clone(), env.clone());
        if self
            .options
            .fan_out
            .as_ref()
            .is_some_and(|fan_out| fan_out.or_polling)
        {
            let problems = self.problems.clone();
            Box::new(Fallback::new(shard.clone(), fan_out, polling(), env, problems))
        } else {
            Box::new(fan_out)
        }
    }
}
