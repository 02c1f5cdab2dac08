//! A real mail server, well and sick.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use spillway_proto::Event;

use crate::kit::{self, Running, header};
use crate::sink::{Closed, Mode, Seen, Sink};

fn message_ids(seen: &Seen) -> Vec<String> {
    seen.mails
        .iter()
        .map(|mail| header(&mailparse::parse_mail(mail.data.as_bytes()).expect("a mail"), "Message-ID").concat())
        .collect()
}

#[tokio::test]
async fn a_mail_goes_to_its_one_recipient() {
    let sink = Sink::new(Mode::Accept);
    let running = Running::start(&kit::smtp(sink.address)).await;
    let event = kit::confirmed(1, "ada@example.com");
    running.tell(1, event.clone()).await;
    running.until_all("SENT", 1).await;
    let seen = sink.until(|seen| seen.mails.len() == 1).await;
    assert_eq!(seen.mails[0].from, "MAIL FROM:<orders@shop.example>");
    assert_eq!(seen.mails[0].to, ["RCPT TO:<ada@example.com>"]);
    assert_eq!(message_ids(&seen), [format!("<{}.email@shop.example>", event.id())]);
}

#[tokio::test]
async fn connections_are_used_again() {
    let sink = Sink::new(Mode::Accept);
    let mut config = kit::smtp(sink.address);
    config.workers = NonZeroUsize::MIN;
    let running = Running::start(&config).await;
    let events: Vec<_> = (1..=20).map(|n| kit::confirmed(n, "ada@example.com")).collect();
    kit::hear(&running.ledger, &[kit::batch(1, &events)]).await;
    running.until_all("SENT", 20).await;
    let seen = sink.until(|seen| seen.mails.len() == 20).await;
    assert_eq!(seen.connections, 1);
    assert_eq!(message_ids(&seen).into_iter().collect::<BTreeSet<_>>().len(), 20);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_no_try() {
    let sink = Sink::new(Mode::TakeAndLeave);
    let running = Running::start(&kit::smtp(sink.address)).await;
    for n in 1..=5 {
        running.tell(n.into(), kit::confirmed(n, "ada@example.com")).await;
        running.until_all("SENT", n.into()).await;
        sink.until(|seen| seen.open == 0).await;
    }
    let tries: Vec<i64> = running.deliveries().await.into_iter().map(|(_, attempt, _)| attempt).collect();
    assert_eq!(tries, [1; 5]);
}

#[tokio::test]
async fn a_mail_whose_connection_broke_is_sent_again() {
    let sink = Sink::new(Mode::TakeAndClose);
    let running = Running::start(&kit::smtp(sink.address)).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    sink.until(|seen| !seen.mails.is_empty()).await;
    sink.mode.send_replace(Mode::Accept);
    running.until_all("SENT", 1).await;
    let ids = message_ids(&sink.until(|seen| seen.mails.len() > 1).await);
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), 1, "a repeat has the same Message-ID");
}

#[tokio::test]
async fn while_the_server_is_down_notices_wait_and_outlive_a_restart() {
    let closed = Closed::new();
    let config = kit::smtp(closed.address);
    let running = Running::start(&config).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until(|all| all.first().is_some_and(|(state, attempt, _)| state == "PENDING" && *attempt > 3)).await;
    let folder = running.end().await;
    let sink = closed.open(Mode::Accept);
    let running = Running::start_in(&config, folder, 1).await;
    running.until_all("SENT", 1).await;
    assert_eq!(sink.until(|seen| !seen.mails.is_empty()).await.mails.len(), 1);
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    let sink = Sink::new(Mode::Reply("550 5.1.1 <ada@example.com>: no such user"));
    let running = Running::start(&kit::smtp(sink.address)).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until_all("FAILED", 1).await;
    let error = "the mail server refused it for good (550)".to_owned();
    assert_eq!(running.deliveries().await, [("FAILED".to_owned(), 1, Some(error.clone()))]);
    let events = running.events().await;
    let Event::NotificationFailed(failed) = &events[0] else { panic!("{events:?}") };
    assert_eq!((events.len(), &failed.error), (1, &error));
    assert_eq!(sink.seen.borrow().commands.iter().filter(|word| *word == "RCPT").count(), 1);
    assert!(!running.kept().await.contains("ada@example.com"));
}

#[tokio::test]
async fn what_is_refused_for_now_is_tried_again() {
    let sink = Sink::new(Mode::Reply("451 4.3.0 later"));
    let running = Running::start(&kit::smtp(sink.address)).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until(|all| all.first().is_some_and(|(state, attempt, _)| state == "PENDING" && *attempt > 2)).await;
    sink.mode.send_replace(Mode::Accept);
    running.until_all("SENT", 1).await;
    assert_eq!(sink.until(|seen| !seen.mails.is_empty()).await.mails.len(), 1);
    let said = running.events().await;
    assert_eq!(said.len(), 1, "{said:?}");
}

/// The server takes mails and does not answer: each is abandoned after its time, and sent again on another
/// connection, under the same Message-ID; no answer to one is taken for the answer to another.
#[tokio::test]
async fn a_server_that_hangs_after_taking_a_mail_gets_it_again_under_the_same_id() {
    let sink = Sink::new(Mode::TakeAndHang);
    let mut config = kit::smtp(sink.address);
    config.smtp.timeout_ms = 200;
    let running = Running::start(&config).await;
    let events: Vec<_> = (1..=6).map(|n| kit::confirmed(n, "ada@example.com")).collect();
    kit::hear(&running.ledger, &[kit::batch(1, &events)]).await;
    running.until(|all| all.len() == 6 && all.iter().all(|(_, attempt, _)| *attempt > 1)).await;
    assert!(running.deliveries().await.iter().all(|(state, _, _)| state == "PENDING"));

    sink.mode.send_replace(Mode::Accept);
    running.until_all("SENT", 6).await;
    let seen = sink.until(|seen| seen.mails.len() >= 12).await;
    let expected: BTreeSet<String> = events.iter().map(|e| format!("<{}.email@shop.example>", e.id())).collect();
    assert_eq!(message_ids(&seen).into_iter().collect::<BTreeSet<_>>(), expected);
    let distinct: BTreeSet<&str> = seen.mails.iter().map(|mail| mail.data.as_str()).collect();
    assert_eq!(distinct.len(), 6, "a repeat is the same to the byte");
}

/// A sick mail server harms mail alone: what is heard is committed as ever.
#[tokio::test]
async fn a_deaf_server_does_not_hold_up_what_is_heard() {
    let sink = Sink::new(Mode::Deaf);
    let mut config = kit::smtp(sink.address);
    config.workers = NonZeroUsize::new(3).expect("not zero");
    let running = Running::start(&config).await;
    for number in 1..=40 {
        let n = u8::try_from(number).expect("few");
        let heard = running.tell(number, kit::confirmed(n, "ada@example.com"));
        tokio::time::timeout(std::time::Duration::from_secs(5), heard).await.expect("not held up");
    }
    sink.until(|seen| seen.open == 3).await;
    assert_eq!(running.deliveries().await.len(), 40);
}

/// The bound on mails in hand holds over all partitions together.
#[tokio::test]
async fn workers_are_bounded() {
    let sink = Sink::new(Mode::TakeAndHang);
    let mut config = kit::smtp(sink.address);
    config.workers = NonZeroUsize::new(3).expect("not zero");
    let running = Running::start_in(&config, Arc::new(tempfile::tempdir().expect("a folder")), 2).await;
    let events: Vec<_> = (1..=20).map(|n| kit::confirmed(n, "ada@example.com")).collect();
    for ledger in &running.ledgers {
        kit::hear(ledger, &[kit::batch(1, &events)]).await;
    }
    sink.until(|seen| seen.mails.len() == 3).await;
    sink.mode.send_replace(Mode::Accept);
    let seen = sink.until(|seen| seen.mails.len() == 40).await;
    assert_eq!(seen.most_open, 3);
}
