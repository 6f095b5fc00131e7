use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::super::letter::DeadLetter;
use super::super::letter::tests::{letter, letter_of};
use super::super::{DeadLetters, MemoryDeadLetters};
use super::*;
use crate::begin::Begin;
use crate::checkpointer::Checkpointer;
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;
use crate::record::builder::record;

/// Takes letters, but those whose payload has such a word.
#[derive(Debug, Default)]
struct Taking {
    taken: Vec<String>,
    refused: &'static str,
}

#[async_trait]
impl Destination for Taking {
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError> {
        let text = String::from_utf8_lossy(&letter.data).into_owned();
        if !self.refused.is_empty() && text.contains(self.refused) {
            return Err("that word".into());
        }
        self.taken.push(text);
        Ok(())
    }
}

async fn memory(letters: &[DeadLetter]) -> MemoryDeadLetters {
    let memory = MemoryDeadLetters::default();
    memory.write(letters).await.expect("written");
    memory
}

#[tokio::test]
async fn each_letter_is_put_back_once() {
    let memory = memory(&[letter(1), letter(2), letter(2), letter(3)]).await;
    let mut taking = Taking::default();
    let told = Redrive::new().run(&mut memory.not_done(), &mut taking).await;
    assert_eq!(told.expect("read").done, 3, "one was written twice");
    let told = Redrive::new().run(&mut memory.not_done(), &mut taking).await;
    assert_eq!(told.expect("read"), Redriven::default());
    assert_eq!(taking.taken, ["payload 1", "payload 2", "payload 3"]);
}

#[tokio::test]
async fn a_letter_that_is_not_taken_stays_and_keeps_no_other() {
    let memory = memory(&[letter(1), letter(2), letter(3)]).await;
    let mut taking = Taking {
        refused: "2",
        ..Taking::default()
    };
    let told = Redrive::new().run(&mut memory.not_done(), &mut taking).await;
    let told = told.expect("read");
    assert_eq!((told.done, told.failed, told.gave_up), (2, 1, false));
    assert_eq!(
        told.problems,
        ["clicks/shardId-000000000000/2/0 was not taken: that word"]
    );
    taking.refused = "";
    let told = Redrive::new().run(&mut memory.not_done(), &mut taking).await;
    assert_eq!(told.expect("read").done, 1);
    assert_eq!(taking.taken, ["payload 1", "payload 3", "payload 2"]);
}

#[tokio::test]
async fn a_destination_that_takes_nothing_is_left_alone_and_a_limit_is_kept() {
    let letters: Vec<_> = (0..50).map(letter).collect();
    let memory = memory(&letters).await;
    let mut refusing = Taking {
        refused: "payload",
        ..Taking::default()
    };
    let told = Redrive::new().run(&mut memory.not_done(), &mut refusing).await;
    let told = told.expect("read");
    assert_eq!((told.done, told.failed, told.gave_up), (0, 10, true));
    let three = NonZeroU64::new(3).expect("three");
    let told = Redrive::new()
        .limit(three)
        .run(&mut memory.not_done(), &mut Taking::default())
        .await;
    assert_eq!(told.expect("read").done, 3);
    let told = Redrive::new()
        .run(&mut memory.not_done(), &mut Taking::default())
        .await;
    assert_eq!(told.expect("read").done, 47);
}

#[tokio::test]
async fn a_letter_that_was_put_back_and_not_recorded_is_put_back_once_more() {
    /// The process ends before the second letter is recorded.
    struct EndsEarly(super::super::LettersInMemory);

    #[async_trait]
    impl Letters for EndsEarly {
        async fn next(&mut self) -> Result<Option<Found>, DeadLetterError> {
            self.0.next().await
        }

        async fn done(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
            match letter.sequence_number.as_str() {
                "2" => Err(DeadLetterError::failed("the disk", "full")),
                _ => self.0.done(letter).await,
            }
        }
    }

    let memory = memory(&[letter(1), letter(2), letter(3)]).await;
    let mut taking = Taking::default();
    let told = Redrive::new()
        .run(&mut EndsEarly(memory.not_done()), &mut taking)
        .await;
    assert_eq!(told.expect_err("full").to_string(), "the disk failed: full");
    Redrive::new()
        .run(&mut memory.not_done(), &mut taking)
        .await
        .expect("read");
    assert_eq!(taking.taken, ["payload 1", "payload 2", "payload 2", "payload 3"]);
}

#[tokio::test]
async fn a_function_is_given_the_records() {
    let memory = memory(&[letter(1), letter(2)]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut handler = ToHandler::new(async |record: crate::Record| {
        seen.lock().expect("whole").push(record.position().to_string());
        Ok(())
    });
    let told = Redrive::new().run(&mut memory.not_done(), &mut handler).await;
    assert_eq!(told.expect("read").done, 2);
    assert_eq!(*seen.lock().expect("whole"), ["1", "2"]);
}

/// Notes what it is called with, and panics at a word.
struct Noting(Arc<Mutex<Vec<String>>>);

impl Noting {
    fn note(&self, what: String) {
        self.0.lock().expect("whole").push(what);
    }
}

#[async_trait]
impl RecordProcessor for Noting {
    async fn initialize(&mut self, shard: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        assert!(shard.fencing_token.get() < 1_000, "smaller than any worker's");
        self.note(format!("{} of {}", shard.shard_id, shard.stream));
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            if record.data().starts_with(b"bad") {
                // Like a panic, without its message on the screen.
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            self.note(format!("{} with {}", record.position(), record.partition_key()));
            checkpointer.checkpoint_at(record).await?;
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.note(format!("checkpoint {}", checkpointer.last_checkpoint()));
        Ok(())
    }
}

#[tokio::test]
async fn a_processor_is_called_as_by_a_worker_and_its_panic_is_a_failure() {
    let of_aggregate = record("good").sequence_number(9).sub_sequence_number(4);
    let letters = [
        letter_of(record("bad").sequence_number(8)),
        letter_of(of_aggregate),
    ];
    let (memory, calls) = (memory(&letters).await, Arc::default());
    let mut processor = ToProcessor::new(|_| Noting(Arc::clone(&calls)));
    let told = Redrive::new().run(&mut memory.not_done(), &mut processor).await;
    let told = told.expect("read");
    assert_eq!((told.done, told.failed), (1, 1));
    assert!(told.problems[0].contains("panicked: on purpose"), "{told:?}");
    let shard = "shardId-000000000000 of clicks";
    assert_eq!(
        *calls.lock().expect("whole"),
        [shard, shard, "9:4 with key", "checkpoint 9:4"]
    );
}
