//! A batch can be followed by its spans, from the read to the checkpoint.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_tests::{Behaviour, Reaction, World};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Subscriber, subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

const LIMIT: Duration = Duration::from_secs(60);

/// A span that was seen, and where its parent stands among all.
#[derive(Debug, Clone)]
struct Seen {
    id: Id,
    name: &'static str,
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        let found = self.fields.get(name).map(|value| value.trim_matches('"'));
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// Remembers every span.
#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

impl Spans {
    /// Listens to what happens in this thread.
    fn listen() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let filter = Targets::new().with_target("kcl_core::spans", LevelFilter::DEBUG);
        let subscriber = tracing_subscriber::registry().with(spans.clone().with_filter(filter));
        (spans, subscriber::set_default(subscriber))
    }

    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.name == name).collect()
    }

    /// The names of a span and of what is above it.
    fn path(&self, seen: &Seen) -> Vec<&'static str> {
        let all = self.all();
        let mut path = vec![seen.name];
        let mut above = seen.parent;
        while let Some(parent) = above {
            path.push(all[parent].name);
            above = all[parent].parent;
        }
        path
    }
}

fn latest<'a>(spans: &'a mut [Seen], id: &Id) -> &'a mut Seen {
    let found = spans.iter_mut().rev().find(|seen| seen.id == *id);
    found.expect("it began")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("it begins");
        let mut spans = self.0.lock().unwrap();
        let parent = span.parent().map(|parent| parent.id());
        let parent = parent.map(|id| spans.iter().rposition(|seen| seen.id == id).expect("it began"));
        let mut seen = Seen {
            id: id.clone(),
            name: span.name(),
            parent,
            fields: BTreeMap::new(),
            is_closed: false,
        };
        attributes.record(&mut seen);
        spans.push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(latest(&mut self.0.lock().unwrap(), id));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        latest(&mut self.0.lock().unwrap(), &id).is_closed = true;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_followed_from_its_read_to_its_checkpoint() {
    let (spans, _listening) = Spans::listen();
    let world = World::with_shards(1).await;
    world.put(5, 40).await;
    let worker = world.start("one");
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    let (reads, batches) = (spans.named("read"), spans.named("batch"));
    assert!(!batches.is_empty() && batches.len() == reads.len());
    let records = |spans: &[Seen]| -> usize {
        let each = spans
            .iter()
            .map(|it| it.field("records").parse::<usize>().expect("a number"));
        each.sum()
    };
    assert_eq!(
        (records(&reads), records(&batches)),
        (40, 40),
        "none for empty reads"
    );
    let mut last = String::new();
    for batch in &batches {
        assert_eq!(batch.field("stream"), "clicks");
        assert_eq!(batch.field("shard"), "shardId-000000000000");
        let number = |name| (batch.field(name).len(), batch.field(name).to_owned());
        assert!(number("first") <= number("last"));
        assert!(batch.field("behind_ms").parse::<u64>().is_ok());
        last = batch.field("last").to_owned();
    }
    let above = ["process_records", "batch", "read"];
    for call in spans.named("process_records") {
        assert_eq!(spans.path(&call), above);
        assert_eq!(call.field("attempt"), "1");
        assert!(!call.fields.contains_key("otel.status_code"), "{call:?}");
    }
    let checkpoints = spans.named("checkpoint");
    assert_eq!(checkpoints.len(), batches.len());
    for checkpoint in &checkpoints {
        assert_eq!(spans.path(checkpoint)[1..], above);
    }
    let position = checkpoints.last().expect("one").field("position").to_owned();
    assert!(position.contains(&last), "{position} is behind {last}");
    assert!(spans.all().iter().all(|seen| seen.is_closed), "all have ended");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_tried_again_stays_one_span_with_each_attempt_below_it() {
    let (spans, _listening) = Spans::listen();
    let world = World::with_shards(1).await;
    world.put(5, 10).await;
    let worker = world.start_with("one", Behaviour::at_first(2, Reaction::Fail));
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    let calls = spans.named("process_records");
    let first = calls.first().expect("one").parent;
    let attempts: Vec<_> = calls.iter().filter(|call| call.parent == first).collect();
    let told = |call: &&Seen| {
        (
            call.field("attempt").to_owned(),
            call.fields.get("error").cloned(),
        )
    };
    let failed = |attempt: &str| (attempt.to_owned(), Some("\"not today\"".to_owned()));
    let expected = [failed("1"), failed("2"), ("3".to_owned(), None)];
    assert_eq!(attempts.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(attempts[0].field("otel.status_code"), "ERROR");
    let checkpoint = spans.named("checkpoint").into_iter().next().expect("one");
    let under = checkpoint
        .parent
        .map(|parent| spans.all()[parent].field("attempt").to_owned());
    assert_eq!(under.as_deref(), Some("3"));
}

#[tokio::test(start_paused = true)]
async fn batches_cut_out_of_one_read_hang_below_it() {
    let (spans, _listening) = Spans::listen();
    let world = World::with_shards(1).await;
    world.put(5, 40).await;
    let builder = world.builder("one", Behaviour::default());
    let worker = world.run("one", builder.max_batch_records(15));
    world.until_checkpointed(LIMIT).await;
    worker.stop().await;
    let batches = spans.named("batch");
    assert!(batches.len() > spans.named("read").len(), "{batches:?}");
    assert!(batches.iter().all(|batch| spans.path(batch) == ["batch", "read"]));
    assert!(spans.all().iter().all(|seen| seen.is_closed), "all have ended");
}
