//! Batches as traces, for a collector of OpenTelemetry: each goes from its read over the calls of the processor to the checkpoint.
//!
//! ```console
//! $ cargo run --example tracing_otlp                                                        # without a collector: spans as lines
//! $ docker run -p 4318:4318 -p 16686:16686 jaegertracing/jaeger                             # a collector that shows them
//! $ OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run --example tracing_otlp      # then http://127.0.0.1:16686
//! ```
//!
//! `docs/tracing.md` says which spans there are.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::{Worker, each_batch};
use kcl_local::Backend;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::time::{sleep, timeout};
use tracing::level_filters::LevelFilter;
use tracing::{Instrument as _, info_span};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const STREAM: &str = "clicks";
const COLLECTOR: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const ROUNDS: usize = 20;
const RECORDS: usize = 10;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let provider = match std::env::var_os(COLLECTOR) {
        Some(_) => Some(to_collector()?),
        None => {
            to_lines();
            None
        }
    };

    let aws = Backend::start().sdk_config();
    let kinesis = Client::new(&aws);
    let create = kinesis.create_stream().stream_name(STREAM);
    create.shard_count(2).send().await?;

    static CALLS: AtomicUsize = AtomicUsize::new(0);
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let processors = each_batch(async |batch, checkpointer| {
        // A sink that is away now and then: the batch comes again, and its trace shows that.
        if CALLS.fetch_add(1, Ordering::Relaxed) % 5 == 1 {
            return Err("the sink is away".into());
        }
        // A span of the application's own hangs below that of the call.
        let write = info_span!("write", rows = batch.len());
        sleep(Duration::from_millis(20)).instrument(write).await;
        checkpointer.checkpoint().await?;
        DONE.fetch_add(batch.len(), Ordering::Relaxed);
        Ok(())
    });
    let worker = Worker::builder("orders", STREAM, processors)
        .aws_config(&aws)
        .build()?;
    let handle = worker.handle();
    let working = tokio::spawn(worker.run_until_signal());

    produce(&kinesis).await?;
    let all_done = async {
        while DONE.load(Ordering::Relaxed) < ROUNDS * RECORDS {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), all_done).await?;
    handle.shutdown().await;
    working.await??;
    println!("{} records were processed", DONE.load(Ordering::Relaxed));

    if let Some(provider) = provider {
        // It sends what is left, and blocks for as long as that takes.
        tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    }
    Ok(())
}

/// The library's spans have a target of their own, and the level DEBUG.
fn wanted() -> Targets {
    Targets::new()
        .with_target("kcl_core::spans", LevelFilter::DEBUG)
        .with_target(module_path!(), LevelFilter::DEBUG)
}

/// What the worker has to say.
fn said() -> Targets {
    Targets::new().with_default(LevelFilter::INFO)
}

/// Sends spans to the collector that the environment names.
fn to_collector() -> Result<SdkTracerProvider, AnyError> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("orders").build())
        .with_batch_exporter(exporter)
        .build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("kcl"));
    tracing_subscriber::registry()
        .with(spans.with_filter(wanted()))
        .with(tracing_subscriber::fmt::layer().with_filter(said()))
        .init();
    Ok(provider)
}

/// Without a collector: a line for each span when it ends, with what is above it and how long it took.
fn to_lines() {
    println!("set {COLLECTOR} to see these spans in a collector");
    let spans = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stdout().is_terminal())
        .with_span_events(FmtSpan::CLOSE);
    tracing_subscriber::registry()
        .with(spans.with_filter(wanted()))
        .init();
}

/// Puts ten records at a time.
async fn produce(kinesis: &Client) -> Result<(), AnyError> {
    for round in 0..ROUNDS {
        let entry = |key: usize| {
            PutRecordsRequestEntry::builder()
                .partition_key(format!("user-{key}"))
                .data(Blob::new(format!("click {round}")))
                .build()
        };
        let records = (0..RECORDS).map(entry).collect::<Result<Vec<_>, _>>()?;
        let put = kinesis.put_records().stream_name(STREAM);
        put.set_records(Some(records)).send().await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
