//! Where reading begins: behind checkpoints that no worker of ours writes, and behind shards that are gone.

use kcl_core::{Checkpoint, SequenceNumber};

use super::{Director, Played, Script, seconds};
use crate::edits::Edit;
use crate::history::Name;

const WHOLE: &str = "a record of which a part is done is delivered as a whole";
const FROM_THE_BEGINNING: &str = "what follows a shard that was read is begun at its beginning";
const TOLD: &str = "a row that cannot be read is told within 5 s";

/// The retention period of the stream, and more.
const TOO_LONG: u64 = 26 * 3_600;

pub(super) const INSIDE_A_RECORD: Script = Script {
    name: "checkpoint-inside-a-record",
    shows: &["A checkpoint inside an aggregate is read as if all of it was done."],
    shards: 2,
    failover: seconds(5),
    play: |it| Box::pin(inside_a_record(it)),
};

/// As a library leaves it that takes aggregates apart.
async fn inside_a_record(it: &Director) -> Played {
    let (shard, record) = stopped_at_the_end(it).await?;
    it.edit(&shard, Edit::Set(record.to_string(), 1));
    let since = it.now();
    it.start("a");
    it.expect(WHOLE, seconds(10), || it.is_delivered_since(since, &record))
        .await;
    it.go_on().await;
    Ok(())
}

pub(super) const FIRST_NUMBER: Script = Script {
    name: "checkpoint-at-the-first-number-of-a-shard",
    shows: &["A gap is told when the checkpoint is the number with which its shard begins."],
    shards: 2,
    failover: seconds(5),
    play: |it| Box::pin(first_number(it)),
};

/// No record has that number, and nothing is missing.
async fn first_number(it: &Director) -> Played {
    let (shard, _) = stopped_at_the_end(it).await?;
    let first = it.first_number_of(&shard).await?;
    it.edit(&shard, Edit::Set(first, 0));
    it.go_on().await;
    it.start("a");
    it.pause(seconds(10)).await;
    Ok(())
}

pub(super) const AGED_OUT: Script = Script {
    name: "shards-aged-out",
    shows: &["What follows shards that have left the stream is begun where a new application would begin."],
    shards: 1,
    failover: seconds(10),
    play: |it| Box::pin(aged_out(it)),
};

/// The application was away for so long that the shard which it read, and those that followed it, have left the stream.
async fn aged_out(it: &Director) -> Played {
    let (shard, _) = stopped_at_the_end(it).await?;
    let children = it.split(&shard).await;
    let last = match &*children {
        [left, right] => it.merge(left, right).await?,
        _ => it.find("two shards that follow", || None).await?,
    };
    it.age(seconds(TOO_LONG)).await;
    it.go_on().await;
    let record = it
        .find("a record", || it.records_of(&last).first().cloned())
        .await?;
    it.pause(seconds(5)).await;
    let since = it.now();
    it.start_at_latest("a");
    it.expect(FROM_THE_BEGINNING, seconds(60), || {
        it.is_delivered_since(since, &record)
    })
    .await;
    Ok(())
}

pub(super) const UNREADABLE: Script = Script {
    name: "unreadable-row",
    shows: &["A row that cannot be read is told nobody."],
    shards: 2,
    failover: seconds(10),
    play: |it| Box::pin(unreadable(it)),
};

async fn unreadable(it: &Director) -> Played {
    let (shard, record) = stopped_at_the_end(it).await?;
    it.edit(&shard, Edit::Set(String::new(), 0));
    it.start("a");
    it.until("a to lead", || it.leads("a")).await?;
    it.expect(TOLD, seconds(5), || it.tells_of("a", "rows-unreadable"))
        .await;
    it.edit(&shard, Edit::Set(record.to_string(), 0));
    it.go_on().await;
    Ok(())
}

/// A worker has processed everything that was put, and has stopped; nothing more is put. A shard, and the record that its
/// checkpoint names.
async fn stopped_at_the_end(it: &Director) -> Played<(Name, SequenceNumber)> {
    it.start("z");
    it.pause(seconds(10)).await;
    it.come_to_the_end().await?;
    it.stop("z");
    it.until("z to have stopped", || it.has_stopped("z")).await?;
    it.find("a lease with a record's number", || {
        it.rows()
            .into_iter()
            .find_map(|(shard, row)| match row.checkpoint {
                Checkpoint::At(position) => Some((shard, position.sequence)),
                _ => None,
            })
    })
    .await
}
