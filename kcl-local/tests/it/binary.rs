//! The `kcl-local` program: it serves, it stops when told to, and it says why it cannot start.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing here takes longer than this unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn program(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kcl-local"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The address that the program's first line tells.
pub(crate) async fn address(program: &mut Child) -> String {
    let mut line = String::new();
    let mut output = BufReader::new(program.stdout.as_mut().unwrap());
    timeout(PATIENCE, output.read_line(&mut line))
        .await
        .unwrap()
        .unwrap();
    line.trim().rsplit("http://").next().unwrap().to_owned()
}

async fn health(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test]
#[cfg(unix)]
async fn it_serves_until_it_is_told_to_stop() {
    for signal in ["TERM", "INT"] {
        let mut program = program(&["--port", "0"]);
        let address = address(&mut program).await;
        assert!(health(&address).await.starts_with("HTTP/1.1 200 OK"));

        let process = program.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &process])
                .status()
                .await
                .unwrap()
                .success()
        );
        let status = timeout(PATIENCE, program.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "after SIG{signal}");
        assert!(TcpStream::connect(&address).await.is_err());
    }
}

#[tokio::test]
#[cfg(feature = "tls")]
async fn with_tls_it_writes_down_whom_to_trust() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("authority.pem");
    let file = file.to_str().unwrap();
    let mut program = program(&["--port", "0", "--tls", file]);
    let mut output = BufReader::new(program.stdout.as_mut().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("AWS_CA_BUNDLE") {
        let line = timeout(PATIENCE, output.next_line()).await.unwrap().unwrap();
        said.push_str(&line.expect("it tells whom to trust"));
        said.push('\n');
    }
    assert!(said.contains(&format!("AWS_CA_BUNDLE={file}")), "{said}");
    let address = said.split("https://").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    let authority = std::fs::read_to_string(file).unwrap();
    let mut stream = crate::pushed::connect(address, &authority, &["http/1.1"])
        .await
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 15];
    timeout(PATIENCE, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_port_in_use_is_told_and_is_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = timeout(PATIENCE, program(&["--port", &port]).wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{said}"
    );
}
