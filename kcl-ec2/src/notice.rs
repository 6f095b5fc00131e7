//! What the instance metadata service says of the instance's future, and whether the worker has to leave. Pure.

use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;

/// The instance is about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Why.
    pub reason: Reason,
    /// When, if that is known: the instance is interrupted no earlier. For [`Reason::Rebalance`] it is when AWS gave the advice.
    pub at: Option<SystemTime>,
}

/// Why an instance goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// EC2 takes a spot instance back: two minutes after it says so, or at once if the action is `hibernate`.
    SpotInterruption {
        /// `terminate`, `stop` or `hibernate`.
        action: String,
    },
    /// The Auto Scaling group takes the instance out of service.
    AutoScaling {
        /// The state to which it goes: `Terminated`, or one of those of a warm pool.
        state: String,
    },
    /// EC2 expects that a spot instance will be interrupted.
    Rebalance,
}

/// What was answered is not what AWS documents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoticeError {
    /// It is not the documented JSON.
    #[error("the answer is not the JSON that EC2 documents")]
    Json(#[source] serde_json::Error),
    /// A state is too long, or no word.
    #[error("the answer is no lifecycle state: {0:?}")]
    State(String),
}

impl Notice {
    pub(crate) fn new(reason: Reason, at: Option<SystemTime>) -> Self {
        Self { reason, at }
    }

    /// What `spot/instance-action` answers: `{"action": "terminate", "time": "2027-01-15T08:22:00Z"}`. Whatever the action is, the
    /// instance is interrupted, so an action that is not known is a notice as well, and so is one whose time cannot be read.
    pub(crate) fn of_spot(answer: &str) -> Result<Self, NoticeError> {
        #[derive(Deserialize)]
        struct InstanceAction {
            action: String,
            #[serde(default)]
            time: serde_json::Value,
        }
        let said: InstanceAction = serde_json::from_str(answer).map_err(NoticeError::Json)?;
        let reason = Reason::SpotInterruption { action: said.action };
        Ok(Self::new(reason, time(&said.time)))
    }

    /// What `autoscaling/target-lifecycle-state` answers, if the worker has to leave: `Terminated`, and those states of a warm pool in
    /// which an instance does not run. Not for `Standby` and `Detached`: there somebody has taken a running instance out of the group.
    pub(crate) fn of_lifecycle(answer: &str) -> Result<Option<Self>, NoticeError> {
        let state = answer.trim();
        let is_word = |state: &str| {
            state
                .chars()
                .all(|letter| letter.is_ascii_alphabetic() || letter == ':')
        };
        if state.is_empty() || state.len() > 64 || !is_word(state) {
            return Err(NoticeError::State(state.chars().take(64).collect()));
        }
        let goes = matches!(
            state,
            "Terminated" | "Warmed:Stopped" | "Warmed:Hibernated" | "Warmed:Terminated"
        );
        let state = state.to_owned();
        Ok(goes.then(|| Self::new(Reason::AutoScaling { state }, None)))
    }

    /// What `events/recommendations/rebalance` answers: `{"noticeTime": "2027-01-15T08:22:00Z"}`.
    pub(crate) fn of_rebalance(answer: &str) -> Result<Self, NoticeError> {
        #[derive(Deserialize)]
        struct Recommendation {
            #[serde(rename = "noticeTime")]
            notice_time: serde_json::Value,
        }
        let said: Recommendation = serde_json::from_str(answer).map_err(NoticeError::Json)?;
        Ok(Self::new(Reason::Rebalance, time(&said.notice_time)))
    }

    /// The reason as one word, for programs: `spot-interruption`, `auto-scaling` or `rebalance`.
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::SpotInterruption { .. } => "spot-interruption",
            Reason::AutoScaling { .. } => "auto-scaling",
            Reason::Rebalance => "rebalance",
        }
    }
}

fn time(value: &serde_json::Value) -> Option<SystemTime> {
    humantime::parse_rfc3339(value.as_str()?).ok()
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::SpotInterruption { action } => {
                write!(f, "EC2 takes this spot instance back (action {action})")?
            }
            Reason::AutoScaling { state } => {
                write!(f, "Auto Scaling takes this instance to the state {state}")?
            }
            Reason::Rebalance => f.write_str("EC2 advises to leave this spot instance")?,
        }
        match self.at {
            Some(at) => write!(f, ", time {}", humantime::format_rfc3339_seconds(at)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_spot_instance_is_told_what_happens_and_when() {
        let notice = Notice::of_spot(r#"{"action": "terminate", "time": "2027-01-15T08:00:00Z"}"#).unwrap();
        assert_eq!(notice.at, Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
        assert_eq!(notice.code(), "spot-interruption");
        assert_eq!(
            notice.to_string(),
            "EC2 takes this spot instance back (action terminate), time 2027-01-15T08:00:00Z"
        );
    }

    #[test]
    fn an_interruption_of_which_not_all_is_understood_is_one() {
        for (answer, action) in [
            (r#"{"action":"stop","time":"soon","more":[1]}"#, "stop"),
            (r#"{"action":"hibernate"}"#, "hibernate"),
            (r#"{"action":"vanish","time":7}"#, "vanish"),
        ] {
            let notice = Notice::of_spot(answer).unwrap();
            let action = action.to_owned();
            assert_eq!(notice, Notice::new(Reason::SpotInterruption { action }, None));
        }
        for answer in [
            "",
            "<html>",
            "{}",
            r#"{"action":null}"#,
            r#"["terminate", {}, 1]"#,
        ] {
            assert!(Notice::of_spot(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_worker_leaves_where_its_instance_will_not_run() {
        let is_told = |state| Notice::of_lifecycle(state).unwrap().is_some();
        for state in [
            "Terminated",
            "Terminated\n",
            "Warmed:Stopped",
            "Warmed:Hibernated",
            "Warmed:Terminated",
        ] {
            assert!(is_told(state), "{state}");
        }
        for state in ["InService", "Warmed:Running", "Standby", "Detached", "Whatever"] {
            assert!(!is_told(state), "{state}");
        }
        for answer in ["", "<html>", "not found", &"a".repeat(65)] {
            assert!(Notice::of_lifecycle(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn advice_tells_when_it_was_given() {
        let notice = Notice::of_rebalance(r#"{"noticeTime":"2027-01-15T08:00:00Z"}"#).unwrap();
        assert_eq!((notice.code(), notice.at.is_some()), ("rebalance", true));
        assert!(Notice::of_rebalance("{}").is_err());
    }
}
