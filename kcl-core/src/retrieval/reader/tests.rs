//! A reader above a feed that says what a test lets it say.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use kcl_lease::Environment;

use super::*;
use crate::config::{InitialPosition, ShardId};
use crate::record::tests::{aggregate, record};
use crate::stream::{StartingPosition, StreamClient};

const ROOM: Room = Room {
    bytes: 1 << 20,
    usual_record: None,
};

/// Pages that come one after another, and the positions at which the feed was opened.
#[derive(Debug, Default, Clone)]
struct Script {
    pages: Arc<Mutex<VecDeque<Result<Page, ErrorClass>>>>,
    opened_at: Arc<Mutex<Vec<StartingPosition>>>,
}

#[derive(Debug)]
struct Scripted {
    script: Script,
    is_open: bool,
}

#[async_trait]
impl Feed for Scripted {
    async fn ready(&mut self) -> Result<(), CallError> {
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn rest(&mut self) {}

    fn is_open(&self) -> bool {
        self.is_open
    }

    async fn open(&mut self, at: &StartingPosition) -> Result<Option<SystemTime>, CallError> {
        self.script.opened_at.lock().expect("unpoisoned").push(at.clone());
        self.is_open = true;
        Ok(None)
    }

    fn close(&mut self) {
        self.is_open = false;
    }

    async fn next(&mut self, _room: Room) -> Result<Page, CallError> {
        let next = self.script.pages.lock().expect("unpoisoned").pop_front();
        next.expect("a page is left").map_err(|class| {
            self.is_open = class != ErrorClass::Expired;
            CallError::new(class, "GetRecords", "as the script says")
        })
    }

    fn wish(&self, _usual_record: Option<u64>) -> Wish {
        Wish {
            most: 1,
            least: 1,
            is_guess: false,
        }
    }

    fn usual_record(&self) -> Option<u64> {
        None
    }

    fn throttled(&mut self) -> Duration {
        Duration::ZERO
    }

    async fn oldest(&self) -> Result<Option<SequenceNumber>, CallError> {
        Ok(None)
    }
}

fn page(records: Vec<Record>) -> Result<Page, ErrorClass> {
    Ok(Page {
        records,
        millis_behind_latest: Some(0),
        end: None,
        block: None,
        pause: Pause::default(),
    })
}

/// A reader behind a checkpoint, in a stream that Kinesis does not know.
fn reader(checkpoint: &str, script: &Script) -> ShardReader {
    let checkpoint = Checkpoint::parse(checkpoint, 0).expect("valid");
    let backend = kcl_local::Backend::start();
    let client = aws_sdk_kinesis::Client::new(&backend.sdk_config());
    let stream = crate::config::Stream::parse("clicks").expect("a name");
    let inquiry = Inquiry {
        shard: ShardId::from("shardId-000000000000"),
        stream: StreamClient::new(client, stream),
        env: Environment::system(),
        hash_range: None,
    };
    let feed = Scripted {
        script: script.clone(),
        is_open: false,
    };
    let start = Start {
        cursor: Cursor::from_checkpoint(&checkpoint, InitialPosition::TrimHorizon).expect("not ended"),
        checkpoint,
        hash_range: None,
    };
    ShardReader::new(Box::new(feed), inquiry, start, true)
}

async fn read(reader: &mut ShardReader) -> Result<Vec<String>, ReadError> {
    let reading = reader.read(ROOM).await?;
    let positions = reading.records.iter().map(|record| record.position().to_string());
    Ok(positions.collect())
}

fn script(pages: impl IntoIterator<Item = Result<Page, ErrorClass>>) -> Script {
    let script = Script::default();
    script.pages.lock().expect("unpoisoned").extend(pages);
    script
}

fn at(number: &str) -> StartingPosition {
    StartingPosition::AtSequenceNumber(SequenceNumber::parse(number).expect("digits"))
}

#[tokio::test]
async fn whatever_brings_the_pages_only_what_is_new_is_passed_on() {
    let script = script([
        page(vec![record(2), record(3)]),
        page(vec![]),
        page(vec![record(4)]),
    ]);
    let mut reader = reader("2", &script);
    assert_eq!(read(&mut reader).await.expect("read"), ["3"]);
    assert_eq!(read(&mut reader).await.expect("read"), [""; 0]);
    assert_eq!(read(&mut reader).await.expect("read"), ["4"]);
    let opened_at = script.opened_at.lock().expect("unpoisoned").clone();
    assert_eq!(opened_at, [at("2")], "opened once");
}

#[tokio::test]
async fn a_feed_that_expired_is_opened_again_at_the_last_record() {
    let script = script([
        page(vec![record(2), record(3)]),
        Err(ErrorClass::Expired),
        page(vec![record(3), record(4)]),
    ]);
    let mut reader = reader("2", &script);
    assert_eq!(read(&mut reader).await.expect("read"), ["3"]);
    assert_eq!(read(&mut reader).await.expect("read"), ["4"]);
    let opened_at = script.opened_at.lock().expect("unpoisoned").clone();
    assert_eq!(opened_at, [at("2"), at("3")]);
}

#[tokio::test]
async fn a_page_is_read_again_if_it_cannot_be_said_what_it_means() {
    let last_page = |end| {
        page(vec![record(3), record(4)]).map(|page| Page {
            end: Some(end),
            ..page
        })
    };
    let child = Child {
        id: ShardId::from("shardId-000000000001"),
        parents: [].into(),
        hash_range: None,
    };
    // The shards would have to be listed, and cannot be.
    let script = script([
        page(vec![record(2), record(3)]),
        last_page(vec![]),
        last_page(vec![child]),
    ]);
    let mut reader = reader("2", &script);
    assert_eq!(read(&mut reader).await.expect("read"), ["3"]);
    assert!(read(&mut reader).await.is_err());
    let last = reader.read(ROOM).await.expect("its children are named now");
    assert_eq!(last.records.len(), 1, "what came with the failure is not lost");
    assert_eq!(last.end.map(|children| children.len()), Some(1));
    let opened_at = script.opened_at.lock().expect("unpoisoned").clone();
    assert_eq!(opened_at, [at("2"), at("3")]);
}

#[tokio::test]
async fn the_reader_is_the_one_who_looks_into_aggregates() {
    let mut taken_over = aggregate(7);
    assert_eq!(taken_over.sub_sequence_number(), 2);
    taken_over = Record::from_sdk(
        aws_sdk_kinesis::types::Record::builder()
            .sequence_number("8")
            .partition_key("key")
            .data(aws_smithy_types::Blob::new(taken_over.data().to_vec()))
            .build()
            .expect("complete"),
    )
    .expect("valid");
    assert_eq!(taken_over.sub_sequence_number(), 0, "as Kinesis has it");
    let script = script([page(vec![record(2), taken_over])]);
    assert_eq!(read(&mut reader("2", &script)).await.expect("read"), ["8:2"]);
}
