//! The page in a browser, driven as a person would: by Chromium, over WebDriver.
//!
//! Skipped where `chromedriver` or Chromium is missing (Debian's packages chromium and chromium-driver).

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use kcl_local::Backend;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// A browser takes its time where other builds run.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser without a window, with one page.
struct Browser {
    address: String,
    session: String,
    _driver: Child,
}

impl Browser {
    /// None if there is no browser here.
    async fn start() -> Option<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut said = BufReader::new(driver.stdout.take()?).lines();
        let port = loop {
            let line = timeout(PATIENCE, said.next_line()).await.ok()?.ok()??;
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let mut browser = Self {
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
            _driver: driver,
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1200,1600",
        ];
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let answer = browser.send(Method::POST, "/session", &wanted).await.ok()?;
        browser.session = format!("/session/{}", answer["sessionId"].as_str()?);
        Some(browser)
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())));
        let answer = timeout(PATIENCE, sender.send_request(request.unwrap()))
            .await
            .unwrap()
            .unwrap();
        let is_good = answer.status().is_success();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let value = body["value"].take();
        if is_good {
            Ok(value)
        } else {
            Err(value.to_string())
        }
    }

    async fn go(&self, url: &str) {
        self.send(Method::POST, "/url", &json!({ "url": url }))
            .await
            .unwrap();
    }

    /// What a script of the page returns.
    async fn run(&self, script: &str) -> Value {
        let script = json!({ "script": script, "args": [] });
        self.send(Method::POST, "/execute/sync", &script).await.unwrap()
    }

    /// Waits until a script returns something that is true.
    async fn until(&self, script: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.run(&format!("return {script}")).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if Instant::now() > deadline {
                let page = self.run("return document.body.innerText").await;
                panic!("{script} stays false on a page that says {page}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn element(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let element = self.send(Method::POST, "/element", &wanted).await.unwrap();
        let (_, id) = element.as_object().unwrap().iter().next().unwrap();
        id.as_str().unwrap().to_owned()
    }

    async fn click(&self, selector: &str) {
        let path = format!("/element/{}/click", self.element(selector).await);
        self.send(Method::POST, &path, &json!({})).await.unwrap();
    }

    /// Types into a field what is to stand there.
    async fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.send(Method::POST, &format!("/element/{element}/clear"), &json!({}))
            .await
            .unwrap();
        let typed = json!({ "text": text });
        self.send(Method::POST, &format!("/element/{element}/value"), &typed)
            .await
            .unwrap();
    }

    async fn stop(self) {
        self.send(Method::DELETE, "", &json!({})).await.unwrap();
    }
}

/// How many shards are drawn.
fn drawn(shards: usize) -> String {
    format!("document.querySelectorAll('rect[data-shard]').length === {shards}")
}

/// Plays a scenario, and ends the browser whatever comes of it: it does not end with its driver.
async fn in_a_browser(scenario: impl AsyncFnOnce(&Browser)) {
    let Some(browser) = Browser::start().await else {
        println!(
            "there is no chromedriver or no Chromium here: the page is not tried (chromium, chromium-driver)"
        );
        return;
    };
    let played = AssertUnwindSafe(scenario(&browser)).catch_unwind().await;
    browser.stop().await;
    if let Err(panic) = played {
        resume_unwind(panic);
    }
}

#[tokio::test]
async fn a_person_creates_puts_splits_merges_and_disturbs() {
    in_a_browser(disturbed_by_a_person).await;
}

async fn disturbed_by_a_person(browser: &Browser) {
    let backend = Backend::start();
    let kinesis = Client::new(&backend.sdk_config_named("worker-1"));
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    browser.go(&server.endpoint_url()).await;
    browser
        .until("document.body.innerText.includes('There is no stream yet')")
        .await;

    browser.fill("#create-name", "clicks").await;
    browser.click("#create button").await;
    browser.until(&drawn(2)).await;
    let described = kinesis
        .describe_stream_summary()
        .stream_name("clicks")
        .send()
        .await
        .unwrap();
    assert_eq!(described.stream_description_summary.unwrap().open_shard_count, 2);

    // What somebody puts is shown as it is, and not taken for a part of the page.
    let markup = "<img src=x onerror=document.title='taken'>";
    browser.fill("#put-data", markup).await;
    browser.click("#put button").await;
    let shown = browser
        .until("document.querySelector('#records tr td:nth-child(5)')?.textContent")
        .await;
    assert_eq!(shown, markup);
    let put = kinesis
        .put_record()
        .stream_name("clicks")
        .partition_key("elsewhere");
    put.data(Blob::new("from a client")).send().await.unwrap();
    browser
        .until("document.querySelector('#records').innerText.includes('from a client')")
        .await;
    assert_eq!(browser.run("return document.title").await, "kcl-local");

    browser.click("#split button").await;
    browser
        .until("document.querySelector('#about').textContent.includes('3 open')")
        .await;
    browser
        .until("document.querySelector('#merge-shards').options.length === 2")
        .await;
    browser.click("#merge button").await;
    browser
        .until("document.querySelector('#about').textContent.includes('2 open')")
        .await;

    browser.fill("#client", "worker-1").await;
    browser.click("#disturb button").await;
    browser.until("document.querySelector('#rules tr')").await;
    let refused = kinesis
        .list_shards()
        .stream_name("clicks")
        .max_results(1)
        .send()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("ProvisionedThroughputExceededException"));
    browser
        .until("/^[1-9]\\d* of/.test(document.querySelector('#rules td:nth-child(2)').textContent)")
        .await;
    browser.click("#rules button").await;
    browser.until("!document.querySelector('#rules tr')").await;
    kinesis.list_shards().stream_name("clicks").send().await.unwrap();

    browser.click("[data-clock*='24h']").await;
    browser
        .until("document.querySelector('#records tr') === null")
        .await;
    let said = browser
        .run("return document.querySelector('#said').className")
        .await;
    assert_eq!(said, "good");
}

#[tokio::test]
async fn it_fits_on_a_phone_and_says_what_was_refused() {
    in_a_browser(looked_at_on_a_phone).await;
}

async fn looked_at_on_a_phone(browser: &Browser) {
    let backend = Backend::start();
    backend.begin_with_stream("orders", 3).unwrap();
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let narrow = json!({ "width": 500, "height": 900 });
    browser.send(Method::POST, "/window/rect", &narrow).await.unwrap();
    browser
        .go(&format!("{}/_kcl-local/", server.endpoint_url()))
        .await;
    browser.until(&drawn(3)).await;
    let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.run(fits).await, true);

    browser.fill("#create-name", "orders").await;
    browser.click("#create button").await;
    let said = browser
        .until("document.querySelector('#said.bad')?.textContent")
        .await;
    assert!(
        said.as_str().unwrap().starts_with("ResourceInUseException"),
        "{said}"
    );
}
