//! How requests reach the handler: inside the process, or over TCP.

pub mod in_process;
pub mod tcp;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::faults::{Call, Fault, FaultInjector, Loss, Outcome};
use crate::handler::Handler;

/// Takes a request of `client` to the handler and its answer back, through whatever `faults` has in store for it.
async fn deliver(
    handler: &Handler,
    faults: &dyn FaultInjector,
    client: &str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Loss> {
    let Fault {
        delay_before,
        outcome,
        delay_after,
    } = faults.decide(&Call::new(client, request.headers(), request.body()));
    pause(delay_before).await;
    let answer = match outcome {
        Outcome::Pass => Ok(handler.handle(request).await),
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
    pause(delay_after).await;
    answer
}

/// Sleeps, without a trip through the timer when there is nothing to wait for.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
