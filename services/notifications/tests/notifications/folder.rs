//! Without a mail server, mails are files in a folder.

use std::collections::BTreeSet;

use proptest::prelude::*;
use spillway_proto::Event;
use spillway_proto::pb::events as v1;
use spillway_proto::pb::orders::Reason;

use crate::kit::{self, Running, header};

fn files(running: &Running) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(running.mail_folder()) else { return BTreeSet::new() };
    entries.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect()
}

fn mail_of(running: &Running, event: &spillway_proto::NewEvent) -> Vec<u8> {
    std::fs::read(running.mail_folder().join(format!("{}.email.eml", event.id()))).expect("its mail")
}

#[tokio::test]
async fn a_confirmed_order_is_a_mail_that_says_so() {
    let running = Running::start(&kit::config()).await;
    let event = kit::confirmed(1, "ada@example.com");
    running.tell(1, event.clone()).await;
    running.until_all("SENT", 1).await;

    let bytes = mail_of(&running, &event);
    let mail = mailparse::parse_mail(&bytes).expect("a mail");
    let message_id = format!("<{}.email@shop.example>", event.id());
    let order = kit::order(1);
    assert_eq!(header(&mail, "To"), ["ada@example.com"]);
    assert_eq!(header(&mail, "From"), ["Shop <orders@shop.example>"]);
    assert_eq!(header(&mail, "Subject"), [format!("Your order {order} is confirmed")]);
    assert_eq!(header(&mail, "Message-ID"), std::slice::from_ref(&message_id));
    assert_eq!(header(&mail, "Date"), ["Thu, 01 Jan 2026 00:00:00 +0000"]);
    assert_eq!(header(&mail, "Auto-Submitted"), ["auto-generated"]);
    let body = mail.get_body().expect("text").replace("\r\n", "\n");
    let expected =
        format!("Your order {order} is confirmed.\n\nIt is paid, and what you ordered is yours.\nTotal: 12.50 EUR\n");
    assert_eq!(body.trim_end(), expected.trim_end());

    let (event_id, channel) = (event.id().to_string(), "email".to_owned());
    assert_eq!(running.events().await, [v1::NotificationSent { event_id, channel, message_id }.into()]);
}

/// The same event in a batch of another number, as after a restore, comes past the inbox.
#[tokio::test]
async fn an_event_that_was_told_is_not_told_again() {
    let running = Running::start(&kit::config()).await;
    let event = kit::confirmed(1, "ada@example.com");
    running.tell(1, event.clone()).await;
    running.until_all("SENT", 1).await;
    std::fs::remove_dir_all(running.mail_folder()).expect("removed");
    running.tell(2, event).await;
    running.tell(3, kit::confirmed(2, "ada@example.com")).await;
    running.until_all("SENT", 2).await;
    assert_eq!(files(&running).len(), 1, "only the other order's");
    assert_eq!(running.events().await.len(), 2);
}

#[tokio::test]
async fn every_reason_has_words_of_its_own() {
    let running = Running::start(&kit::config()).await;
    let reasons = (0..).map_while(|number| Reason::try_from(number).ok());
    let events: Vec<_> = (1..).zip(reasons).map(|(n, reason)| kit::rejected(n, "ada@example.com", reason)).collect();
    kit::hear(&running.ledger, &[kit::batch(1, &events)]).await;
    running.until_all("SENT", events.len()).await;
    let body = |event| {
        let bytes = mail_of(&running, event);
        let body = mailparse::parse_mail(&bytes).expect("a mail").get_body().expect("text");
        body.lines().nth(2).expect("a reason").to_owned()
    };
    let bodies: BTreeSet<String> = events.iter().map(body).collect();
    assert_eq!(bodies.len(), events.len(), "{bodies:?}");
}

#[tokio::test]
async fn an_order_without_a_contact_has_no_row_no_due_work_and_no_mail() {
    let running = Running::start(&kit::config()).await;
    let nobody = kit::said(1, v1::OrderConfirmed::default().into());
    kit::hear(&running.ledger, &[kit::batch(1, &[nobody, kit::confirmed(2, "")])]).await;
    running.tell(2, kit::confirmed(3, "ada@example.com")).await;
    running.until_all("SENT", 1).await;
    let due = running.ledger.query(|tx| tx.read("select count(*) from due", &[], |row| row.int(0)));
    assert_eq!(due.await.expect("reads"), [0]);
    assert_eq!(files(&running).len(), 1);
}

/// Once it is sent or given up, the address is nowhere but in the mail.
#[tokio::test]
async fn an_address_goes_with_its_notice() {
    let running = Running::start(&kit::config()).await;
    let events = [kit::confirmed(1, "ada.lovelace@example.com"), kit::confirmed(2, "ada.lovelace@no good")];
    kit::hear(&running.ledger, &[kit::batch(1, &events)]).await;
    running.until(|all| all.len() == 2 && all.iter().all(|(state, _, _)| state != "PENDING")).await;
    let kept = running.kept().await;
    assert!(!kept.contains("lovelace") && !kept.contains("ada-17"), "{kept}");
    assert!(!String::from_utf8(mail_of(&running, &events[0])).expect("ASCII").contains("ada-17"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_tried_again() {
    let mut config = kit::config();
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("mail");
    std::fs::write(&blocked, "a file where the folder should be").expect("written");
    config.mail_folder = Some(blocked.clone());
    let running = Running::start(&config).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until(|all| all.first().is_some_and(|(state, attempt, _)| state == "PENDING" && *attempt > 2)).await;
    std::fs::remove_file(&blocked).expect("removed");
    running.until_all("SENT", 1).await;
    assert_eq!(std::fs::read_dir(&blocked).expect("made").count(), 1);
}

#[tokio::test]
async fn patience_ends() {
    let mut config = kit::config();
    config.retry.tries = 3;
    config.mail_folder = Some("/dev/null/mail".into());
    let running = Running::start(&config).await;
    running.tell(1, kit::confirmed(1, "ada@example.com")).await;
    running.until_all("FAILED", 1).await;
    let error = "given up after 3 tries: the mail folder cannot be written (not a directory)".to_owned();
    assert_eq!(running.deliveries().await, [("FAILED".to_owned(), 3, Some(error.clone()))]);
    let events = running.events().await;
    let Event::NotificationFailed(failed) = &events[0] else { panic!("{events:?}") };
    assert_eq!((events.len(), &failed.error), (1, &error));
}

/// Addresses that try to be more than one address.
fn sly() -> impl Strategy<Value = String> {
    let parts = [
        "a@b.example",
        "\r\n",
        "\n",
        "\r",
        "Bcc: x@y.example",
        ",",
        ";",
        " ",
        "<",
        ">",
        "\"",
        ":",
        "\0",
        "\u{85}",
        "\u{2028}",
        "=?utf-8?q?=0D=0ABcc:?=",
        "\r\n\r\nbody",
        "(comment)",
        "\\",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 1..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn no_address_adds_a_header_or_a_recipient(addresses in prop::collection::vec(sly(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let running = Running::start(&kit::config()).await;
            let events: Vec<_> = (1..).zip(&addresses).map(|(n, address)| kit::confirmed(n, address)).collect();
            kit::hear(&running.ledger, &[kit::batch(1, &events)]).await;
            running.until(|all| all.iter().all(|(state, _, _)| state != "PENDING")).await;
            for event in &events {
                let path = running.mail_folder().join(format!("{}.email.eml", event.id()));
                let Ok(bytes) = std::fs::read(path) else { continue };
                let mail = mailparse::parse_mail(&bytes).expect("a mail");
                let names: Vec<String> = mail.headers.iter().map(|header| header.get_key()).collect();
                let expected = ["From", "To", "Subject", "Message-ID", "Date", "Content-Type",
                    "Auto-Submitted", "Content-Transfer-Encoding"];
                assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
                assert_eq!(names.len(), expected.len());
                let to = mailparse::addrparse(&header(&mail, "To")[0]).expect("addresses");
                assert_eq!(to.count_addrs(), 1);
            }
        });
    }
}
