//! The reference deployments say what the library says: permissions, times, paths, numbers. Their formats are checked by the tools for
//! them, where these are there.

mod leaving;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection, ScalarAttributeType,
};
use kcl_core::{Worker, WorkerConfig, each_batch};
use kcl_health::HealthServer;
use kcl_lease::{
    Counter, DynamoDbLeaseStore, Gauge, Histogram, LeaseStore as _, TableCreation, TableOptions,
};
use kcl_local::Backend;
use serde_json::{Value, json};

/// Between a notice and the moment at which a worker knows of it.
const NOTICED: Duration = Duration::from_secs(5);

/// The folder with the deployments.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deployments")
}

fn text(file: &str) -> String {
    let path = folder().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file's documents. Short forms of CloudFormation such as `!Sub` become `{"Sub": ...}`.
fn documents(file: &str) -> Vec<Value> {
    let text = text(file);
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let documents = documents.map(|document| {
        let value = serde::Deserialize::deserialize(document);
        plain(value.unwrap_or_else(|error| panic!("{file}: {error}")))
    });
    documents.collect()
}

fn plain(value: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match value {
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            json!({ name.trim_start_matches('!'): plain(tagged.value) })
        }
        Yaml::Sequence(values) => values.into_iter().map(plain).collect(),
        Yaml::Mapping(mapping) => {
            let named = |key: Yaml| key.as_str().expect("a name").to_owned();
            mapping
                .into_iter()
                .map(|(key, value)| (named(key), plain(value)))
                .collect()
        }
        other => serde_json::to_value(other).expect("plain"),
    }
}

fn template(folder: &str) -> Value {
    documents(&format!("{folder}/template.yml")).remove(0)
}

/// All values under a name, wherever they are.
fn all<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(name));
            fields.values().for_each(|field| all(field, name, found));
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, name, found)),
        _ => {}
    }
}

fn found<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    let mut values = Vec::new();
    all(value, name, &mut values);
    values
}

/// A statement by what it allows, its ARNs as the documented policy writes them.
fn statement(said: &Value) -> (String, (String, BTreeSet<String>, BTreeSet<String>)) {
    let words = |name: &str| -> BTreeSet<String> {
        let words = said[name].as_array().expect("a list").iter();
        let word = |word: &Value| word.as_str().or(word["Sub"].as_str()).expect("a text").to_owned();
        let replaced = |word: String| {
            [
                ("${AWS::Partition}", "aws"),
                ("${AWS::Region}", "REGION"),
                ("${AWS::AccountId}", "ACCOUNT"),
                ("${StreamName}", "STREAM"),
                ("${ApplicationName}", "APPLICATION"),
            ]
            .iter()
            .fold(word, |word, (from, to)| word.replace(from, to))
        };
        words.map(word).map(replaced).collect()
    };
    let name = said["Sid"].as_str().expect("a name").to_owned();
    let effect = said["Effect"].as_str().expect("a word").to_owned();
    (name, (effect, words("Action"), words("Resource")))
}

#[test]
fn workers_may_do_what_the_documented_policy_says_and_nothing_else() {
    let documented: Value = serde_json::from_str(include_str!("../../docs/iam-policy.json")).expect("JSON");
    let mut documented: BTreeMap<_, _> = documented["Statement"]
        .as_array()
        .expect("a list")
        .iter()
        .map(statement)
        .collect();
    // Both streams are encrypted with the key aws/kinesis, which takes no permission (docs/permissions.md).
    assert!(documented.remove("DecryptTheRecords").is_some());
    // Their numbers go to Prometheus.
    assert!(documented.remove("PutNumbers").is_some());
    for (folder, role, others) in [
        ("ec2", "ConsumerRole", &["results", "instance"][..]),
        ("ecs", "TaskRole", &["results"]),
    ] {
        let template = template(folder);
        let role = &template["Resources"][role]["Properties"];
        assert_eq!(role["ManagedPolicyArns"], Value::Null, "{folder}");
        let policies: BTreeMap<_, _> = role["Policies"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|policy| {
                (
                    policy["PolicyName"].as_str().expect("a name"),
                    &policy["PolicyDocument"]["Statement"],
                )
            })
            .collect();
        let worker = policies["worker"]
            .as_array()
            .expect("a list")
            .iter()
            .map(statement);
        assert_eq!(worker.collect::<BTreeMap<_, _>>(), documented, "{folder}");
        let beside: Vec<_> = policies
            .keys()
            .copied()
            .filter(|name| *name != "worker")
            .collect();
        assert_eq!(
            BTreeSet::from_iter(beside),
            BTreeSet::from_iter(others.iter().copied())
        );
        assert_eq!(
            policies["results"],
            &json!([{
                "Sid": "CountTheViews",
                "Effect": "Allow",
                "Action": ["dynamodb:UpdateItem"],
                "Resource": [{ "GetAtt": "Results.Arn" }],
            }])
        );
    }
}

/// A time such as `20s` behind an option of the command.
fn stop_timeout(words: &str) -> Duration {
    let (_, behind) = words.split_once("--stop-timeout").expect("the option");
    let digits = behind
        .trim_start_matches([' ', '=', '"', ',', '\n'])
        .split('s')
        .next();
    Duration::from_secs(digits.and_then(|digits| digits.parse().ok()).expect("seconds"))
}

fn setting(unit: &str, name: &str) -> Duration {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Duration::from_secs(line.and_then(|line| line.parse().ok()).expect("seconds"))
}

#[test]
fn nobody_is_killed_before_a_stop_is_over() {
    let usual = WorkerConfig::default().processing.stop_timeout;
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("seconds"));
    let unit = text("ec2/pageviews.service");
    let ecs = template("ecs");
    let task = &ecs["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0];
    let deployment = documents("kubernetes/pageviews.yml");
    let pod = found(&deployment[1], "terminationGracePeriodSeconds");
    let command = |value: &Value| {
        value
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let args = found(&deployment[1], "args");
    for (where_, stop, kill) in [
        ("ec2", stop_timeout(&unit), setting(&unit, "TimeoutStopSec")),
        (
            "ecs",
            stop_timeout(&command(&task["Command"])),
            seconds(&task["StopTimeout"]),
        ),
        ("kubernetes", stop_timeout(&command(args[0])), seconds(pod[0])),
    ] {
        assert_eq!(stop, usual, "{where_}: what the library takes anyway");
        // What a runtime takes to end, beside the worker's stop.
        assert!(
            stop + Duration::from_secs(5) <= kill,
            "{where_}: {stop:?} and {kill:?}"
        );
    }
    assert!(
        seconds(&task["StopTimeout"]) <= Duration::from_secs(120),
        "the limit of Fargate"
    );
    let ec2 = template("ec2");
    let hook = &ec2["Resources"]["Consumers"]["Properties"]["LifecycleHookSpecificationList"][0];
    // The stop, and then the command that completes the action.
    let all = NOTICED + setting(&unit, "TimeoutStopSec") * 2;
    assert!(seconds(&hook["HeartbeatTimeout"]) >= all, "{hook}");
    assert_eq!(
        hook["LifecycleTransition"],
        "autoscaling:EC2_INSTANCE_TERMINATING"
    );
    let script = text("ec2/complete-lifecycle");
    let name = hook["LifecycleHookName"].as_str().expect("a name");
    assert!(script.contains(&format!("--lifecycle-hook-name {name} ")));
}

/// The status with which a health server answers.
fn asked(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split_whitespace().nth(1).expect("a status").to_owned()
}

#[tokio::test]
async fn probes_ask_for_paths_that_there_are() {
    let aws = Backend::start().sdk_config();
    let worker = Worker::builder("pageviews", "clicks", each_batch(async |_, _| Ok(()))).aws_config(&aws);
    let worker = worker.build().expect("sound");
    let serving = HealthServer::new(worker.handle())
        .listen("127.0.0.1:0")
        .expect("a port");
    let port = serving.address().port();
    assert_eq!(asked(port, "/healthz"), "404", "it knows its paths");

    let deployment = documents("kubernetes/pageviews.yml");
    let probed = |probe| {
        let probe = found(&deployment[1], probe)[0];
        assert_eq!(probe["httpGet"]["port"], "health");
        probe["httpGet"]["path"].as_str().expect("a path").to_owned()
    };
    let ecs = template("ecs");
    let check = found(&ecs, "HealthCheck")[0]["Command"][3]
        .as_str()
        .expect("a URL");
    let checked = check.strip_prefix("http://127.0.0.1:8080").expect("its port");
    let (live, ready) = (probed("livenessProbe"), probed("readinessProbe"));
    // What may end a worker looks at nothing that a restart does not mend.
    assert_eq!(
        (live.as_str(), checked, ready.as_str()),
        ("/live", "/live", "/ready")
    );
    assert_eq!(asked(port, &live), "200");
    assert_eq!(asked(port, &ready), "503", "it has not joined");
    let scraped = &deployment[1]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"];
    assert_eq!(scraped, "/metrics");
    let args = found(&deployment[1], "args")[0].to_string();
    assert!(args.contains("--health=0.0.0.0:8080"), "{args}");
}

#[test]
fn autoscalers_ask_for_numbers_that_there_are() {
    let counters = Counter::ALL.iter().map(|it| it.name());
    let gauges = Gauge::ALL.iter().map(|it| it.name());
    let histograms = Histogram::ALL.iter().map(|it| it.name());
    let known: BTreeSet<_> = counters
        .chain(gauges)
        .chain(histograms)
        .map(|name| format!("kcl_{name}"))
        .collect();
    let mut asked_for = 0;
    for file in ["kubernetes/hpa.yml", "kubernetes/keda.yml"] {
        let text = text(file);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("kcl_")) {
            asked_for += 1;
            assert!(known.contains(word), "{file}: {word}");
        }
    }
    assert_eq!(asked_for, 1);
    // What is scaled is what is deployed.
    for (file, target) in [
        ("kubernetes/hpa.yml", "scaleTargetRef"),
        ("kubernetes/keda.yml", "scaleTargetRef"),
    ] {
        let document = documents(file).remove(0);
        assert_eq!(
            found(&document, target)[0]["name"],
            documents("kubernetes/pageviews.yml")[1]["metadata"]["name"]
        );
    }
}

#[test]
fn the_template_starts_what_stands_in_the_folder() {
    let ec2 = template("ec2");
    let launched = &ec2["Resources"]["ConsumerTemplate"]["Properties"]["LaunchTemplateData"];
    let script = launched["UserData"]["Fn::Base64"]["Sub"]
        .as_str()
        .expect("a script");
    for file in ["pageviews.service", "complete-lifecycle"] {
        assert!(
            script.contains(&text(&format!("ec2/{file}"))),
            "{file} is another one in the template"
        );
    }
    // EC2 takes no more than 16 KiB.
    assert!(script.len() < 12 << 10);
    let options = found(&ec2, "MetadataOptions");
    assert_eq!(options.len(), 2);
    assert!(options.iter().all(|options| options["HttpTokens"] == "required"));
}

fn keys(said: &Value) -> Vec<KeySchemaElement> {
    let keys = said.as_array().expect("a list").iter().map(|key| {
        let (name, kind) = (
            key["AttributeName"].as_str().expect("a name"),
            key["KeyType"].as_str().expect("a kind"),
        );
        let key = KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind.into());
        key.build().expect("whole")
    });
    keys.collect()
}

/// A worker that is not to make tables takes the one of the template for its own.
#[tokio::test(start_paused = true)]
async fn the_lease_table_of_the_template_is_as_a_worker_would_make_it() {
    let client = aws_sdk_dynamodb::Client::new(&Backend::start().sdk_config());
    let ec2 = template("ec2");
    let table = &ec2["Resources"]["Leases"]["Properties"];
    let mut options = TableOptions::new("pageviews");
    options.creation = TableCreation::MustExist;
    let store = DynamoDbLeaseStore::new(client.clone(), options);
    assert!(store.prepare().await.is_err(), "there is none yet");

    let index = &table["GlobalSecondaryIndexes"][0];
    let projection = index["Projection"]["ProjectionType"].as_str().expect("a word");
    let index = GlobalSecondaryIndex::builder()
        .index_name(index["IndexName"].as_str().expect("a name"))
        .set_key_schema(Some(keys(&index["KeySchema"])))
        .projection(Projection::builder().projection_type(projection.into()).build());
    let attributes = table["AttributeDefinitions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|said| {
            assert_eq!(said["AttributeType"], "S");
            let attribute = AttributeDefinition::builder()
                .attribute_name(said["AttributeName"].as_str().expect("a name"));
            attribute
                .attribute_type(ScalarAttributeType::S)
                .build()
                .expect("whole")
        });
    client
        .create_table()
        .table_name("pageviews")
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(keys(&table["KeySchema"])))
        .set_attribute_definitions(Some(attributes.collect()))
        .global_secondary_indexes(index.build().expect("whole"))
        .send()
        .await
        .expect("sound");
    store.prepare().await.expect("it is there, with its index");

    let made = DynamoDbLeaseStore::new(client.clone(), TableOptions::new("made"));
    made.prepare().await.expect("made");
    let schema = async |table: &str| {
        let described = client
            .describe_table()
            .table_name(table)
            .send()
            .await
            .expect("there");
        let table = described.table.expect("whole");
        let mut attributes = table.attribute_definitions().to_vec();
        attributes.sort_by(|one, other| one.attribute_name().cmp(other.attribute_name()));
        let [index] = table.global_secondary_indexes() else {
            panic!("{table:?}");
        };
        let index = (
            index.index_name.clone(),
            index.key_schema().to_vec(),
            index.projection.clone(),
        );
        (table.key_schema().to_vec(), attributes, index)
    };
    assert_eq!(schema("pageviews").await, schema("made").await);
}
