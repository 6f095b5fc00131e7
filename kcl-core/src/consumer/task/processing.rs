//! Batches: the next one is awaited, and processed, whole or in pieces.

use std::time::Duration;

use kcl_lease::Activity;
use tokio::time::sleep;
use tracing::Instrument as _;

use super::super::state::Event;
use super::Task;
use super::failing::PROCESSING;
use crate::record::Record;
use crate::spans;
use crate::status::ShardState;

const READING: Activity = Activity {
    code: "reader-failing",
    doing: "reading the shard",
};

impl Task {
    pub(super) async fn await_batch(&mut self) -> Event {
        let Some(mut reader) = self.reader.take() else {
            let position = self.checkpointer.rules().processed().clone();
            self.read_from(&position);
            return Event::Succeeded;
        };
        let (mut pauses, held) = (self.parts.pauses.clone(), self.held.clone());
        let key = held.key().clone();
        let event = tokio::select! {
            biased;
            event = self.interrupted() => event,
            // To be shown, although there may be no batch for long.
            () = pauses.paused(key.as_str(), || held.is_paused()) => Event::Succeeded,
            delivery = reader.batches.next() => match delivery {
                Some(mut delivery) => {
                    let is_last = delivery.batch.is_last();
                    let stream = self.stream.creation.stream.stream();
                    delivery.span = spans::batch(&delivery.span, stream, &self.shard, &delivery.batch);
                    self.delivery = Some(delivery);
                    Event::BatchArrived { is_last }
                }
                None => {
                    self.complain(READING, "the shard's reader stopped unexpectedly; it is started again".into());
                    return Event::Failed;
                }
            },
        };
        self.reader = Some(reader);
        event
    }

    /// Waits until something may be delivered; what interrupted that.
    pub(super) async fn may_deliver(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.paused().await {
                return Some(event);
            }
            if self.held.is_valid() {
                return None;
            }
            self.monitor.enter(
                ShardState::Processing,
                Some("the lease was not renewed in time".to_owned()),
            );
            // Meanwhile it may be paused.
            tokio::select! {
                biased;
                event = self.interrupted() => return Some(event),
                () = sleep(Duration::from_millis(100)) => {}
            }
        }
    }

    pub(super) async fn process(&mut self) -> Event {
        if let Some(interruption) = self.may_deliver().await {
            return interruption;
        }
        let (Some(delivery), Some(mut processor)) = (self.delivery.take(), self.processor.take()) else {
            return Event::Succeeded;
        };
        let whole = &delivery.batch;
        if whole.is_empty() && whole.gap().is_none() && !self.stream.readers.source.options.empty_batches {
            self.processor = Some(processor);
            self.children = delivery.children;
            return Event::Succeeded;
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        let next = pieces.next(whole);
        let (batch, is_probe) = (next.batch(), next.is_probe());
        let (records, bytes) = (batch.len(), batch.payload());
        let last = batch.records().last();
        self.checkpointer.rules().batch_begins(last.map(Record::position));
        let checkpointer = self.checkpointer.clone();
        let span = spans::process_records(&delivery.span, records, self.machine.attempts().saturating_add(1));
        let call = processor
            .process_records(batch, &checkpointer)
            .instrument(span.clone());
        let result = self.supervise("process_records", call).await;
        if let Err(error) = &result {
            spans::failed(&span, || error.chain());
        }
        drop(span);
        self.processor = Some(processor);
        let event = match result {
            result if is_probe => {
                self.checkpointer.rules().batch_ends(false);
                pieces.probed(result.is_ok());
                match result {
                    Ok(()) => {
                        // The next pauses are short ones.
                        self.retry.succeeded();
                        Event::Undecided
                    }
                    Err(error) => {
                        let text = format!(
                            "{} (not given up: the record in front of it fails now, too, so it is not the record)",
                            error.chain()
                        );
                        self.failed(PROCESSING, &text.into())
                    }
                }
            }
            Ok(()) => {
                self.checkpointer.rules().batch_ends(true);
                self.monitor.progressed(records, bytes);
                self.held.record_throughput(bytes);
                match pieces.done(whole, true) {
                    true => Event::Succeeded,
                    false => Event::PieceDone,
                }
            }
            Err(error) => {
                // Nor is a checkpoint implied at a record that is skipped: whoever reads on from there would have it as the
                // one in front, and could not tell the next bad one from a sink that is away.
                self.checkpointer.rules().batch_ends(false);
                self.records_failed(&error, &mut pieces, whole, &delivery.span)
                    .await
            }
        };
        self.pieces = pieces;
        match event {
            Event::Succeeded => self.children = delivery.children,
            _ => self.delivery = Some(delivery),
        }
        event
    }
}
