//! The backend as a test holds it: start it, hand out SDK configurations, look inside, listen on a port.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use bytes::Bytes;

use crate::clock::Clock;
use crate::dynamodb::DynamoDb;
use crate::faults::{FaultInjector, FaultPlan, Layers, NoFaults, PlanError, PlanForm};
use crate::handler::Handler;
use crate::kinesis::{ApiError, Kinesis, KinesisOptions};
use crate::transport::in_process::InProcessClient;
use crate::wire::Json;

/// Where in-process requests seem to go; nothing resolves or connects to it.
const ENDPOINT: &str = "http://kcl-local.invalid";

/// A Kinesis and a DynamoDB inside this process. Clones share everything.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_local::Backend;
///
/// let backend = Backend::start();
/// let kinesis = aws_sdk_kinesis::Client::new(&backend.sdk_config());
/// kinesis.create_stream().stream_name("orders").shard_count(2).send().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Backend {
    handler: Handler,
    clock: Clock,
    region: Region,
    faults: Arc<dyn FaultInjector>,
    plan: FaultPlan,
    beginning: Arc<Mutex<Beginning>>,
}

/// What is there again after a reset.
#[derive(Debug, Default)]
struct Beginning {
    streams: Vec<(String, u32)>,
    plan: PlanForm,
}

/// What a [`Backend`] starts with.
#[derive(Debug)]
pub struct BackendBuilder {
    clock: Option<Clock>,
    region: Option<String>,
    kinesis: KinesisOptions,
    faults: Arc<dyn FaultInjector>,
}

impl BackendBuilder {
    /// The source of time; the machine's time at [`build`](Self::build) if not set.
    pub fn clock(self, clock: Clock) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// The region that clients are configured for and that the ARNs of streams name; that of the Kinesis options if not
    /// set, which is `us-east-1` by default.
    pub fn region(self, region: impl Into<String>) -> Self {
        Self {
            region: Some(region.into()),
            ..self
        }
    }

    /// Limits and delays of Kinesis.
    pub fn kinesis(self, kinesis: KinesisOptions) -> Self {
        Self { kinesis, ..self }
    }

    /// What goes wrong; nothing if not set.
    pub fn faults(self, faults: impl FaultInjector + 'static) -> Self {
        Self {
            faults: Arc::new(faults),
            ..self
        }
    }

    /// Starts the backend, with no streams and no tables.
    pub fn build(self) -> Backend {
        let clock = self.clock.unwrap_or_else(Clock::system);
        let mut kinesis = self.kinesis;
        if let Some(region) = self.region {
            kinesis.region = region;
        }
        let region = Region::new(kinesis.region.clone());
        let handler = Handler::new(Kinesis::new(clock.clone(), kinesis), DynamoDb::new(clock.clone()));
        let plan = FaultPlan::default();
        let faults = Layers {
            plan: plan.script().clone(),
            rest: self.faults,
        };
        Backend {
            handler,
            clock,
            region,
            faults: Arc::new(faults),
            plan,
            beginning: Arc::default(),
        }
    }
}

impl Backend {
    /// A backend with the defaults: the machine's time, region `us-east-1`, no faults.
    pub fn start() -> Self {
        Self::builder().build()
    }

    /// Where to choose something else.
    pub fn builder() -> BackendBuilder {
        BackendBuilder {
            clock: None,
            region: None,
            kinesis: KinesisOptions::default(),
            faults: Arc::new(NoFaults),
        }
    }

    /// A configuration for any AWS SDK client; its requests are answered in this process.
    ///
    /// It has fake credentials, the backend's time, tokio's sleep, and no stalled stream protection.
    /// Retries and time-outs are the SDK's defaults.
    pub fn sdk_config(&self) -> SdkConfig {
        self.sdk_config_named("")
    }

    /// The same, for a client whose requests carry a name that [`faults`](crate::faults) can tell apart.
    pub fn sdk_config_named(&self, client: impl Into<Arc<str>>) -> SdkConfig {
        let credentials = Credentials::new("local", "local", None, None, "kcl-local");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .endpoint_url(ENDPOINT)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .time_source(ClockTime(self.clock.clone()))
            .sleep_impl(TokioSleep::new())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(InProcessClient::new(
                client,
                self.handler.clone(),
                self.faults.clone(),
            ))
            .build()
    }

    /// The Kinesis inside, to look at without requests.
    pub fn kinesis(&self) -> &Kinesis {
        self.handler.kinesis()
    }

    /// The DynamoDB inside, to look at without requests.
    pub fn dynamodb(&self) -> &DynamoDb {
        self.handler.dynamodb()
    }

    /// The source of time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What goes wrong between clients and this backend.
    pub fn faults(&self) -> &Arc<dyn FaultInjector> {
        &self.faults
    }

    /// Trouble that others can add while this runs: over HTTP, under `/_kcl-local/faults`. It goes before what the
    /// [builder](BackendBuilder::faults) was given.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Begins with this plan, now and after each [reset](Self::reset).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn begin_with_plan(&self, plan: PlanForm) -> Result<(), PlanError> {
        self.plan.replace(plan.clone())?;
        self.beginning().plan = plan;
        Ok(())
    }

    /// Creates a stream, now and after each [reset](Self::reset).
    ///
    /// # Errors
    /// What the service would say: that the name is taken or is none, or that there are too many shards.
    pub fn begin_with_stream(&self, name: &str, shards: u32) -> Result<(), ApiError> {
        self.create_stream(name, shards)?;
        self.beginning().streams.push((name.to_owned(), shards));
        Ok(())
    }

    /// Empties both services, brings back what it began with, and lets the clock go at the machine's pace; what it shows
    /// stays, since time does not go back.
    ///
    /// # Errors
    /// As when it began.
    pub fn reset(&self) -> Result<(), ApiError> {
        self.handler.clear();
        let pace = self.clock.set_pace(1.0);
        let beginning = self.beginning();
        let plan = self.plan.replace(beginning.plan.clone());
        pace.map_err(|error| ApiError::internal(error.to_string()))?;
        plan.map_err(|error| ApiError::internal(error.to_string()))?;
        let mut streams = beginning.streams.iter();
        streams.try_for_each(|(name, shards)| self.create_stream(name, *shards))
    }

    fn create_stream(&self, name: &str, shards: u32) -> Result<(), ApiError> {
        let request = serde_json::json!({ "StreamName": name, "ShardCount": shards });
        let request = Bytes::from(request.to_string());
        self.kinesis().call("CreateStream", &request, &Json).map(drop)
    }

    fn beginning(&self) -> MutexGuard<'_, Beginning> {
        // Nothing panics while it is held.
        self.beginning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request handler, to put behind another transport.
    pub fn handler(&self) -> &Handler {
        &self.handler
    }
}

/// The backend's clock, as the SDK wants it: signatures and credentials live in the backend's time.
struct ClockTime(Clock);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeSource for ClockTime {
    fn now(&self) -> SystemTime {
        self.0.now()
    }
}
