//! The program `kcl`: looks at, explains and changes lease tables.

use std::io::{self, BufRead as _, BufWriter, IsTerminal as _, Write as _};
use std::process::ExitCode;

use aws_config::{BehaviorVersion, Region};
use aws_types::SdkConfig;
use clap::Parser as _;
use kcl_cli::{Arguments, Colour, Failure, Screen, run};
use kcl_lease::Environment;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Wrong arguments end here, with 2.
    let arguments = Arguments::parse();
    // What the library has to say is shown if RUST_LOG asks for it.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(go(arguments)),
        Err(error) => Err(error.into()),
    };
    ExitCode::from(match result {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => 0,
        Err(failure) => failure.code(),
    })
}

async fn go(arguments: Arguments) -> Result<u8, Failure> {
    let is_terminal = io::stdout().is_terminal();
    let has_colours = match arguments.colour() {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let sdk = configuration(&arguments).await;
    let (mut out, mut err) = (BufWriter::new(io::stdout()), io::stderr());
    let mut screen = Screen::new(&mut out, &mut err)
        .terminal(is_terminal)
        .colours(has_colours)
        .json(arguments.is_json());
    if io::stdin().is_terminal() {
        screen = screen.asking(Box::new(ask));
    }
    let result = run(arguments, &sdk, &Environment::system(), &mut screen).await;
    drop(screen);
    let flushed = out.flush();
    match result {
        Ok(status) => {
            flushed?;
            Ok(status.code())
        }
        Err(failure) => {
            if !failure.is_broken_pipe() {
                let mut nothing = io::sink();
                Screen::new(&mut nothing, &mut err).say(&failure)?;
            }
            Err(failure)
        }
    }
}

/// Credentials and region from where the AWS CLI takes them.
async fn configuration(arguments: &Arguments) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(url) = arguments.endpoint_url() {
        loader = loader.endpoint_url(url);
    }
    if let Some(region) = arguments.region() {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(profile) = arguments.profile() {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// Whether whoever sits there says yes.
fn ask(question: &str) -> io::Result<bool> {
    let mut err = io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
