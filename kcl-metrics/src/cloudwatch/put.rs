//! The API of CloudWatch: requests of `PutMetricData`.

use std::time::SystemTime;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError};
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};
use kcl_lease::SigningProblem;

use super::exporter::{Exporter, Outlet, Parcel, Refusal};
use super::gathering::Datum;
use super::requests::requests;
use super::{CloudWatch, InvalidExport};

/// A namespace, by its API.
struct Put {
    namespace: String,
    client: Client,
}

impl CloudWatch {
    /// Calls `PutMetricData`, about once a minute. It needs the permission `cloudwatch:PutMetricData`.
    ///
    /// ```no_run
    /// # async fn example(client: aws_sdk_cloudwatch::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let numbers = kcl_metrics::CloudWatch::new("orders").worker_id("worker-1").put_with(client)?;
    /// // Worker::builder("orders", "clicks", processors).worker_id("worker-1").recorder(numbers.recorder())
    /// // ... and when the worker has ended:
    /// numbers.finish().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`InvalidExport`].
    pub fn put_with(self, client: Client) -> Result<Exporter, InvalidExport> {
        let put = Put {
            namespace: self.checked_namespace()?,
            client,
        };
        self.start(put)
    }
}

fn datum(began: SystemTime, datum: &Datum) -> MetricDatum {
    let it = &datum.statistics;
    let set = StatisticSet::builder()
        .sample_count(it.samples as f64)
        .sum(it.sum)
        .minimum(it.least)
        .maximum(it.most);
    let dimensions = datum
        .dimensions
        .iter()
        .map(|(name, value)| Dimension::builder().name(*name).value(value).build());
    MetricDatum::builder()
        .metric_name(datum.name)
        .unit(StandardUnit::from(datum.unit.as_str()))
        .timestamp(DateTime::from(began))
        .statistic_values(set.build())
        .set_dimensions(Some(dimensions.collect()))
        .build()
}

impl Outlet for Put {
    type Body = Vec<MetricDatum>;

    const NAME: &'static str = "CloudWatch";

    fn pack(&self, began: SystemTime, data: &[Datum]) -> Vec<Parcel<Vec<MetricDatum>>> {
        let parcel = |data: &[Datum]| Parcel {
            data: data.len(),
            body: data.iter().map(|it| datum(began, it)).collect(),
        };
        requests(data).map(parcel).collect()
    }

    /// The SDK has repeated what may pass in a moment.
    async fn send(&mut self, data: &Vec<MetricDatum>) -> Result<(), Refusal> {
        let request = self.client.put_metric_data().namespace(&self.namespace);
        let answer = request.set_metric_data(Some(data.clone())).send().await;
        answer.map(|_| ()).map_err(|error| refusal(&error))
    }
}

fn refusal<R: std::fmt::Debug + Send + Sync + 'static>(error: &SdkError<PutMetricDataError, R>) -> Refusal {
    let code = error.code().unwrap_or_default();
    let message = error.message().unwrap_or_default();
    let said = || format!("{code}: {message}");
    let signing = SigningProblem::of_answer(code, message).or_else(|| SigningProblem::of_unsent(error));
    if let Some(problem) = signing {
        return Refusal::NotNow {
            code: problem.code(),
            text: format!("{}: {}", problem.advice(), DisplayErrorContext(error)),
        };
    }
    match code {
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "LimitExceeded" => Refusal::NotNow {
            code: "throttled",
            text: format!("it throttles ({})", said()),
        },
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => {
            Refusal::NotNow {
                code: "access-denied",
                text: format!("allow cloudwatch:PutMetricData for this namespace ({})", said()),
            }
        }
        _ if matches!(error, SdkError::ServiceError(_)) && is_of_the_request(code) => Refusal::Never(said()),
        _ => Refusal::NotNow {
            code: "unavailable",
            text: DisplayErrorContext(error).to_string(),
        },
    }
}

/// Whether it is the request that is wrong, so that it will be refused again.
fn is_of_the_request(code: &str) -> bool {
    let beginnings = [
        "Invalid",
        "Missing",
        "Validation",
        "MalformedQuery",
        "RequestEntityTooLarge",
    ];
    beginnings.iter().any(|beginning| code.starts_with(beginning))
}

#[cfg(test)]
mod tests;
