//! Signing in, and connections that must be secure.

use spillway_notifications::SmtpTls;
use spillway_shared::config::Secret;

use crate::kit::{self, Running};
use crate::sink::{Mode, Sink};

#[tokio::test]
async fn whoever_has_a_name_signs_in_and_a_wrong_password_fails_no_mail() {
    let sink = Sink::new(Mode::NoAuth);
    let mut config = kit::smtp(sink.address);
    config.smtp.username = Some("shop".to_owned());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "hush\n").expect("written");
    config.smtp.password_file = Some(file.path().to_owned());
    let running = Running::start(&config).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until(|all| all.first().is_some_and(|(state, attempt, _)| state == "PENDING" && *attempt > 2)).await;

    sink.mode.send_replace(Mode::Accept);
    running.until_all("SENT", 1).await;
    // RFC 4616: an empty identity, the name and the password with NULs between them, in base64.
    assert_eq!(sink.seen.borrow().auth.last().map(String::as_str), Some("AUTH PLAIN AHNob3AAaHVzaA=="));
}

/// 530 comes in answer to the mail, and still speaks of us.
#[tokio::test]
async fn a_server_that_wants_a_name_fails_no_mail() {
    let sink = Sink::new(Mode::Reply("530 5.7.0 authentication required"));
    let running = Running::start(&kit::smtp(sink.address)).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until(|all| all.first().is_some_and(|(state, attempt, _)| state == "PENDING" && *attempt > 2)).await;
}

#[tokio::test]
async fn a_server_without_tls_is_told_nothing() {
    let sink = Sink::new(Mode::Accept);
    let mut config = kit::smtp(sink.address);
    config.smtp.tls = SmtpTls::Starttls;
    config.smtp.username = Some("shop".to_owned());
    config.smtp.password = Some(Secret::from("hush"));
    config.retry.tries = 3;
    let running = Running::start(&config).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until_all("FAILED", 1).await;
    let error = "given up after 3 tries: no secure connection to the mail server".to_owned();
    assert_eq!(running.deliveries().await, [("FAILED".to_owned(), 3, Some(error))]);
    assert!(sink.seen.borrow().commands.iter().all(|word| word == "EHLO"), "{:?}", sink.seen.borrow().commands);
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let sink = Sink::new(Mode::Accept);
    let running = Running::start(&kit::smtp(sink.address)).await;
    running.tell(1, kit::confirmed(1, "zoë@example.com")).await;
    running.until_all("FAILED", 1).await;
    let error = "no mail can be sent to the address".to_owned();
    assert_eq!(running.deliveries().await, [("FAILED".to_owned(), 1, Some(error))]);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_does_not_start() {
    let mut config = kit::smtp(([127, 0, 0, 1], 25).into());
    config.smtp.username = Some("shop".to_owned());
    config.smtp.password_file = Some("/nowhere/password".into());
    let mailer = spillway_notifications::mail::Mailer::new(&config, "mail".into());
    let problem = mailer.err().expect("no password").to_string();
    assert!(problem.contains("notifications.smtp.password_file"), "{problem}");
}
