//! How requests reach the handler: inside the process, or over TCP.

pub mod in_process;
pub mod tcp;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::faults::{Call, Fault, FaultInjector, Loss, Outcome, eventually_consistent};
use crate::handler::Handler;

/// Takes a request of `client` to the handler and its answer back, through whatever `faults` has in store for it.
async fn deliver(
    handler: &Handler,
    faults: &dyn FaultInjector,
    client: &str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Loss> {
    let call = Call::new(client, request.headers(), request.body());
    let Fault {
        delay_before,
        outcome,
        delay_after,
        bytes_per_second,
    } = faults.decide(&call);
    let operation = call.operation.to_owned();
    let read = eventually_consistent(&call).filter(|_| faults.needs_past());
    pause(delay_before).await;
    let stale = match (&read, &outcome) {
        (Some(read), Outcome::Stale(age)) => handler.past().answer(read, *age),
        _ => None,
    };
    let answer = match outcome {
        Outcome::Pass | Outcome::Stale(_) => Ok(match stale {
            Some(answer) => answer,
            None => {
                let answer = handler.handle(request).await;
                if let Some(read) = read.filter(|_| answer.status().is_success()) {
                    handler.past().remember(read, &answer);
                }
                answer
            }
        }),
        Outcome::EmptyPage { behind } => Ok(handler.empty_page(request, behind).await),
        Outcome::Respond {
            code,
            message,
            status,
        } => Ok(handler.refusal(request.headers(), status, &code, &message)),
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
            let micros = (answer.body().len() as u64).saturating_mul(1_000_000) / rate.get();
            Duration::from_micros(micros)
        }
        _ => Duration::ZERO,
    };
    pause(delay_after + carried).await;
    if let Ok(answer) = &answer {
        faults.answered(client, &operation, answer);
    }
    answer
}

/// Sleeps, without a trip through the timer when there is nothing to wait for.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
