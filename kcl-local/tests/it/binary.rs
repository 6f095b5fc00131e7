//! The `kcl-local` program: it serves, it stops when told to, and it says why it cannot start.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing here takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn program(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kcl-local"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The address that the program's first line tells.
async fn address(program: &mut Child) -> String {
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
