//! What the watch makes of an instance metadata service that works, fails, and is not there. In virtual time.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_ec2::testing::{FakeInstance, Trouble};
use kcl_ec2::{ImdsError, LookError, Notice, Reason};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const HOURS: Duration = Duration::from_secs(7 * 3_600);

fn soon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A watch that has looked a few times, and found nothing.
async fn watched(instance: &FakeInstance) -> JoinHandle<Notice> {
    let watching = tokio::spawn(instance.watch().notice());
    sleep(Duration::from_secs(12)).await;
    assert!(!watching.is_finished());
    watching
}

async fn noticed(watching: JoinHandle<Notice>) -> (Notice, Duration) {
    let asked_at = Instant::now();
    let notice = timeout(HOURS, watching).await.expect("a notice").unwrap();
    (notice, asked_at.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_spot_interruption_is_noticed_in_five_seconds() {
    let instance = FakeInstance::new();
    let watching = watched(&instance).await;
    instance.interrupt("terminate", soon());
    let (notice, after) = noticed(watching).await;
    let action = "terminate".to_owned();
    assert_eq!(notice.reason, Reason::SpotInterruption { action });
    assert_eq!(notice.at, Some(soon()));
    assert!(after <= Duration::from_secs(5), "{after:?}");
    assert_eq!(instance.asked().tokens, 1, "a token is used again");
    assert_eq!(instance.asked().refused, 0, "nothing is asked without token");
}

#[tokio::test(start_paused = true)]
async fn scaling_in_is_noticed_and_standing_by_is_not() {
    let instance = FakeInstance::new();
    let watching = watched(&instance).await;
    instance.target_state("Standby");
    sleep(HOURS).await;
    assert!(!watching.is_finished());
    instance.target_state("Terminated");
    let (notice, after) = noticed(watching).await;
    assert_eq!((notice.code(), notice.at), ("auto-scaling", None));
    assert!(after <= Duration::from_secs(5), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn advice_counts_only_where_it_is_asked_for() {
    let instance = FakeInstance::new();
    let (without, with) = (watched(&instance).await, instance.watch().on_rebalance(true));
    instance.advise_to_rebalance(soon());
    let notice = with.notice().await;
    assert_eq!((notice.code(), notice.at), ("rebalance", Some(soon())));
    sleep(HOURS).await;
    assert!(!without.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_its_life_is_over() {
    let instance = FakeInstance::new();
    let watching = watched(&instance).await;
    sleep(HOURS).await;
    let asked = instance.asked();
    assert_eq!(asked.tokens, 2, "six hours each");
    assert_eq!(asked.refused, 0);
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_gives_shorter_lives_is_believed() {
    let instance = FakeInstance::new();
    instance.token_life(Duration::from_secs(60));
    let watching = watched(&instance).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(instance.asked().refused, 0);
    assert!(instance.asked().tokens >= 10, "{:?}", instance.asked());
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_replaced_within_the_same_question() {
    let instance = FakeInstance::new();
    let watching = watched(&instance).await;
    instance.forget_tokens();
    instance.interrupt("stop", soon());
    let (_, after) = noticed(watching).await;
    assert!(after <= Duration::from_secs(5), "{after:?}");
    assert_eq!((instance.asked().tokens, instance.asked().refused), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_every_token_is_not_asked_without_end() {
    let instance = FakeInstance::new();
    instance.trouble(Trouble::RefusesTokens);
    let error = instance
        .imds()
        .get("/latest/meta-data/instance-id")
        .await
        .unwrap_err();
    assert!(matches!(error, ImdsError::TokenRefused { .. }), "{error}");
    assert_eq!((instance.asked().tokens, instance.asked().refused), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_normal() {
    let mut imds = FakeInstance::new().imds();
    assert_eq!(
        imds.get("/latest/meta-data/spot/instance-action").await.unwrap(),
        None
    );
    let id = imds.get("/latest/meta-data/instance-id").await.unwrap();
    assert_eq!(id.as_deref(), Some("i-0123456789abcdef0"));
}

#[tokio::test(start_paused = true)]
async fn whatever_passes_delays_a_notice_by_twenty_seconds_at_most() {
    for trouble in [
        Trouble::Status(503),
        Trouble::AnswersStatus(503),
        Trouble::AnswersStatus(429),
        Trouble::Silent,
        Trouble::Unreachable,
        Trouble::AnotherService,
        Trouble::RefusesTokens,
        Trouble::Endless,
    ] {
        let instance = FakeInstance::new();
        let watching = watched(&instance).await;
        instance.trouble(trouble);
        sleep(Duration::from_secs(3_600)).await;
        assert!(!watching.is_finished(), "{trouble:?} is no notice");
        instance.interrupt("terminate", soon());
        instance.trouble(Trouble::None);
        let (_, after) = noticed(watching).await;
        // And the two seconds of an answer that does not come, for each of two questions.
        assert!(after <= Duration::from_secs(24), "{trouble:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_not_stormed() {
    let instance = FakeInstance::new();
    instance.trouble(Trouble::AnswersStatus(503));
    let watching = tokio::spawn(instance.watch().notice());
    sleep(Duration::from_secs(600)).await;
    // 600 s in steps of 20 s.
    assert!(instance.asked().tokens <= 2, "{:?}", instance.asked());
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn one_question_that_fails_does_not_hide_the_answer_of_another() {
    let instance = FakeInstance::new();
    instance.put("/latest/meta-data/spot/instance-action", "<html>");
    let watching = watched(&instance).await;
    instance.target_state("Terminated");
    assert_eq!(noticed(watching).await.0.code(), "auto-scaling");
    let mut watch = FakeInstance::new().watch();
    assert_eq!(watch.look().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_none_the_watch_waits_and_says_what_may_be_wrong() {
    for (trouble, reason) in [
        (Trouble::Unreachable, "no EC2 instance"),
        (Trouble::TokensLost, "hop limit"),
        (Trouble::Status(403), "turned off for this instance"),
        (Trouble::Status(404), "another service answers there"),
        (Trouble::Status(405), "another service answers there"),
    ] {
        let instance = FakeInstance::new();
        instance.trouble(trouble);
        let error = instance
            .imds()
            .get("/latest/meta-data/instance-id")
            .await
            .unwrap_err();
        assert!(
            error.is_absence() && error.to_string().contains(reason),
            "{trouble:?}: {error}"
        );
        let watching = tokio::spawn(instance.watch().notice());
        sleep(HOURS).await;
        assert!(!watching.is_finished(), "{trouble:?}");
        // It may have been a network that was not there yet.
        instance.interrupt("terminate", soon());
        instance.trouble(Trouble::None);
        assert!(noticed(watching).await.1 <= Duration::from_secs(62));
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_service_says_is_neither_a_notice_nor_an_absence() {
    let instance = FakeInstance::new();
    instance.trouble(Trouble::AnotherService);
    let error = instance.watch().look().await.unwrap_err();
    assert!(matches!(error, LookError::Notice { .. }), "{error}");
    let told = error.to_string();
    assert!(
        told.contains("spot/instance-action cannot be understood"),
        "{told}"
    );
    instance.trouble(Trouble::Endless);
    let error = instance
        .imds()
        .get("/latest/meta-data/instance-id")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("length limit"), "{error}");
}
