//! Kinesis and DynamoDB on a local port, in memory: `kcl-local --port 4567`.

use std::io::{self, Write};
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kcl_local::Backend;
use kcl_local::transport::tcp::{ListenOptions, Server};
#[cfg(feature = "tls")]
use kcl_local::transport::tls::Tls;
use tracing_subscriber::EnvFilter;

/// Kinesis Data Streams and DynamoDB on one local port, in memory, for development and tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Port to listen on; 0 takes any free one
    #[arg(short, long, default_value_t = 4567)]
    port: u16,

    /// Host to listen on. Nothing protects the port: give anything but a loopback address only where every machine that
    /// reaches it may read and change everything
    #[arg(long, default_value = "127.0.0.1")]
    host: String,

    /// Region that the ARNs of streams name
    #[arg(long, default_value = "us-east-1")]
    region: String,

    /// Serve HTTPS, with a certificate that is made now for this host; whom clients have to trust is written to this file
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(io::stderr)
        .init();
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anything)
        .and_then(|runtime| runtime.block_on(serve(arguments)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kcl-local: {error}");
            ExitCode::FAILURE
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn anything(error: impl Into<AnyError>) -> AnyError {
    error.into()
}

async fn serve(arguments: Arguments) -> Result<(), AnyError> {
    let stop = stop_signal()?;
    let backend = Backend::builder().region(arguments.region.as_str()).build();
    // Naming a host is the consent; the default is loopback.
    let options = ListenOptions {
        allow_remote: true,
        #[cfg(feature = "tls")]
        tls: certificate(&arguments)?,
        ..ListenOptions::default()
    };
    let address = if arguments.host.contains(':') && !arguments.host.starts_with('[') {
        format!("[{}]:{}", arguments.host, arguments.port)
    } else {
        format!("{}:{}", arguments.host, arguments.port)
    };
    let server = backend.listen_with(&address, options).await?;
    // Whoever started this may have closed its output; that is no reason to stop.
    let _ = io::stdout().write_all(greeting(&server, &arguments).as_bytes());
    stop.await;
    server.shutdown().await;
    Ok(())
}

/// What HTTPS is to be spoken with, if it is. Whom to trust stands in its file before anybody can connect.
#[cfg(feature = "tls")]
fn certificate(arguments: &Arguments) -> Result<Option<Tls>, AnyError> {
    let Some(file) = &arguments.tls else {
        return Ok(None);
    };
    let host = arguments.host.trim_matches(['[', ']']);
    let tls = Tls::new(&[host])?;
    std::fs::write(file, tls.authority())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(Some(tls))
}

/// What makes clients trust the server.
fn trust(arguments: &Arguments) -> String {
    #[cfg(feature = "tls")]
    if let Some(file) = &arguments.tls {
        return format!(" AWS_CA_BUNDLE={}", file.display());
    }
    let _ = arguments;
    String::new()
}

/// How to point clients at the server.
fn greeting(server: &Server, arguments: &Arguments) -> String {
    let mut address = server.local_addr();
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = server.endpoint_url();
    let scheme = scheme.split(':').next().unwrap_or_default();
    let endpoint = format!("{scheme}://{address}");
    let (region, trust) = (&arguments.region, trust(arguments));
    format!(
        "\
Kinesis and DynamoDB listen on {endpoint}

For any AWS SDK, and for the AWS CLI:
  export AWS_ENDPOINT_URL={endpoint} AWS_REGION={region} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local{trust}

  aws kinesis create-stream --stream-name orders --shard-count 2

In Python:
  boto3.client(\"kinesis\", endpoint_url=\"{endpoint}\", region_name=\"{region}\",
               aws_access_key_id=\"local\", aws_secret_access_key=\"local\")

Everything is in memory and gone when this stops (ctrl-c).
"
    )
}

/// Completes at the first SIGINT or, on Unix, SIGTERM. Signals are caught from now on.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Completes at the first ctrl-c.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
