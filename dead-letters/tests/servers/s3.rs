//! A bucket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use kcl_core::Record;
use kcl_core::dead_letters::{DeadLetters as _, Redrive, ToHandler};
use kcl_dead_letters::ObjectDeadLetters;
use object_store::aws::AmazonS3Builder;

use crate::moto::Moto;
use crate::testing::letter_with;

/// Sends a request without a body; the first line of the answer.
fn request(moto: &Moto, method: &str, path: &str) -> String {
    let endpoint = moto.endpoint();
    let host = endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).expect("it listens");
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.lines().next().unwrap_or_default().to_owned()
}

/// The payloads of what is put back, in the order of their text.
async fn redriven(letters: &mut kcl_dead_letters::LettersInObjects) -> Vec<String> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let mut handler = ToHandler::new(|record: Record| {
        let text = String::from_utf8(record.data().to_vec()).expect("text");
        taken.lock().expect("whole").push(text);
        async { Ok(()) }
    });
    Redrive::new().run(letters, &mut handler).await.expect("read");
    drop(handler);
    let mut taken = taken.lock().expect("whole").clone();
    taken.sort();
    taken
}

#[tokio::test]
async fn letters_in_a_bucket_are_put_back_once_and_kept_elsewhere() {
    let Some(moto) = Moto::start() else { return };
    let made = request(&moto, "PUT", "/letters");
    assert!(made.contains(" 200 "), "the bucket is made: {made}");
    let store = AmazonS3Builder::new()
        .with_endpoint(moto.endpoint())
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name("letters")
        .with_access_key_id("tests")
        .with_secret_access_key("secret");
    let store = Arc::new(store.build().expect("complete"));
    let sink = ObjectDeadLetters::new(store, "dead");
    let sent: Vec<_> = (1..=40)
        .map(|number| letter_with(number, &format!("{number:02}")))
        .collect();
    sink.write(&sent).await.expect("written");
    sink.write(&sent[..7]).await.expect("written again");
    let payloads: Vec<_> = (1..=40).map(|number| format!("{number:02}")).collect();
    assert_eq!(redriven(&mut sink.letters_moved_to("done")).await, payloads);
    assert_eq!(redriven(&mut sink.letters()).await, [""; 0], "they are elsewhere");
}
