//! How requests reach the handler: inside the process, or over TCP.

mod events;
pub mod in_process;
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use crate::body::Body;
use crate::faults::{Call, Fault, FaultInjector, Loss, Outcome, eventually_consistent};
use crate::handler::Handler;
use crate::wire::Encoding;
use events::Carrier;

/// Takes a request of `client` to the handler and its answer back, through whatever `faults` has in store for it.
async fn deliver(
    handler: &Handler,
    faults: &Arc<dyn FaultInjector>,
    client: &str,
    request: Request<Bytes>,
) -> Result<Response<Body>, Loss> {
    let call = Call::new(client, &request);
    let Fault {
        delay_before,
        outcome,
        delay_after,
        bytes_per_second,
    } = faults.decide(&call);
    let (service, operation) = (call.service, call.operation.to_owned());
    let read = eventually_consistent(&call).filter(|_| faults.needs_past());
    let encoding = Encoding::of(request.headers()).unwrap_or(Encoding::Json11);
    let stream = (operation == "SubscribeToShard").then(|| call.resources().into_iter().next());
    pause(delay_before).await;
    if let Outcome::Freeze(freeze) = &outcome {
        freeze.thawed().await;
    }
    let stale = match (&read, &outcome) {
        (Some(read), Outcome::Stale(age)) => handler.past().answer(read, *age),
        _ => None,
    };
    let interruption = match &outcome {
        Outcome::Interrupt { after, how } => Some((*after, how.clone())),
        _ => None,
    };
    let answer = match outcome {
        Outcome::Pass | Outcome::Stale(_) | Outcome::Freeze(_) | Outcome::Interrupt { .. } => {
            Ok(match stale {
                Some(answer) => answer.map(Body::from),
                None => {
                    let answer = handler.handle(request).await;
                    if let Some(read) = read.filter(|_| answer.status().is_success()) {
                        let (head, body) = (answer.headers(), answer.body().whole());
                        let mut kept = Response::new(body.cloned().unwrap_or_default());
                        kept.headers_mut().clone_from(head);
                        handler.past().remember(read, kept);
                    }
                    answer
                }
            })
        }
        Outcome::EmptyPage { behind } => Ok(handler.empty_page(request, behind).await),
        Outcome::Respond {
            code,
            message,
            status,
        } => Ok(handler.refusal(&request, status, &code, &message)),
        Outcome::DropRequest(loss) => Err(loss),
        Outcome::DropAnswer(loss) => {
            handler.handle(request).await;
            Err(loss)
        }
    };
    if let Err(Loss::Hang) = answer {
        std::future::pending::<()>().await;
    }
    let carried = match (&answer, bytes_per_second) {
        (Ok(answer), Some(rate)) => {
            let length = answer.body().whole().map_or(0, Bytes::len) as u64;
            Duration::from_micros(length.saturating_mul(1_000_000) / rate.get())
        }
        _ => Duration::ZERO,
    };
    pause(delay_after + carried).await;
    match &answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            tracing::debug!(
                client,
                service = service.map(tracing::field::display),
                operation,
                status,
                "answered"
            );
        }
        Err(loss) => tracing::debug!(client, operation, %loss, "lost"),
    }
    let (head, body) = answer?.into_parts();
    let (body, events) = match body.into_whole() {
        Ok(body) => (body, None),
        Err(messages) => (Bytes::new(), Some(messages)),
    };
    let answer = Response::from_parts(head, body);
    faults.answered(client, &operation, &answer);
    Ok(match events {
        None => answer.map(Body::from),
        Some(messages) => {
            let carrier = Carrier {
                faults: faults.clone(),
                client: client.to_owned(),
                stream: stream.flatten(),
                encoding,
                bytes_per_second,
                interruption: interruption.map(|(after, how)| (Instant::now() + after, how)),
            };
            answer.map(|_| Body::messages(events::carried(messages, carrier)))
        }
    })
}

/// Sleeps, without a trip through the timer when there is nothing to wait for.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
