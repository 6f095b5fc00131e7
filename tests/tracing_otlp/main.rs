//! The example that sends spans to a collector: they arrive, and those of a batch hang together.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test with a program in real time"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// For so long the example may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A collector, as far as it takes spans over HTTP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Listens on a port; which one.
    fn start() -> (Self, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let collector = Self::default();
        let listening = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                listening.take(stream.expect("connected"));
            }
        });
        (collector, port)
    }

    /// One request.
    fn take(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            match line.trim() {
                "" => break,
                line => lines.push(line.to_ascii_lowercase()),
            }
        }
        assert!(lines[0].starts_with("post /v1/traces "), "{lines:?}");
        let length = lines
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.expect("a length").parse().expect("a number")];
        reader.read_exact(&mut body).expect("a body");
        let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("spans");
        let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
        self.0
            .lock()
            .expect("whole")
            .extend(scopes.flat_map(|it| it.spans));
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("answered");
    }
}

/// The example, which is built with the tests.
fn example() -> Command {
    let test = std::env::current_exe().expect("it runs");
    let built = test.parent().and_then(Path::parent).expect("a target folder");
    let program: PathBuf = built.join("examples").join("tracing_otlp");
    let mut command = Command::new(program);
    command
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdout(Stdio::piped());
    command
}

/// What a program says, if it ends well and in time.
fn said(mut command: Command) -> String {
    let mut program: Child = command.spawn().expect("the example is built");
    let mut said = String::new();
    let mut stdout = program.stdout.take().expect("piped");
    let reading = std::thread::spawn(move || stdout.read_to_string(&mut said).map(|_| said));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = program.try_wait().expect("known") {
            break status;
        }
        if Instant::now() > deadline {
            program.kill().expect("killed");
            panic!("the example does not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = reading.join().expect("read").expect("text");
    assert!(status.success(), "{said}");
    said
}

#[test]
fn the_spans_of_a_batch_arrive_at_a_collector_and_hang_together() {
    let (collector, port) = Collector::start();
    let mut example = example();
    example.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"));
    said(example);
    let spans = collector.0.lock().expect("whole").clone();
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let path = |span: &Span| {
        let mut path = vec![span.name.clone()];
        let mut above = by_id.get(span.parent_span_id.as_slice());
        while let Some(parent) = above {
            assert_eq!(parent.trace_id, span.trace_id);
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(parent.end_time_unix_nano >= span.end_time_unix_nano);
            path.push(parent.name.clone());
            above = by_id.get(parent.parent_span_id.as_slice());
        }
        path.join(" < ")
    };
    for expected in [
        "write < process_records < batch < read",
        "checkpoint < process_records < batch < read",
    ] {
        assert!(spans.iter().any(|span| path(span) == expected), "{expected}");
    }
    // Those that failed are marked, and were tried again below the same batch.
    let is_failed = |span: &&Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    let calls = || spans.iter().filter(|span| span.name == "process_records");
    let failed = calls().find(is_failed).expect("the sink is away now and then");
    let of_batch = calls().filter(|span| span.parent_span_id == failed.parent_span_id);
    assert_eq!(of_batch.filter(|span| !is_failed(span)).count(), 1, "{failed:?}");
}

#[test]
fn without_a_collector_spans_are_lines() {
    let said = said(example());
    for part in [
        "200 records were processed",
        "read{",
        ":batch{",
        ":process_records{",
        "error=\"the sink is away\"",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
