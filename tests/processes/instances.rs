//! The reference deployment as processes: consumers of the example `pageviews`, each on an instance that a metadata service stands for,
//! and instances that go. Whoever is told hands every lease over; nothing is lost or counted twice, also after a kill.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use kcl_ec2::Watch;
use kcl_ec2::testing::{FakeInstance, Listening};
use kcl_examples::pageviews::{Consumer, Producer, Put, Results};
use kcl_examples::{AnyError, streams};
use kcl_lease::{Checkpoint, DynamoDbLeaseStore, Lease, LeaseStore as _, TableOptions};
use kcl_local::Backend;
use kcl_local::faults::{Call, Fault, FaultScript, Loss, Rule};
use kcl_local::transport::tcp::Server;
use kcl_tests::process::{Process, Signal, sign_as};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::flow::Flow;
use crate::timeline::note;
use crate::worker;

/// The environment variable that makes a consumer of this program, and names it.
pub(crate) const NAME: &str = "KCL_PAGEVIEWS_CONSUMER";

const APPLICATION: &str = "pageviews";
const STREAM: &str = "clicks";
const RESULTS: &str = "views";
const SHARDS: usize = 6;
const RATE: u32 = 300;
/// So long that a lease that expired cannot be mistaken for one that was handed over.
const FAILOVER: Duration = Duration::from_secs(8);
/// Clicks are counted so often, as far as it can be seen how long a shard stands still.
const WINDOW: Duration = Duration::from_millis(100);
/// A shard that is handed over stands still for half a second; the rest is for a machine that does other things as well.
const STALL: Duration = Duration::from_secs(4);
/// Whatever is waited for comes about in this time, also on such a machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The consumer process.
pub(crate) fn run(name: &str) -> ExitCode {
    std::thread::spawn(worker::end_with_parent);
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(consume(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn consume(name: &str) -> Result<(), AnyError> {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let consumer = Consumer {
        application: APPLICATION.to_owned(),
        stream: STREAM.to_owned(),
        results: RESULTS.to_owned(),
        worker: Some(name.to_owned()),
        window: WINDOW,
        failover: FAILOVER,
        stop_timeout: Duration::from_secs(20),
        health: None,
        notices: Some(Watch::from_env()?),
    };
    let stopped = consumer.run(&aws, |_| {}).await?;
    if !stopped.is_orderly() {
        return Err(format!("it kept something: {stopped:?}").into());
    }
    Ok(())
}

/// A consumer on an instance of its own.
struct Member {
    name: String,
    process: Process,
    instance: FakeInstance,
    _service: Listening,
}

struct Deployment {
    faults: FaultScript,
    server: Server,
    store: DynamoDbLeaseStore,
    flow: Flow,
    members: Vec<Member>,
    started: usize,
    stop: oneshot::Sender<()>,
    producing: JoinHandle<Result<Put, AnyError>>,
}

impl Deployment {
    async fn begin() -> Self {
        let faults = FaultScript::new();
        let backend = Backend::builder().faults(faults.clone()).build();
        let aws = backend.sdk_config();
        let kinesis = aws_sdk_kinesis::Client::new(&aws);
        let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
        streams::ensure(&kinesis, STREAM, SHARDS as i32)
            .await
            .expect("made");
        let results = Results::new(dynamodb.clone(), RESULTS);
        results.ensure().await.expect("made");
        let (stop, stopped) = oneshot::channel::<()>();
        let producing = Producer::new(kinesis, STREAM, RATE, 1).run(async {
            let _ = stopped.await;
        });
        Self {
            faults,
            server: backend.listen("127.0.0.1:0").await.expect("a port"),
            store: DynamoDbLeaseStore::new(dynamodb, TableOptions::new(APPLICATION)),
            flow: Flow::of(&results),
            members: Vec::new(),
            started: 0,
            stop,
            producing: tokio::spawn(producing),
        }
    }

    async fn start(&mut self) {
        self.started += 1;
        let name = format!("i{}", self.started);
        let instance = FakeInstance::new();
        let service = instance.listen().await.expect("a port");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        sign_as(&mut command, &name)
            .env(NAME, &name)
            .env("AWS_ENDPOINT_URL", self.server.endpoint_url())
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url())
            .env_remove("AWS_EC2_METADATA_DISABLED")
            .stdin(Stdio::piped());
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "kcl_core=info,kcl_lease=info,kcl_ec2=info");
        }
        let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("processes/instances");
        let process = Process::start(&name, &mut command, &logs.join(format!("{name}.log")));
        note(&format!("start {name}"));
        self.members.push(Member {
            name,
            process,
            instance,
            _service: service,
        });
    }

    async fn leases(&self) -> Vec<Lease> {
        self.store
            .scan()
            .await
            .map(|scan| scan.leases)
            .unwrap_or_default()
    }

    /// The shards that a worker's leases are of.
    async fn shards_of(&self, name: &str) -> BTreeSet<String> {
        let leases = self.leases().await;
        let is_its = |lease: &&Lease| {
            [&lease.owner, &lease.checkpoint_owner]
                .into_iter()
                .flatten()
                .any(|id| id.as_str() == name)
        };
        leases
            .iter()
            .filter(is_its)
            .map(|lease| lease.key.to_string())
            .collect()
    }

    /// Waits until each consumer has leases, none is on its way, and every shard has counted something since.
    async fn until_settled(&self) {
        let names: BTreeSet<_> = self.members.iter().map(|member| member.name.clone()).collect();
        let deadline = Instant::now() + PATIENCE;
        let mut settled_at = None;
        loop {
            let leases = self.leases().await;
            let owners: Vec<_> = leases
                .iter()
                .filter(|lease| lease.checkpoint_owner.is_none())
                .filter_map(|lease| Some(lease.owner.as_ref()?.to_string()))
                .collect();
            let is_settled = owners.len() == SHARDS && BTreeSet::from_iter(owners.iter().cloned()) == names;
            settled_at = is_settled.then(|| settled_at.unwrap_or_else(Instant::now));
            if settled_at.is_some_and(|since| self.flow.flowing_since(since).len() == SHARDS) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{names:?} do not share the shards: {owners:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tells an instance that it goes, and waits until it is gone, and its shards flow elsewhere. How long they stood still.
    async fn goes(&mut self, why: &str, tell: impl FnOnce(&Member)) -> Duration {
        let mut member = self.members.remove(0);
        let shards = self.shards_of(&member.name).await;
        assert!(!shards.is_empty(), "{} has something to hand over", member.name);
        self.flow.begin();
        let told_at = Instant::now();
        tell(&member);
        let status = member.process.ended(PATIENCE).await;
        assert!(
            status.success(),
            "{} ended with {status}, see {}",
            member.name,
            member.process.log().display()
        );
        let gone_at = Instant::now();
        assert_eq!(
            self.shards_of(&member.name).await,
            BTreeSet::new(),
            "{} left leases behind",
            member.name
        );
        self.until_flowing(&shards, gone_at).await;
        let stall = self.flow.longest_stall(&shards);
        note(&format!(
            "{why}: {} was gone after {:.1} s; its {} shards stood still for {:.2} s at the longest",
            member.name,
            gone_at.duration_since(told_at).as_secs_f64(),
            shards.len(),
            stall.as_secs_f64()
        ));
        stall
    }

    async fn until_flowing(&self, shards: &BTreeSet<String>, since: Instant) {
        let deadline = Instant::now() + PATIENCE;
        while !self.flow.flowing_since(since).is_superset(shards) {
            assert!(Instant::now() < deadline, "{shards:?} do not all flow");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends an instance without warning, when it has counted what it has not checkpointed in any of its shards: that comes again.
    async fn dies(&mut self) {
        let member = self.members.remove(0);
        let shards = self.shards_of(&member.name).await;
        assert!(!shards.is_empty());
        let stuck = Rule::on("UpdateItem")
            .by(member.name.as_str())
            .matching(is_of_leases);
        let stuck = self.faults.add(stuck.fault(Fault::drop_request(Loss::Hang)));
        let deadline = Instant::now() + PATIENCE;
        while self.faults.hits(stuck) < shards.len() as u64 || !self.are_ahead(&shards).await {
            assert!(
                Instant::now() < deadline,
                "{shards:?} count nothing that is not checkpointed"
            );
            sleep(Duration::from_millis(20)).await;
        }
        self.flow.begin();
        let killed_at = Instant::now();
        member.process.kill();
        self.until_flowing(&shards, killed_at + FAILOVER / 2).await;
        let stall = self.flow.longest_stall(&shards).as_secs_f64();
        note(&format!(
            "kill: the shards of {} stood still for {stall:.1} s",
            member.name
        ));
        assert!(
            stall > FAILOVER.as_secs_f64() / 2.0,
            "whoever is killed hands nothing over: {stall}"
        );
    }

    /// Whether each of these shards has counted more than its lease says.
    async fn are_ahead(&self, shards: &BTreeSet<String>) -> bool {
        let counted = self.flow.positions().await;
        let leases = self.leases().await;
        let is_ahead = |shard: &String| {
            let lease = leases.iter().find(|lease| lease.key.as_str() == shard);
            let counted = counted.get(shard).cloned().map(Checkpoint::At);
            lease.is_some_and(|lease| counted > Some(lease.checkpoint.clone()))
        };
        shards.iter().all(is_ahead)
    }

    /// What was put, once no more is; all consumers are told to stop when it was counted.
    async fn end(self) {
        let _ = self.stop.send(());
        let put = self.producing.await.expect("no panic").expect("all was put");
        let until_counted = async {
            while self.flow.counted().await.values().sum::<u64>() < put.values().sum() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let counted = timeout(PATIENCE, until_counted).await;
        for mut member in self.members {
            member.process.signal(Signal::TERM);
            assert!(member.process.ended(PATIENCE).await.success(), "{}", member.name);
        }
        assert_eq!(self.flow.counted().await, put);
        assert!(counted.is_ok());
        note(&format!(
            "{} clicks are counted, each once",
            put.values().sum::<u64>()
        ));
        self.server.shutdown().await;
    }
}

pub(crate) async fn an_instance_that_goes_hands_every_lease_over() {
    let mut deployment = Deployment::begin().await;
    for _ in 0..3 {
        deployment.start().await;
    }
    let spot = |member: &Member| member.instance.interrupt("terminate", in_two_minutes());
    let scaling_in = |member: &Member| member.instance.target_state("Terminated");
    let shutting_down = |member: &Member| member.process.signal(Signal::TERM);
    let mut stalls = Vec::new();
    deployment.until_settled().await;
    stalls.push(deployment.goes("spot interruption", spot).await);
    deployment.start().await;
    deployment.until_settled().await;
    stalls.push(deployment.goes("instance refresh", scaling_in).await);
    deployment.start().await;
    deployment.until_settled().await;
    stalls.push(deployment.goes("shutdown", shutting_down).await);
    deployment.start().await;
    deployment.until_settled().await;
    deployment.dies().await;
    deployment.end().await;
    assert!(stalls.iter().all(|stall| *stall < STALL), "{stalls:?}");
}

/// Whether a request is about the lease table.
fn is_of_leases(call: &Call<'_>) -> bool {
    let table = format!("\"TableName\":\"{APPLICATION}\"");
    String::from_utf8_lossy(call.body).contains(&table)
}

/// Nobody looks at it.
fn in_two_minutes() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_120)
}
