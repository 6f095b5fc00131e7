//! Looks at the CPU of whatever this process runs on. Thin: what the texts mean is said in the modules beside.

use std::path::Path;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::agent::Agent;
use super::cgroup::{Usage, Version};
use super::ecs::{Stats, container_limit};
use super::proc_stat::Ticks;
use super::{LoadError, LoadSource};

/// Where the ECS agent answers for this container.
const ECS_METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// An agent that does not answer so many times from the beginning is passed over.
const CHANCES: u32 = 5;

/// The CPU of a task, a container or a machine, chosen at the first sample that works.
#[derive(Debug, Default)]
pub(super) struct Machine {
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    platform: Option<Platform>,
    /// Attempts to find the platform.
    attempts: u32,
}

#[derive(Debug)]
enum Platform {
    Ecs {
        agent: Agent,
        limit: Option<f64>,
    },
    Container {
        version: Version,
        before: (Usage, Instant),
    },
    Host {
        before: Ticks,
    },
}

#[async_trait]
impl LoadSource for Machine {
    async fn sample(&self) -> Result<f64, LoadError> {
        let mut state = self.state.lock().await;
        if let Some(platform) = &mut state.platform {
            return Ok(platform.sample().await?);
        }
        state.attempts += 1;
        let ecs_metadata = std::env::var(ECS_METADATA).ok();
        let (platform, first) = Platform::detect(ecs_metadata, state.attempts).await?;
        tracing::debug!(?platform, "the CPU that is reported");
        state.platform = Some(platform);
        Ok(first)
    }
}

impl Platform {
    /// The platform and its first sample. An ECS agent that does not answer is passed over in the end.
    async fn detect(ecs_metadata: Option<String>, attempt: u32) -> Result<(Self, f64), String> {
        if let Some(agent) = ecs_metadata.and_then(|uri| Agent::at(&uri)) {
            let mut ecs = Self::Ecs { agent, limit: None };
            match ecs.sample().await {
                Ok(first) => return Ok((ecs, first)),
                Err(problem) if attempt < CHANCES => return Err(problem),
                Err(problem) => tracing::warn!(problem, "the ECS agent does not tell of the CPU"),
            }
        }
        let now = Instant::now();
        let found = blocking(move || match Version::of_container(&read_file) {
            Some(version) => {
                let before = (version.read(&read_file)?, now);
                Ok(Self::Container { version, before })
            }
            None => {
                let before = Ticks::parse(&read_file("proc/stat")?)?;
                Ok(Self::Host { before })
            }
        });
        Ok((found.await?, 0.0))
    }

    async fn sample(&mut self) -> Result<f64, String> {
        match self {
            Self::Ecs { agent, limit } => {
                let stats = Stats::parse(&agent.get("/stats").await?)?;
                let limit = match *limit {
                    Some(limit) => limit,
                    None => {
                        let (task, container) = (agent.get("/task").await?, agent.get("").await?);
                        *limit.insert(container_limit(&task, &container, stats.online_cpus)?)
                    }
                };
                stats.busy(limit)
            }
            Self::Container { version, before } => {
                let (version, at) = (*version, Instant::now());
                let usage = blocking(move || version.read(&read_file)).await?;
                let (usage_before, at_before) = std::mem::replace(before, (usage, at));
                usage.busy_since(&usage_before, at.saturating_duration_since(at_before))
            }
            Self::Host { before } => {
                let ticks = blocking(|| Ticks::parse(&read_file("proc/stat")?)).await?;
                let ticks_before = std::mem::replace(before, ticks.clone());
                ticks.busy_since(&ticks_before)
            }
        }
    }
}

/// The kernel composes these files while they are read, which takes a while on large machines.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(read).await.map_err(|error| error.to_string())?
}

fn read_file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(Path::new("/").join(path)).map_err(|error| format!("/{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// An ECS agent with fixed answers; how often each was asked for is its `usize`.
    async fn agent(answers: &'static [(&'static str, &'static str)]) -> (String, impl Fn(&str) -> usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/v4/abc", listener.local_addr().unwrap());
        let asked = std::sync::Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
        let counts = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 1024];
                let length = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap().trim_start_matches("/v4/abc");
                *asked.lock().unwrap().entry(path.to_owned()).or_default() += 1;
                let answer = answers.iter().find(|(name, _)| *name == path);
                let answer = answer.map_or("HTTP/1.0 404 Not Found\r\n\r\n".to_owned(), |(_, body)| {
                    format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}")
                });
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (uri, move |path: &str| {
            counts.lock().unwrap().get(path).copied().unwrap_or(0)
        })
    }

    const STATS: &str = r#"{
        "cpu_stats": {"cpu_usage": {"total_usage": 1500}, "system_cpu_usage": 8000, "online_cpus": 4},
        "precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 4000}}"#;

    #[tokio::test]
    async fn in_an_ecs_task_the_agent_is_asked_and_the_limits_only_once() {
        let (uri, asked) = agent(&[
            ("/stats", STATS),
            (
                "/task",
                r#"{"Limits": {"CPU": 2}, "Containers": [{"DockerId": "a"}, {"DockerId": "b"}]}"#,
            ),
            ("", r#"{"DockerId": "b"}"#),
        ])
        .await;
        let (mut platform, first) = Platform::detect(Some(uri), 1).await.unwrap();
        assert_eq!(first, 50.0);
        assert_eq!(platform.sample().await, Ok(50.0));
        assert_eq!((asked("/stats"), asked("/task"), asked("")), (2, 1, 1));
    }

    #[tokio::test]
    async fn an_agent_that_does_not_answer_is_passed_over_after_some_attempts() {
        let (uri, asked) = agent(&[]).await;
        for attempt in 1..CHANCES {
            let problem = Platform::detect(Some(uri.clone()), attempt).await.unwrap_err();
            assert!(problem.contains("404"), "{problem}");
        }
        assert_eq!(asked("/stats"), 4);
        let passed_over = match Platform::detect(Some(uri), CHANCES).await {
            Ok((platform, _)) => !matches!(platform, Platform::Ecs { .. }),
            // Not a Linux machine.
            Err(_) => true,
        };
        assert!(passed_over);
    }
}
