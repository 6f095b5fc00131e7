//! Where a Kinesis and a DynamoDB are found.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use kcl_core::Environment;
use kcl_local::faults::FaultScript;
use kcl_local::kinesis::KinesisOptions;
use kcl_local::{Backend, clock::Clock};

use crate::policy::Policed;
use crate::world::WorldOptions;

/// The servers of a world.
pub trait Servers: Clone + fmt::Debug + Send + Sync + 'static {
    /// How a client of this name reaches them; the empty name is that of the test.
    fn aws(&self, client: &str) -> SdkConfig;

    /// What a worker knows of time and chance.
    fn environment(&self, seed: u64) -> Environment;

    /// How many times as long as with the bundled backend, in virtual time, anything may take.
    fn slack(&self) -> u32;
}

/// The bundled backend, in this process.
#[derive(Debug, Clone)]
pub struct Bundled {
    /// The backend.
    pub backend: Backend,
    /// What goes wrong.
    pub faults: FaultScript,
}

impl Bundled {
    /// Time follows tokio's clock, from a fixed date unless otherwise said.
    pub fn new(options: &WorldOptions) -> Self {
        let faults = FaultScript::new();
        let clock = if options.machine_time {
            Clock::system()
        } else {
            Clock::starting_at(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        };
        let backend = Backend::builder().clock(clock).kinesis(KinesisOptions {
            enforce_limits: options.enforce_limits,
            subscription_lifetime: options.subscription_lifetime,
            ..KinesisOptions::default()
        });
        let backend = if options.is_policed {
            backend.faults(Policed::new(options.application, options.stream, faults.clone()))
        } else {
            backend.faults(faults.clone())
        };
        let backend = backend.build();
        Self { backend, faults }
    }
}

impl Servers for Bundled {
    fn aws(&self, client: &str) -> SdkConfig {
        self.backend.sdk_config_named(client)
    }

    fn environment(&self, seed: u64) -> Environment {
        let clock = self.backend.clock().clone();
        Environment::seeded(seed, move || clock.now())
    }

    fn slack(&self) -> u32 {
        1
    }
}

/// Servers that listen on ports, in real time.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The endpoint of Kinesis.
    pub kinesis: String,
    /// The endpoint of DynamoDB.
    pub dynamodb: String,
}

impl Remote {
    /// Both behind one endpoint.
    pub fn at(endpoint: &str) -> Self {
        Self {
            kinesis: endpoint.to_owned(),
            dynamodb: endpoint.to_owned(),
        }
    }
}

impl Servers for Remote {
    fn aws(&self, client: &str) -> SdkConfig {
        let name = if client.is_empty() { "tests" } else { client };
        let credentials = Credentials::new(name, "secret", None, None, "tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(Endpoints(self.clone()))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    fn environment(&self, _: u64) -> Environment {
        Environment::system()
    }

    fn slack(&self) -> u32 {
        5
    }
}

/// Answers where `AWS_ENDPOINT_URL_KINESIS` and `AWS_ENDPOINT_URL_DYNAMODB` would.
#[derive(Debug)]
struct Endpoints(Remote);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        match (key.env(), key.service_id()) {
            ("AWS_ENDPOINT_URL", "Kinesis") => Some(self.0.kinesis.clone()),
            ("AWS_ENDPOINT_URL", "DynamoDB") => Some(self.0.dynamodb.clone()),
            _ => None,
        }
    }
}
