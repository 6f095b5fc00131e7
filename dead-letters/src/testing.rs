//! Letters for tests.
#![expect(clippy::expect_used, reason = "tests")]

use std::time::{Duration, UNIX_EPOCH};

use kcl_core::dead_letters::DeadLetter;

/// A letter whose record has this number and payload.
pub(crate) fn letter_with(number: u64, data: &str) -> DeadLetter {
    letter(number, data, "user-1")
}

/// The same, with this partition key.
pub(crate) fn letter(number: u64, data: &str, key: &str) -> DeadLetter {
    let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let record = kcl_core::testing::record(data.to_owned());
    let error = kcl_core::ProcessorError::from("not today");
    let given_up = kcl_core::dead_letters::GivenUp {
        application: "app",
        worker: &"w1".into(),
        stream: &kcl_core::Stream::parse("clicks").expect("a name"),
        shard_id: &"shardId-000000000000".into(),
        error: error.as_error(),
        attempts: 7,
        first_failed_at: time(1_800_000_000),
        given_up_at: time(1_800_000_060),
    };
    DeadLetter::new(
        &record.sequence_number(number).partition_key(key).build(),
        &given_up,
    )
}
