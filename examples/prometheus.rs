//! Two workers whose numbers Prometheus can read, with a stream and a lease table in this process.
//!
//! ```console
//! $ cargo run --example prometheus         # or with another port behind `--`
//! $ curl -s http://127.0.0.1:9464/metrics | grep kcl_millis_behind_latest
//! ```
//!
//! `docs/metrics.md` says what the numbers are, and has a dashboard for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::{InitialPosition, Worker, each_batch};
use kcl_local::Backend;
use kcl_metrics::Facade;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::sleep;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const STREAM: &str = "clicks";

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let port = std::env::args().nth(1).map_or(Ok(9464), |port| port.parse())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    PrometheusBuilder::new().with_http_listener(address).install()?;
    println!("numbers at http://{address}/metrics, until ctrl-c");

    let aws = Backend::start().sdk_config();
    let kinesis = Client::new(&aws);
    let create = kinesis.create_stream().stream_name(STREAM);
    create.shard_count(4).send().await?;
    tokio::spawn(produce(kinesis));

    let worker = |id: &'static str| {
        let recorder = Facade::new().label("application", "orders").label("worker", id);
        let processors = each_batch(async |batch, checkpointer| {
            sleep(Duration::from_millis(2) * u32::try_from(batch.len())?).await;
            checkpointer.checkpoint().await?;
            Ok(())
        });
        Worker::builder("orders", STREAM, processors)
            .aws_config(&aws)
            .worker_id(id)
            .initial_position(InitialPosition::TrimHorizon)
            .recorder(Arc::new(recorder))
            .build()
    };
    let (one, two) = (worker("one")?, worker("two")?);
    let (one, two) = tokio::join!(one.run_until_signal(), two.run_until_signal());
    one?;
    two?;
    Ok(())
}

/// Puts about a hundred records a second.
async fn produce(kinesis: Client) -> Result<(), AnyError> {
    for number in 0_u64.. {
        let entry = |key: u64| {
            PutRecordsRequestEntry::builder()
                .partition_key(format!("user-{key}"))
                .data(Blob::new(format!("click {number}")))
                .build()
        };
        let records = (0..10)
            .map(|key| entry(number * 7 + key))
            .collect::<Result<Vec<_>, _>>()?;
        let put = kinesis.put_records().stream_name(STREAM);
        put.set_records(Some(records)).send().await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
