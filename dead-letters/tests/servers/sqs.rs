//! A standard queue and a FIFO queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use kcl_core::dead_letters::{DeadLetter, DeadLetters as _};
use kcl_dead_letters::SqsDeadLetters;

use crate::moto::Moto;
use crate::testing::letter_with;

fn client(moto: &Moto) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("tests", "secret", None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(moto.endpoint());
    Client::from_conf(config.build())
}

/// Every letter in a queue, each once, by their numbers.
async fn letters(client: &Client, queue: &str) -> Vec<DeadLetter> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    loop {
        let request = client
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10);
        let answer = request.send().await.expect("received");
        let messages = answer.messages.unwrap_or_default();
        if messages.is_empty() {
            letters.sort_by(|a, b| a.sequence_number.cmp(&b.sequence_number));
            return letters;
        }
        for message in messages {
            let body = message.body().expect("a body");
            letters.push(serde_json::from_str(body).expect("a letter"));
            let receipt = message.receipt_handle().expect("a receipt");
            let delete = client.delete_message().queue_url(queue).receipt_handle(receipt);
            delete.send().await.expect("deleted");
        }
    }
}

#[tokio::test]
async fn letters_come_out_of_a_queue_as_they_went_in() {
    let Some(moto) = Moto::start() else { return };
    let client = client(&moto);
    let queue = client
        .create_queue()
        .queue_name("letters")
        .send()
        .await
        .expect("made");
    let queue = queue.queue_url().expect("a URL");
    // More than a request takes, one with characters that a queue does not take, and two that fill a request.
    let large = "x".repeat(150_000);
    let mut sent: Vec<_> = (1..=23).map(|number| letter_with(number, "text")).collect();
    sent.push(letter_with(24, "a\u{fffe}b\u{ffff}c \u{1f980} <&>\"\\ \u{0}"));
    sent.extend([25, 26].map(|number| letter_with(number, &large)));
    let sink = SqsDeadLetters::new(client.clone(), queue).max_message_bytes(256 << 10);
    sink.write(&sent).await.expect("written");
    assert_eq!(letters(&client, queue).await, sent);
}

#[tokio::test]
async fn a_letter_that_is_sent_again_is_once_in_a_fifo_queue() {
    let Some(moto) = Moto::start() else { return };
    let client = client(&moto);
    let queue = client
        .create_queue()
        .queue_name("letters.fifo")
        .attributes(QueueAttributeName::FifoQueue, "true");
    let queue = queue.send().await.expect("made");
    let queue = queue.queue_url().expect("a URL");
    let sink = SqsDeadLetters::new(client.clone(), queue);
    let both = [letter_with(1, "a"), letter_with(2, "b")];
    sink.write(&both).await.expect("written");
    sink.write(&both[..1]).await.expect("written again");
    assert_eq!(letters(&client, queue).await, both);
}
