//! The smallest consumer: puts a few records into a stream inside this process, prints them, and stops.
//!
//! ```console
//! $ cargo run --example printer
//! ```

use aws_sdk_kinesis::primitives::Blob;
use kcl_core::{
    Checkpointer, InitialPosition, ProcessorError, RecordBatch, RecordProcessor, Worker, async_trait,
};
use kcl_local::Backend;
use tokio::sync::mpsc;

const WORDS: [&str; 5] = ["split", "merge", "lease", "checkpoint", "done"];

struct Printer(mpsc::UnboundedSender<usize>);

#[async_trait]
impl RecordProcessor for Printer {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            println!(
                "{} {}",
                record.partition_key(),
                String::from_utf8_lossy(record.data())
            );
        }
        checkpointer.checkpoint().await?; // everything in this batch is done
        let _ = self.0.send(batch.len());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // With an AWS account: `let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;`, and a stream that exists.
    let aws = Backend::start().sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    kinesis
        .create_stream()
        .stream_name("words")
        .shard_count(1)
        .send()
        .await?;
    for word in WORDS {
        let put = kinesis.put_record().stream_name("words").partition_key("word");
        put.data(Blob::new(word)).send().await?;
    }

    let (printed, mut counts) = mpsc::unbounded_channel();
    Worker::builder("printer", "words", move |_shard| Printer(printed.clone()))
        .aws_config(&aws)
        .initial_position(InitialPosition::TrimHorizon)
        .build()?
        .run_until(async {
            let mut total = 0;
            while total < WORDS.len() {
                total += counts.recv().await.unwrap_or(WORDS.len());
            }
        })
        .await?;
    Ok(())
}
