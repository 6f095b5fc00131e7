//! Dead letters that go back.

use std::time::{Duration, UNIX_EPOCH};

use kcl_core::dead_letters::{DeadLetter, DeadLetters as _, GivenUp, JsonLines};
use kcl_core::reading::{ReadFrom, StreamReader};
use kcl_core::{ProcessorError, Stream};
use kcl_local::faults::{Fault, Rule};

use super::world::{STREAM, World};

#[tokio::test(start_paused = true)]
async fn letters_are_looked_at_and_put_back_once() {
    let world = World::with_shards(1).await;
    world.put("a letter\u{1b}", "k").await;
    let stream = Stream::parse(STREAM).expect("a name");
    let reader = StreamReader::new(world.kinesis.clone(), stream.clone());
    let shard = reader.shards().await.expect("listed").remove(0);
    let mut reading = reader.read(&shard, ReadFrom::TrimHorizon);
    let batch = reading.next().await.expect("read").expect("open");
    let error = ProcessorError::from("no such\u{1b}[2J customer");
    let given_up = GivenUp {
        application: "billing",
        worker: &"w1".into(),
        stream: &stream,
        shard_id: &shard.id,
        error: error.as_error(),
        attempts: 7,
        first_failed_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        given_up_at: UNIX_EPOCH + Duration::from_secs(1_800_000_060),
    };
    let folder = std::env::temp_dir().join(format!("kcl-redriving-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    let file = folder.join("letters.jsonl");
    let letter = DeadLetter::new(&batch.records()[0], &given_up);
    JsonLines::new(&file).write(&[letter]).await.expect("written");
    let path = file.to_str().expect("text");

    let told = world.kcl(&["redrive", path, STREAM, "--dry-run"]).await;
    told.says(
        0,
        &[
            "would put back clicks/shardId-000000000000",
            "1 would be put back, 0 unreadable",
        ],
    );
    assert!(!told.out.contains('\u{1b}'), "{:?}", told.out);
    let denied = Fault::respond(400, "AccessDeniedException");
    let rule = world.faults.add(Rule::on("PutRecord").by("kcl").fault(denied));
    let told = world.kcl(&["redrive", path, STREAM]).await;
    told.says(1, &["1 letters were not taken", "check the IAM policy"]);
    world.faults.remove(rule);
    for (done, stored) in [(1, 2), (0, 2)] {
        let json = world.kcl(&["--json", "redrive", path, STREAM]).await.json();
        assert_eq!(json["done"], done, "{json}");
        let records = world
            .kcl(&["tail", STREAM, "--from", "beginning", "--no-follow"])
            .await;
        assert_eq!(records.out.lines().count(), stored);
    }
    world
        .kcl(&["redrive", "/nowhere/letters.jsonl", STREAM, "--dry-run"])
        .await
        .says(1, &["letters.jsonl"]);
    std::fs::remove_dir_all(&folder).expect("removed");
}
