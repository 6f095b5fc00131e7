use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::*;
use crate::testing::{letter, letter_with};

/// A queue in memory that refuses what it is told to.
#[derive(Debug, Clone, Default)]
struct Queue(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    messages: Vec<Value>,
    /// How many messages each request had.
    requests: Vec<usize>,
    /// So many messages are refused, whose fault that is, and why.
    refused: (usize, bool, &'static str),
    /// Requests are answered with an error.
    denies: bool,
    /// Of each request the last message is not mentioned in the answer.
    forgets: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("whole")
    }

    fn sink(&self, url: &str) -> SqsDeadLetters {
        let config = kcl_local::Backend::start().sdk_config().to_builder();
        let config = config.http_client(self.clone()).build();
        SqsDeadLetters::new(Client::new(&config), url)
    }

    fn answer(&self, request: &Value) -> (u16, Value) {
        let mut state = self.lock();
        let entries = request["Entries"].as_array().expect("a list");
        state.requests.push(entries.len());
        if state.denies {
            let text = "no permission sqs:SendMessage";
            return (403, json!({"__type": "AccessDenied", "message": text}));
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            if state.refused.0 > 0 {
                state.refused.0 -= 1;
                let (_, fault, code) = state.refused;
                failed.push(json!({"Id": entry["Id"], "SenderFault": fault, "Code": code, "Message": "no"}));
                continue;
            }
            state.messages.push(entry.clone());
            let sent = json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "0"});
            successful.push(sent);
        }
        if state.forgets {
            successful.pop();
        }
        (200, json!({"Successful": successful, "Failed": failed}))
    }

    /// The letters in it, and the sizes of the requests that brought them.
    fn letters(&self) -> (Vec<DeadLetter>, Vec<usize>) {
        let state = self.lock();
        let bodies = state
            .messages
            .iter()
            .map(|message| message["MessageBody"].as_str());
        let letter = |body: Option<&str>| serde_json::from_str(body.expect("a body")).expect("a letter");
        (bodies.map(letter).collect(), state.requests.clone())
    }
}

impl HttpClient for Queue {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Queue {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        assert_eq!(target, "AmazonSQS.SendMessageBatch");
        let body = request.body().bytes().expect("in memory");
        let (status, answer) = self.answer(&serde_json::from_slice(body).expect("JSON"));
        let status = status.try_into().expect("a status");
        let answer = HttpResponse::new(status, SdkBody::from(answer.to_string()));
        HttpConnectorFuture::ready(Ok(answer))
    }
}

const QUEUE: &str = "http://localhost/123456789012/letters";

fn letters(numbers: std::ops::Range<u64>) -> Vec<DeadLetter> {
    numbers.map(|number| letter_with(number, "payload")).collect()
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_sqs_are_sent_ten_at_once() {
    let queue = Queue::default();
    queue.sink(QUEUE).write(&letters(0..23)).await.expect("sent");
    queue.sink(QUEUE).write(&[]).await.expect("nothing to do");
    assert_eq!(queue.letters(), (letters(0..23), vec![10, 10, 3]));
    assert!(queue.lock().messages[0].get("MessageGroupId").is_none());
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_sqs_that_are_refused_are_sent_again_and_only_these() {
    let queue = Queue::default();
    queue.lock().refused = (13, false, "InternalError");
    queue.sink(QUEUE).write(&letters(0..10)).await.expect("sent");
    let (sent, requests) = queue.letters();
    assert_eq!(requests, [10, 10, 3]);
    let ids: BTreeSet<_> = sent.iter().map(DeadLetter::id).collect();
    assert_eq!((sent.len(), ids.len()), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_sqs_that_stay_away_are_an_error_in_time() {
    for (fault, code) in [(false, "InternalError"), (true, "InvalidMessageContents")] {
        let queue = Queue::default();
        queue.lock().refused = (usize::MAX, fault, code);
        let start = Instant::now();
        let error = queue
            .sink(QUEUE)
            .write(&letters(0..3))
            .await
            .expect_err("refused");
        assert!(start.elapsed() <= PATIENCE, "{:?}", start.elapsed());
        assert_eq!(
            fault,
            queue.lock().requests.len() == 1,
            "a fault of ours stays one"
        );
        let text = error.to_string();
        assert!(text.contains(code) && text.contains(QUEUE), "{text}");
    }
    let queue = Queue::default();
    queue.lock().denies = true;
    let error = queue.sink(QUEUE).write(&letters(0..3)).await.expect_err("denied");
    assert!(error.to_string().contains("no permission"), "{error}");
    let queue = Queue::default();
    queue.lock().forgets = true;
    let error = queue
        .sink(QUEUE)
        .write(&letters(0..3))
        .await
        .expect_err("forgotten");
    assert!(error.to_string().contains("not answered"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_sqs_are_as_large_as_it_takes_and_no_larger() {
    let queue = Queue::default();
    let large = letter_with(1, &"x".repeat(700 << 10));
    let both = [large.clone(), letter_with(2, &"x".repeat(700 << 10))];
    queue.sink(QUEUE).write(&both).await.expect("sent");
    assert_eq!(queue.letters().1, [1, 1]);
    let older = queue.sink(QUEUE).max_message_bytes(256 << 10);
    match older.write(&[letters(0..1), vec![large.clone()]].concat()).await {
        Err(DeadLetterError::TooLarge { id, limit, .. }) => {
            assert_eq!((id.as_str(), limit), (large.id(), 256 << 10));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(queue.letters().1.len(), 2, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_sqs_hold_no_character_that_it_refuses() {
    let queue = Queue::default();
    let strange = letter(1, "x", "a\u{ffff}b\u{fffe}c\u{1}é");
    queue
        .sink(QUEUE)
        .write(std::slice::from_ref(&strange))
        .await
        .expect("sent");
    assert_eq!(queue.letters().0, [strange]);
    let state = queue.lock();
    let body = state.messages[0]["MessageBody"].as_str().expect("a body");
    assert!(
        !body.contains(|it| it < ' ' || matches!(it, '\u{fffe}' | '\u{ffff}')),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn dead_letters_in_sqs_of_a_shard_are_a_group_of_a_fifo_queue() {
    let queue = Queue::default();
    let url = format!("{QUEUE}.fifo");
    queue.sink(&url).write(&letters(7..8)).await.expect("sent");
    let state = queue.lock();
    let message = &state.messages[0];
    assert_eq!(message["MessageGroupId"], "shardId-000000000000");
    assert_eq!(
        message["MessageDeduplicationId"],
        "clicks/shardId-000000000000/7/0"
    );
    let long = format!("{}é{}", "a".repeat(300), "b".repeat(127));
    assert_eq!(end_of(&long).chars().count(), LONGEST_ID);
}
