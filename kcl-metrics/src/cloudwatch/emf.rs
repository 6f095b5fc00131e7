//! CloudWatch's embedded metric format: lines of JSON in a log, out of which CloudWatch makes metrics.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::exporter::{Exporter, Outlet, Parcel, Refusal};
use super::gathering::{Datum, Dimension};
use super::{CloudWatch, InvalidExport};

/// Metrics that a line may have.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
const MOST_METRICS: usize = 100;

/// Lines, and where they are written.
struct Lines<W> {
    namespace: String,
    writer: W,
    /// How much of the line at hand is written.
    written: usize,
}

impl CloudWatch {
    /// Writes lines in CloudWatch's embedded metric format, out of which CloudWatch makes the metrics when it gets the log: to the standard
    /// output, where Lambda, ECS and EKS take it (`tokio::io::stdout`), to a file, or to a connection to the CloudWatch agent. It needs
    /// no permission of the worker's, and no SDK.
    ///
    /// Statistic sets are written as the OpenTelemetry Collector writes them, with the members `Max`, `Min`, `Count` and `Sum`.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let agent = tokio::net::TcpStream::connect("127.0.0.1:25888").await?;
    /// let numbers = kcl_metrics::CloudWatch::new("orders").worker_id("worker-1").write_to(agent)?;
    /// // Worker::builder("orders", "clicks", processors).worker_id("worker-1").recorder(numbers.recorder())
    /// // ... and when the worker has ended:
    /// numbers.finish().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`InvalidExport`].
    pub fn write_to(
        self,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Exporter, InvalidExport> {
        let lines = Lines {
            namespace: self.checked_namespace()?,
            writer,
            written: 0,
        };
        self.start(lines)
    }
}

/// A line for each set of dimensions, or more if it has many metrics.
pub(super) fn lines(namespace: &str, began: SystemTime, data: &[Datum]) -> Vec<Parcel<String>> {
    let mut by_dimensions: BTreeMap<&[Dimension], Vec<&Datum>> = BTreeMap::new();
    for datum in data {
        by_dimensions.entry(&datum.dimensions).or_default().push(datum);
    }
    let mut lines = Vec::new();
    for (dimensions, data) in by_dimensions {
        for data in data.chunks(MOST_METRICS) {
            lines.push(Parcel {
                data: data.len(),
                body: line(namespace, began, dimensions, data),
            });
        }
    }
    lines
}

fn line(namespace: &str, began: SystemTime, dimensions: &[Dimension], data: &[&Datum]) -> String {
    let millis = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let metrics = data
        .iter()
        .map(|datum| json!({ "Name": datum.name, "Unit": datum.unit.as_str() }));
    let mut root = Map::new();
    let told = json!({
        "Timestamp": u64::try_from(millis).unwrap_or(u64::MAX),
        "CloudWatchMetrics": [{
            "Namespace": namespace,
            "Dimensions": [dimensions.iter().map(|(name, _)| *name).collect::<Vec<_>>()],
            "Metrics": metrics.collect::<Vec<_>>(),
        }],
    });
    root.insert("_aws".to_owned(), told);
    for (name, value) in dimensions {
        root.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    for datum in data {
        let it = &datum.statistics;
        let set = json!({ "Max": it.most, "Min": it.least, "Count": it.samples, "Sum": it.sum });
        root.insert(datum.name.to_owned(), set);
    }
    let mut line = Value::Object(root).to_string();
    line.push('\n');
    line
}

impl<W: AsyncWrite + Unpin + Send + 'static> Outlet for Lines<W> {
    type Body = String;

    const NAME: &'static str = "the log for CloudWatch";

    fn pack(&self, began: SystemTime, data: &[Datum]) -> Vec<Parcel<String>> {
        lines(&self.namespace, began, data)
    }

    /// Goes on where it was when it was dropped.
    async fn send(&mut self, line: &String) -> Result<(), Refusal> {
        let failed = |error: std::io::Error| Refusal::NotNow {
            code: "not-written",
            text: error.to_string(),
        };
        while let Some(rest) = line
            .as_bytes()
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match self.writer.write(rest).await.map_err(failed)? {
                0 => {
                    return Err(Refusal::NotNow {
                        code: "not-written",
                        text: "it takes no more".to_owned(),
                    });
                }
                written => self.written += written,
            }
        }
        self.writer.flush().await.map_err(failed)?;
        self.written = 0;
        Ok(())
    }

    fn has_begun(&self) -> bool {
        self.written > 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::metric::Unit;
    use super::super::statistics::Statistics;
    use super::*;

    fn datum(name: &'static str, dimensions: &[(&'static str, &str)]) -> Datum {
        let dimensions = dimensions
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        Datum {
            name,
            unit: Unit::Count,
            dimensions: dimensions.collect(),
            statistics: Statistics {
                samples: 3,
                sum: 7.5,
                least: 0.5,
                most: 4.0,
            },
        }
    }

    #[test]
    fn a_line_has_the_metrics_of_one_set_of_dimensions() {
        let began = UNIX_EPOCH + Duration::from_millis(1_800_000_000_000);
        let shard = [("Operation", "ProcessTask"), ("ShardId", "s \"7\"")];
        let data = [
            datum("Success", &shard[..1]),
            datum("Success", &shard),
            datum("Stalled", &shard),
        ];
        let lines = lines("orders", began, &data);
        assert_eq!(lines.iter().map(|line| line.data).collect::<Vec<_>>(), [1, 2]);
        assert!(
            lines
                .iter()
                .all(|line| line.body.find('\n') == Some(line.body.len() - 1))
        );
        let line: Value = serde_json::from_str(&lines[1].body).expect("JSON");
        let set = json!({ "Max": 4.0, "Min": 0.5, "Count": 3, "Sum": 7.5 });
        let expected = json!({
            "_aws": {
                "Timestamp": 1_800_000_000_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "orders",
                    "Dimensions": [["Operation", "ShardId"]],
                    "Metrics": [{ "Name": "Success", "Unit": "Count" }, { "Name": "Stalled", "Unit": "Count" }],
                }],
            },
            "Operation": "ProcessTask",
            "ShardId": "s \"7\"",
            "Success": set,
            "Stalled": set,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_has_no_more_metrics_than_it_may() {
        let data: Vec<_> = (0..250)
            .map(|_| datum("Success", &[("Operation", "Worker")]))
            .collect();
        let lines = lines("orders", UNIX_EPOCH, &data);
        let sizes: Vec<_> = lines.iter().map(|line| line.data).collect();
        assert_eq!(sizes, [100, 100, 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_was_written_in_part_is_written_to_its_end() {
        let (writer, mut reader) = tokio::io::duplex(16);
        let mut outlet = Lines {
            namespace: "orders".to_owned(),
            writer,
            written: 0,
        };
        let line = "0123456789abcdefghijklmnop\n".to_owned();
        let attempt = tokio::time::timeout(Duration::from_secs(1), outlet.send(&line)).await;
        assert!(attempt.is_err() && outlet.has_begun(), "nobody reads");
        let reading = tokio::spawn(async move {
            let mut read = vec![0; 27];
            tokio::io::AsyncReadExt::read_exact(&mut reader, &mut read)
                .await
                .map(|_| read)
        });
        outlet.send(&line).await.expect("written");
        assert!(!outlet.has_begun());
        let read = reading.await.expect("ended").expect("read");
        assert_eq!(String::from_utf8(read).expect("text"), line);
    }
}
