//! Serving, until it is told to stop.

use std::io::{self, Write as _};

use kcl_local::Backend;
use kcl_local::faults::PlanForm;
use kcl_local::transport::tcp::{ListenOptions, Server};
#[cfg(feature = "tls")]
use kcl_local::transport::tls::Tls;

use crate::AnyError;
use crate::arguments::{LogFormat, Serve};
use crate::greeting::Greeting;
use crate::profile;

pub(crate) async fn serve(arguments: Serve) -> Result<(), AnyError> {
    let stop = stop_signal()?;
    let backend = Backend::builder().kinesis(profile::options(&arguments)).build();
    begin(&backend, &arguments)?;
    // Naming a host is the consent; the default is loopback.
    let mut hosts = arguments.allow_host.clone();
    hosts.push(arguments.host.clone());
    let options = ListenOptions {
        allow_remote: true,
        hosts,
        origins: arguments.allow_origin.clone(),
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
    let greeting = greeting(&server, &arguments);
    tracing::info!(endpoint = greeting.endpoint, "listening");
    if arguments.log_format == LogFormat::Text {
        // Whoever started this may have closed its output; that is no reason to stop.
        let _ = io::stdout().write_all(greeting.text().as_bytes());
    }
    stop.await;
    tracing::info!("stopping");
    server.shutdown().await;
    Ok(())
}

/// What is there before anybody can connect.
fn begin(backend: &Backend, arguments: &Serve) -> Result<(), AnyError> {
    for (name, shards) in &arguments.streams {
        let created = backend.begin_with_stream(name, *shards);
        created.map_err(|error| format!("cannot create {name} with {shards} shards: {error}"))?;
    }
    if let Some(file) = &arguments.faults {
        let wrong =
            |error: &dyn std::fmt::Display| format!("cannot plan the faults in {}: {error}", file.display());
        let text = std::fs::read(file).map_err(|error| wrong(&error))?;
        let plan: PlanForm = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
        backend.begin_with_plan(plan).map_err(|error| wrong(&error))?;
    }
    Ok(())
}

/// What HTTPS is to be spoken with, if it is. Whom to trust stands in its file before anybody can connect.
#[cfg(feature = "tls")]
fn certificate(arguments: &Serve) -> Result<Option<Tls>, AnyError> {
    let Some(file) = &arguments.tls else {
        return Ok(None);
    };
    let host = arguments.host.trim_matches(['[', ']']);
    let names: Vec<&str> = arguments
        .allow_host
        .iter()
        .map(String::as_str)
        .chain([host])
        .collect();
    let tls = Tls::new(&names)?;
    std::fs::write(file, tls.authority())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(Some(tls))
}

/// What makes clients trust the server.
fn trust(arguments: &Serve) -> Option<String> {
    #[cfg(feature = "tls")]
    return arguments.tls.as_ref().map(|file| file.display().to_string());
    #[cfg(not(feature = "tls"))]
    {
        let _ = arguments;
        None
    }
}

fn greeting<'a>(server: &Server, arguments: &'a Serve) -> Greeting<'a> {
    let mut address = server.local_addr();
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = server.endpoint_url();
    let scheme = scheme.split(':').next().unwrap_or_default();
    Greeting {
        endpoint: format!("{scheme}://{address}"),
        region: &arguments.region,
        trust: trust(arguments),
        stream: arguments.streams.first().map(|(name, _)| name.as_str()),
    }
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
