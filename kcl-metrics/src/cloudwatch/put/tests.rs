use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_cloudwatch::config::{BehaviorVersion, Credentials, Region, SharedAsyncSleep};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use ciborium::Value;
use kcl_lease::{Counter, Environment, Gauge, Labels};
use tokio::time::{Instant, sleep};

use super::*;

/// CloudWatch, as far as it takes metrics. It refuses what it is told to.
#[derive(Debug, Clone, Default)]
struct Service(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The data of each request.
    requests: Vec<Vec<Value>>,
    /// The namespaces that were named.
    namespaces: Vec<String>,
    largest: usize,
    /// Status, code and message of the answer.
    refusal: Option<(u16, &'static str)>,
    attempts: usize,
}

fn field<'a>(map: &'a Value, name: &str) -> &'a Value {
    let entries = map.as_map().expect("a map");
    let found = entries.iter().find(|(key, _)| key.as_text() == Some(name));
    &found.unwrap_or_else(|| panic!("no {name} in {map:?}")).1
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::Integer(number) => i128::from(*number) as f64,
        other => panic!("{other:?} is no number"),
    }
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("whole")
    }

    fn client(&self) -> Client {
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::new("tests", "secret", None, None, "tests"))
            .sleep_impl(SharedAsyncSleep::new(
                aws_smithy_async::rt::sleep::TokioSleep::new(),
            ))
            .disable_request_compression(true)
            .http_client(self.clone());
        Client::from_conf(config.build())
    }

    fn refuses(&self, status: u16, code: &'static str) {
        self.state().refusal = Some((status, code));
    }

    /// The data of all requests, by name and dimensions.
    fn data(&self) -> Vec<(String, Value)> {
        let state = self.state();
        let named = |datum: &Value| {
            let dimensions = field(datum, "Dimensions").as_array().expect("a list");
            let text = |value: &Value| value.as_text().expect("text").to_owned();
            let each = dimensions
                .iter()
                .map(|it| format!("{}={}", text(field(it, "Name")), text(field(it, "Value"))));
            let name = text(field(datum, "MetricName"));
            (
                format!("{name}[{}]", each.collect::<Vec<_>>().join(",")),
                datum.clone(),
            )
        };
        state.requests.iter().flatten().map(named).collect()
    }
}

impl HttpClient for Service {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Service {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        assert!(
            request.uri().ends_with("/operation/PutMetricData"),
            "{}",
            request.uri()
        );
        let body = request.body().bytes().expect("in memory");
        let mut state = self.state();
        state.attempts += 1;
        let answer = |status: u16, body: Value| {
            let mut bytes = Vec::new();
            ciborium::into_writer(&body, &mut bytes).expect("written");
            let mut answer = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(bytes));
            answer.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
            answer
        };
        let answer = match state.refusal {
            Some((status, code)) => {
                let text = |text: &str| Value::Text(text.to_owned());
                let body = vec![(text("__type"), text(code)), (text("message"), text("no"))];
                answer(status, Value::Map(body))
            }
            None => {
                let sent: Value = ciborium::from_reader(body).expect("CBOR");
                let data = field(&sent, "MetricData").as_array().expect("a list").clone();
                let namespace = field(&sent, "Namespace").as_text().expect("text").to_owned();
                state.largest = state.largest.max(body.len());
                state.requests.push(data);
                state.namespaces.push(namespace);
                answer(200, Value::Map(Vec::new()))
            }
        };
        HttpConnectorFuture::ready(Ok(answer))
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn numbers() -> CloudWatch {
    let started = Instant::now();
    let clock = move || UNIX_EPOCH + Duration::from_secs(1_800_000_000) + started.elapsed();
    CloudWatch::new("orders")
        .worker_id("w1")
        .environment(Environment::seeded(7, clock))
}

#[tokio::test(start_paused = true)]
async fn a_minute_is_a_request_of_statistic_sets() {
    let service = Service::default();
    let exporter = numbers().put_with(service.client()).expect("started");
    let recorder = exporter.recorder();
    for records in [10, 30, 20] {
        recorder.add(Counter::RecordsProcessed, Labels::of_shard("s"), records);
    }
    recorder.set(Gauge::LeasesHeld, Labels::NONE, 4.0);
    sleep(MINUTE * 3 / 2).await;
    assert_eq!(service.state().namespaces, ["orders"]);
    let data = service.data();
    let datum = |name: &str| {
        let found = data.iter().find(|(named, _)| named == name);
        &found.unwrap_or_else(|| panic!("no {name} in {data:?}")).1
    };
    let processed = datum("RecordsProcessed[Operation=ProcessTask]");
    let set = field(processed, "StatisticValues");
    let figures = ["SampleCount", "Sum", "Minimum", "Maximum"].map(|name| number(field(set, name)));
    assert_eq!(figures, [3.0, 60.0, 10.0, 30.0]);
    let Value::Tag(1, seconds) = field(processed, "Timestamp") else {
        panic!("a time");
    };
    assert_eq!(number(seconds), 1_800_000_000.0, "when the minute began");
    assert_eq!(field(processed, "Unit").as_text(), Some("Count"));
    datum("CurrentLeases[Operation=RenewAllLeases,WorkerIdentifier=w1]");
    assert_eq!(exporter.finish().await, 0);
    assert_eq!(service.state().requests.len(), 2, "and the last minute's");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_shards_fits_into_requests_of_the_service() {
    let service = Service::default();
    let numbers = numbers().by_shard(2_000);
    let exporter = numbers.put_with(service.client()).expect("started");
    for shard in 0..2_000 {
        let id = format!("{shard}{}", "\u{1f980}".repeat(2_560));
        exporter
            .recorder()
            .add(Counter::RecordsProcessed, Labels::of_shard(&id), 1);
    }
    exporter.finish().await;
    let state = service.state();
    let sizes: Vec<_> = state.requests.iter().map(Vec::len).collect();
    // Two metrics of each shard, and three of all.
    assert_eq!(sizes.iter().sum::<usize>(), 4_003, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 1_000));
    assert!(state.largest <= 1 << 20, "{}", state.largest);
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_is_repeated_within_bounds_and_kept() {
    let service = Service::default();
    let exporter = numbers().put_with(service.client()).expect("started");
    service.refuses(400, "ThrottlingException");
    sleep(MINUTE * 3).await;
    let attempts = service.state().attempts;
    assert!((2..=9).contains(&attempts), "the SDK repeats it, too: {attempts}");
    service.state().refusal = None;
    sleep(MINUTE).await;
    assert!(service.state().requests.len() >= 3);
    assert_eq!(exporter.finish().await, 0);
}

#[tokio::test(start_paused = true)]
async fn each_answer_is_understood() {
    let expected = [
        (400, "ThrottlingException", Some("throttled")),
        (403, "AccessDenied", Some("access-denied")),
        (403, "ExpiredToken", Some("credentials-expired")),
        (500, "InternalServiceFault", Some("unavailable")),
        (503, "ServiceUnavailable", Some("unavailable")),
        (400, "SomethingNew", Some("unavailable")),
        (400, "InvalidParameterValueException", None),
        (413, "RequestEntityTooLarge", None),
    ];
    for (status, code, kept_for) in expected {
        let service = Service::default();
        service.refuses(status, code);
        let mut put = Put {
            namespace: "orders".to_owned(),
            client: service.client(),
        };
        let refusal = put.send(&Vec::new()).await.expect_err("refused");
        let found = match &refusal {
            Refusal::NotNow { code, .. } => Some(*code),
            Refusal::Never(_) => None,
        };
        assert_eq!(found, kept_for, "{code}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_namespace_of_aws_is_refused_at_once() {
    let client = Service::default().client();
    let error = CloudWatch::new("AWS/Kinesis")
        .put_with(client)
        .expect_err("refused");
    assert!(matches!(error, InvalidExport::Namespace { .. }), "{error}");
}
