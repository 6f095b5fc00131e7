//! Asks the ECS agent.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer of the agent is some kilobytes long.
const LONGEST_ANSWER: u64 = 1 << 20;
/// An agent is next door, and a sample is due every second.
const PATIENCE: Duration = Duration::from_millis(200);

/// The ECS agent's endpoint for this container: `http://HOST[:PORT]/PATH`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agent {
    address: String,
    path: String,
}

impl Agent {
    pub(super) fn at(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = host.contains(':');
        (!host.is_empty()).then(|| Self {
            address: if has_port {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
            path: format!("/{}", path.trim_end_matches('/')),
        })
    }

    /// The body of the answer to `GET URI{resource}`.
    pub(super) async fn get(&self, resource: &str) -> Result<String, String> {
        let url = format!("http://{}{}{resource}", self.address, self.path);
        let answer = timeout(PATIENCE, self.request(resource)).await;
        let answer = answer.map_err(|_| format!("{url}: no answer within {PATIENCE:?}"))?;
        body_of(&answer.map_err(|error| format!("{url}: {error}"))?).map(str::to_owned)
    }

    /// The whole answer to `GET URI{resource}`. HTTP 1.0 has neither chunks nor kept connections.
    async fn request(&self, resource: &str) -> std::io::Result<String> {
        let (address, path) = (&self.address, &self.path);
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path}{resource} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        let mut limited = stream.take(LONGEST_ANSWER);
        limited.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

fn body_of(answer: &str) -> Result<&str, String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => Err(format!("the ECS agent answered {status:?}")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_agents_address_is_taken_apart() {
        let agent = |address: &str, path: &str| {
            Some(Agent {
                address: address.to_owned(),
                path: path.to_owned(),
            })
        };
        assert_eq!(
            Agent::at("http://169.254.170.2/v4/abc"),
            agent("169.254.170.2:80", "/v4/abc")
        );
        assert_eq!(
            Agent::at("http://localhost:51678/v4/"),
            agent("localhost:51678", "/v4")
        );
        for wrong in ["", "169.254.170.2/v4", "https://agent/v4", "http://"] {
            assert_eq!(Agent::at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_that_is_no_success_is_an_error() {
        assert_eq!(body_of("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}"), Ok("{}"));
        for answer in ["HTTP/1.1 404 Not Found\r\n\r\n{}", "HTTP/1.1 429", "", "junk"] {
            assert!(body_of(answer).is_err(), "{answer}");
        }
    }

    #[tokio::test]
    async fn an_agent_that_hangs_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = Agent::at(&format!("http://{}/v4", listener.local_addr().unwrap())).unwrap();
        let problem = agent.get("/stats").await.unwrap_err();
        assert!(problem.contains("/v4/stats: no answer within 200ms"), "{problem}");
    }
}
