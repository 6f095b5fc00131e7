//! Leases that are of another stream: nothing is ended, created or deleted, and the status says so.

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use kcl_core::{Checkpoint, Error};
use kcl_lease::{HashRange, Lease, LeaseStore};
use kcl_local::faults::{Fault, Rule};
use kcl_tests::World;
use tokio::time::sleep;

use crate::witness::{Notes, builder, set_checkpoint};

const CODE: &str = "leases-of-another-stream";

fn lease(number: u32, checkpoint: Checkpoint) -> Lease {
    Lease::new(format!("shardId-{number:012}").as_str(), checkpoint).with_hash_range(HashRange::FULL)
}

#[tokio::test(start_paused = true)]
async fn leases_of_shards_that_the_stream_never_had_are_left_alone() {
    let world = World::with_shards(2).await;
    let notes = Notes::default();
    let first = world.run("w1", builder(&world, "w1", &notes));
    world
        .until_processing(&[&first], &[2], Duration::from_secs(10))
        .await;
    first.stop().await;
    let number = Checkpoint::parse("49680413626661517245128775301382031296558441705448144930", 0).unwrap();
    let (unfinished, ended) = (lease(6, number), lease(5, Checkpoint::ShardEnd));
    for foreign in [&unfinished, &ended] {
        assert!(world.store().create(foreign).await.unwrap());
    }
    let worker = world.run("w2", builder(&world, "w2", &notes));
    sleep(Duration::from_secs(300)).await;
    let status = worker.handle.status();
    assert!(
        status.problems.iter().any(|problem| problem.code == CODE),
        "{status:?}"
    );
    let shard = status
        .shards
        .iter()
        .find(|shard| shard.shard_id.ends_with('6'))
        .expect("held");
    assert_eq!(shard.problem.as_ref().map(|problem| problem.code), Some(CODE));
    worker.stop().await;
    for foreign in [unfinished, ended] {
        let found = world
            .store()
            .get(&foreign.key)
            .await
            .unwrap()
            .expect("not deleted");
        assert_eq!(found.checkpoint, foreign.checkpoint);
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_shows_that_the_stream_was_made_anew_where_its_description_is_denied() {
    let world = World::with_shards(1).await;
    let denied = Rule::on("DescribeStreamSummary").by("w1");
    world
        .servers
        .faults
        .add(denied.fault(Fault::respond(400, "AccessDeniedException")));
    let denied = Rule::on("DescribeStreamSummary").by("w2");
    world
        .servers
        .faults
        .add(denied.fault(Fault::respond(400, "AccessDeniedException")));
    let notes = Notes::default();
    let first = world.run("w1", builder(&world, "w1", &notes));
    world
        .until_processing(&[&first], &[1], Duration::from_secs(10))
        .await;
    let put = world
        .kinesis
        .put_record()
        .stream_name("clicks")
        .partition_key("k");
    let put = put.data(Blob::new("1")).send().await.expect("put");
    notes.until(1).await;
    first.stop().await;
    let shard = "shardId-000000000000";
    let checkpoint = Checkpoint::parse(put.sequence_number(), 0).unwrap();
    set_checkpoint(&world, shard, checkpoint.clone()).await;
    world
        .kinesis
        .delete_stream()
        .stream_name("clicks")
        .send()
        .await
        .expect("deleted");
    sleep(Duration::from_secs(60)).await;
    let creation = world.kinesis.create_stream().stream_name("clicks").shard_count(2);
    creation.send().await.expect("created");
    sleep(Duration::from_secs(60)).await;

    let worker = world.run("w2", builder(&world, "w2", &notes));
    match worker.ended().await {
        Err(error @ Error::OtherStream(_)) => {
            assert!(
                error.to_string().contains("does not lie in that shard"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    let lease = crate::witness::lease(&world, shard).await;
    assert_eq!(lease.checkpoint, checkpoint);
}
