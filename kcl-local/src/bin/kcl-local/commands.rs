//! What can be told to one that serves.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::AnyError;
use crate::arguments::{Command, Faults};
use crate::ask::Server;

/// How long to wait before asking again whether it answers.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn run(command: Command) -> Result<(), AnyError> {
    match command {
        Command::Ready { whom, timeout } => ready(&Server::of(whom)?, timeout).await,
        Command::Health { whom } => show(
            &Server::of(whom)?
                .ask(Method::GET, "/health", Bytes::new())
                .await?,
        ),
        Command::Reset { whom } => {
            Server::of(whom)?
                .ask(Method::POST, "/reset", Bytes::new())
                .await?;
            Ok(())
        }
        Command::Clock {
            whom,
            pace,
            advance,
            advance_to,
        } => {
            let mut form = Map::new();
            if let Some(pace) = pace {
                let number = pace.parse::<f64>().map(Value::from);
                form.insert("pace".to_owned(), number.unwrap_or(Value::from(pace)));
            }
            form.extend(advance.map(|by| ("advance".to_owned(), Value::from(by))));
            form.extend(advance_to.map(|time| ("advance_to".to_owned(), Value::from(time))));
            let server = Server::of(whom)?;
            show(&if form.is_empty() {
                server.ask(Method::GET, "/clock", Bytes::new()).await?
            } else {
                let form = Bytes::from(Value::Object(form).to_string());
                server.ask(Method::PUT, "/clock", form).await?
            })
        }
        Command::Faults { what } => faults(what).await,
    }
}

async fn ready(server: &Server, timeout: Duration) -> Result<(), AnyError> {
    let deadline = Instant::now() + timeout;
    loop {
        let asked = server.ask(Method::GET, "/health", Bytes::new());
        let last = match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        if Instant::now() + PAUSE >= deadline {
            let endpoint = server.endpoint();
            return Err(format!("{endpoint} is not ready after {timeout:?}: {last}").into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn faults(what: Faults) -> Result<(), AnyError> {
    match what {
        Faults::List { whom, json } => {
            let listed = Server::of(whom)?
                .ask(Method::GET, "/faults", Bytes::new())
                .await?;
            if json {
                return show(&listed);
            }
            say(&lines(&listed))
        }
        Faults::Add { whom, rule } => {
            let added = Server::of(whom)?
                .ask(Method::POST, "/faults", text(&rule)?)
                .await?;
            say(&lines(&added))
        }
        Faults::Set { whom, plan } => {
            let listed = Server::of(whom)?
                .ask(Method::PUT, "/faults", text(&plan)?)
                .await?;
            say(&lines(&listed))
        }
        Faults::Remove { whom, name } => {
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if name.is_empty() || !name.chars().all(is_word) {
                return Err(format!("there is no rule called {name}").into());
            }
            let path = format!("/faults/{name}");
            Server::of(whom)?.ask(Method::DELETE, &path, Bytes::new()).await?;
            Ok(())
        }
        Faults::Clear { whom } => {
            Server::of(whom)?
                .ask(Method::DELETE, "/faults", Bytes::new())
                .await?;
            Ok(())
        }
    }
}

/// What was given, or what is in the file that was given.
fn text(given: &str) -> Result<Bytes, AnyError> {
    let mut text = Vec::new();
    match given.strip_prefix('@') {
        Some(file) => {
            text = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
        }
        None if given == "-" => {
            std::io::stdin().read_to_end(&mut text)?;
        }
        None => text.extend_from_slice(given.as_bytes()),
    }
    Ok(Bytes::from(text))
}

/// One line for each rule: its name, what it has done, and what it is.
fn lines(listed: &Value) -> String {
    let rules = listed["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() {
        return "nothing goes wrong\n".to_owned();
    }
    let name = |rule: &Value| rule["name"].as_str().unwrap_or_default().to_owned();
    let width = rules.iter().map(|rule| name(rule).len()).max().unwrap_or(0);
    let line = |rule: &Value| {
        let over = if rule["over"] == true { ", over" } else { "" };
        let mut rest = rule.as_object().cloned().unwrap_or_default();
        for told in ["name", "matched", "hits", "over"] {
            rest.remove(told);
        }
        let (hits, matched) = (&rule["hits"], &rule["matched"]);
        format!(
            "{:width$}  met by {hits} of {matched}{over}  {}\n",
            name(rule),
            json!(rest)
        )
    };
    rules.iter().map(line).collect()
}

fn show(value: &Value) -> Result<(), AnyError> {
    say(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes to the standard output; that nobody reads it is no failure.
fn say(text: &str) -> Result<(), AnyError> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_line() {
        let listed = json!({ "rules": [
            { "name": "slow", "operation": "GetRecords", "delay": "1s", "matched": 7, "hits": 5, "over": false },
            { "name": "x", "fault": "cut", "count": 1, "matched": 1, "hits": 1, "over": true },
        ] });
        assert_eq!(
            lines(&listed),
            "slow  met by 5 of 7  {\"delay\":\"1s\",\"operation\":\"GetRecords\"}\n\
             x     met by 1 of 1, over  {\"count\":1,\"fault\":\"cut\"}\n"
        );
        assert_eq!(lines(&json!({ "rules": [] })), "nothing goes wrong\n");
    }
}
