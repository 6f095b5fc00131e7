//! Peers that speak bad HTTP, too slowly, too much, or not at all: each is turned away and others are served.

use std::time::Duration;

use kcl_local::Backend;
use kcl_local::transport::tcp::{ListenOptions, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing here takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

const HEAD: &str = "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: DynamoDB_20120810.ListTables\r\n\
    content-type: application/x-amz-json-1.0\r\nauthorization: AWS4-HMAC-SHA256 x\r\n";

/// A server without much patience.
async fn server() -> Server {
    let short = Duration::from_millis(300);
    let options = ListenOptions {
        idle_timeout: short,
        body_timeout: short,
        ..ListenOptions::default()
    };
    Backend::start()
        .listen_with("127.0.0.1:0", options)
        .await
        .unwrap()
}

/// Sends `bytes` and returns what comes back until the server closes the connection.
async fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A reset after the answer is an end as well.
    let _ = end.expect("the server never closed the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A proper request on a new connection is still served.
async fn still_serves(server: &Server) {
    let answer = exchange(
        server,
        format!("{HEAD}content-length: 2\r\nconnection: close\r\n\r\n{{}}").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with(r#"{"TableNames":[]}"#), "{answer}");
}

#[tokio::test]
async fn bad_request_lines_and_headers_are_400() {
    let server = server().await;
    let long = format!("{HEAD}x-long: {}\r\n\r\n", "x".repeat(1_000_000));
    for bytes in [
        &b"HELO localhost\r\n\r\n"[..],
        b"POST / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon here\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let answer = exchange(&server, bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    let answer = exchange(&server, long.as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    still_serves(&server).await;
}

#[tokio::test]
async fn a_declared_body_over_the_limit_is_refused_unread() {
    let server = server().await;
    let answer = exchange(
        &server,
        format!("{HEAD}content-length: 99999999999\r\n\r\n").as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("RequestEntityTooLargeException"), "{answer}");
    still_serves(&server).await;
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_is_cut() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream
        .write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 0x10_0000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 200 && stream.write_all(&chunk).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 200, "the server swallowed {sent} MiB");
    still_serves(&server).await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_a_timeout() {
    let server = server().await;
    let answer = exchange(&server, format!("{HEAD}content-length: 10\r\n\r\n{{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    still_serves(&server).await;
}

#[tokio::test]
async fn silent_and_slow_peers_are_dropped() {
    let server = server().await;
    for bytes in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n",
        b"POST / HTTP/1.1\r\nhost: loc",
    ] {
        let answer = exchange(&server, bytes).await;
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_request() {
    let server = server().await;
    let answer = exchange(&server, format!("{HEAD}content-length: 2\r\n\r\n{{}}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_broken_http_2_connection_harms_nobody() {
    let server = server().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    exchange(&server, &[preface.as_slice(), &[0xff; 64]].concat()).await;
    exchange(
        &server,
        &[preface.as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat(),
    )
    .await;
    still_serves(&server).await;
}
