//! The options of Kinesis that a profile and single flags make together.

use kcl_local::kinesis::KinesisOptions;

use crate::arguments::{Limits, Profile, Serve};

/// What was asked for.
pub(crate) fn options(serve: &Serve) -> KinesisOptions {
    let limits: &Limits = &serve.limits;
    let mut options = match limits.profile {
        Profile::Fast => KinesisOptions::default(),
        Profile::Faithful => KinesisOptions::faithful(),
    };
    options.region.clone_from(&serve.region);
    options.account_id.clone_from(&serve.account_id);
    set(&mut options.enforce_limits, limits.enforce_limits);
    set(&mut options.rates.records_in, limits.shard_records_in);
    set(&mut options.rates.bytes_in, limits.shard_bytes_in);
    set(&mut options.rates.reads, limits.shard_reads);
    set(&mut options.rates.bytes_out, limits.shard_bytes_out);
    options.quotas.calls.extend(limits.calls.iter().copied());
    set(
        &mut options.quotas.shard_count_updates,
        limits.shard_count_updates.map(Some),
    );
    set(
        &mut options.quotas.streams_creating,
        limits.streams_creating.map(Some),
    );
    set(
        &mut options.on_demand_reaction,
        limits.on_demand_reaction.map(Some),
    );
    set(&mut options.shard_limit, limits.shard_limit);
    set(&mut options.create_delay, limits.create_delay);
    set(&mut options.delete_delay, limits.delete_delay);
    set(&mut options.update_delay, limits.update_delay);
    set(&mut options.consumer_delay, limits.consumer_delay);
    set(&mut options.subscription_lifetime, limits.subscription_lifetime);
    set(&mut options.resubscribe_interval, limits.resubscribe_interval);
    set(&mut options.heartbeat, limits.heartbeat);
    options
}

fn set<T>(option: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *option = said;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;
    use crate::arguments::Arguments;

    fn said(arguments: &[&str]) -> KinesisOptions {
        options(
            &Arguments::try_parse_from([&["kcl-local"], arguments].concat())
                .unwrap()
                .serve,
        )
    }

    #[test]
    fn a_flag_says_more_than_the_profile() {
        assert_eq!(said(&[]), KinesisOptions::default());
        let faithful = said(&["--profile", "faithful"]);
        assert!(faithful.enforce_limits && faithful.create_delay > Duration::ZERO);
        let mixed = said(&[
            "--profile",
            "faithful",
            "--create-delay",
            "0s",
            "--enforce-limits",
            "false",
        ]);
        assert_eq!(mixed.create_delay, Duration::ZERO);
        assert_eq!(mixed.update_delay, faithful.update_delay);
        assert!(!mixed.enforce_limits);
        let limits = said(&[
            "--shard-records-in",
            "7",
            "--calls",
            "ListShards=3",
            "--calls",
            "DescribeStream=2",
            "--shard-count-updates",
            "1",
        ]);
        assert_eq!(limits.rates.records_in, 7);
        let expected = [("DescribeStream", 2), ("ListShards", 3)];
        assert_eq!(limits.quotas.calls, expected.into());
        assert_eq!(limits.quotas.shard_count_updates, Some(1));
        let single = said(&[
            "--heartbeat",
            "500ms",
            "--region",
            "eu-west-1",
            "--account-id",
            "123456789012",
        ]);
        assert_eq!(single.heartbeat, Duration::from_millis(500));
        assert_eq!(
            (single.region.as_str(), single.account_id.as_str()),
            ("eu-west-1", "123456789012")
        );
    }
}
