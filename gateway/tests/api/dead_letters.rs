//! DeadLetterService, on the operators' door.

use async_nats::HeaderMap;
use spillway_proto::pb::ops::dead_letter::State;
use spillway_proto::pb::ops::dead_letter_service_client::DeadLetterServiceClient;
use spillway_proto::pb::ops::{
    DeadLetterChoice, DiscardDeadLetterRequest, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse,
    RedriveDeadLettersRequest, RedriveDeadLettersResponse,
};
use spillway_proto::{Ledger, Partition, ledgers};
use spillway_shared::bus::Bus;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::kit::{Client, PATIENCE, World, fields, order_of, reason, retry_after};

async fn list(client: &mut Client, request: ListDeadLettersRequest) -> Result<ListDeadLettersResponse, Status> {
    Ok(client.dead_letters.list_dead_letters(request).await?.into_inner())
}

async fn redrive(
    client: &mut Client,
    request: RedriveDeadLettersRequest,
) -> Result<Vec<RedriveDeadLettersResponse>, Status> {
    let mut stream = client.dead_letters.redrive_dead_letters(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(message) = stream.message().await? {
        told.push(message);
    }
    Ok(told)
}

/// Says messages without a number, each different, as nobody of ours would.
async fn say_nonsense(bus: &Bus, count: usize) {
    let jetstream = async_nats::jetstream::new(bus.client().clone());
    let subject = ledgers::subject(Ledger::Gateway, Partition(0));
    until_there(&jetstream, &ledgers::stream(Ledger::Gateway, Partition(0))).await;
    for n in 0..count {
        let mut headers = HeaderMap::new();
        headers.insert("who", "nobody");
        let sent = jetstream.publish_with_headers(subject.clone(), headers, format!("nonsense {n}").into()).await;
        sent.expect("sent").await.expect("stored");
    }
}

/// A gateway makes its stream when it first says something.
async fn until_there(jetstream: &async_nats::jetstream::Context, stream: &str) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    let there = async {
        while jetstream.get_stream(stream).await.is_err() {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("in time");
}

/// Asks until inventory keeps so many dead letters.
async fn until(client: &mut Client, wanted: usize) -> ListDeadLettersResponse {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let asked = async {
        loop {
            look.tick().await;
            let request =
                ListDeadLettersRequest { ledger: "inventory".to_owned(), ..ListDeadLettersRequest::default() };
            let page = list(client, request).await.expect("answers");
            if page.groups.iter().map(|group| group.dead_letters).sum::<i64>() == wanted as i64 {
                return page;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("in time")
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages_shown_handed_in_and_put_away_and_who_is_away_is_named() {
    let world = World::new(1).await;
    let _inventory = world.inventory().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    // Its stream is there once the gateway has something to say.
    client.place(&order_of("tea")).await.expect("accepted");
    say_nonsense(&world.bus("nobody").await, 5).await;
    let page = until(&mut client, 5).await;
    let [group] = &page.groups[..] else { panic!("one group: {page:?}") };
    let example = group.example.as_ref().expect("an example");
    assert_eq!((group.dead_letters, group.alarming, example.whole_message), (5, true, true));

    let everywhere = list(&mut client, ListDeadLettersRequest::default()).await.expect("answers");
    let silent: Vec<&str> = everywhere.silent.iter().map(|silent| silent.ledger.as_str()).collect();
    assert_eq!((everywhere.groups.len(), silent), (1, vec!["payments", "orders", "notifications", "audit"]));

    let mut request = ListDeadLettersRequest {
        fingerprint: group.fingerprint.clone(),
        ledger: "inventory".to_owned(),
        page_size: 2,
        ..ListDeadLettersRequest::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = list(&mut client, request.clone()).await.expect("answers");
        assert!(page.dead_letters.len() <= 2);
        ids.extend(page.dead_letters.into_iter().map(|letter| letter.dead_letter_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((ids.len(), &distinct), (5, &ids), "each once, by id");
    let changed = ListDeadLettersRequest { fingerprint: String::new(), ..request };
    assert_eq!(fields(&list(&mut client, changed).await.expect_err("another question")), ["page_token"]);

    let one = GetDeadLetterRequest { dead_letter_id: ids[0].clone() };
    let one = client.dead_letters.get_dead_letter(one).await.expect("there").into_inner();
    assert!(one.body.starts_with(b"nonsense") && one.json.is_empty());
    assert!(one.headers.iter().any(|header| (header.name.as_str(), header.value.as_str()) == ("who", "nobody")));

    settle(&mut client, ids).await;
}

async fn settle(client: &mut Client, ids: Vec<String>) {
    let of = |ids: &[String]| {
        Some(DeadLetterChoice { dead_letter_ids: ids.to_vec(), ledger: "inventory".to_owned(), ..Default::default() })
    };
    let dry = RedriveDeadLettersRequest { choice: of(&ids), dry_run: true, ..Default::default() };
    let told = redrive(client, dry).await.expect("answers");
    let last = told.last().expect("something");
    assert_eq!((last.matched, last.taken, last.done), (5, 0, true));
    let again = RedriveDeadLettersRequest { choice: of(&ids[..2]), reason: "a try".to_owned(), ..Default::default() };
    let told = redrive(client, again).await.expect("answers");
    let last = told.last().expect("something");
    assert_eq!((last.matched, last.taken, last.still_dead, last.done), (2, 0, 2, true));
    assert_eq!(told[0].results[0].dead_letter.as_ref().map(|letter| letter.count), Some(2));

    let away = DiscardDeadLetterRequest { choice: of(&ids[1..]), reason: "nonsense".to_owned() };
    let away = client.dead_letters.discard_dead_letter(away).await.expect("done").into_inner();
    assert_eq!((away.discarded, away.silent.len()), (4, 0));
    assert_eq!(until(client, 1).await.groups.len(), 1);
    let request = ListDeadLettersRequest { ledger: "inventory".to_owned(), ..Default::default() };
    let request = ListDeadLettersRequest { state: State::Discarded as i32, ..request };
    // One of them had been tried again, and has another error since.
    let groups = list(client, request).await.expect("answers").groups;
    assert_eq!(groups.iter().map(|group| group.dead_letters).sum::<i64>(), 4);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_and_nobody_says_that_there_is_none_for_another() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let wrong =
        ListDeadLettersRequest { ledger: "warehouse".to_owned(), page_size: -1, state: 9, ..Default::default() };
    assert_eq!(fields(&list(&mut client, wrong).await.expect_err("wrong")), ["ledger", "page_size", "state"]);
    let nothing = redrive(&mut client, RedriveDeadLettersRequest::default()).await.expect_err("nothing is meant");
    assert_eq!(fields(&nothing), ["choice", "reason"]);
    let choice = Some(DeadLetterChoice { cause: 3, ..Default::default() });
    let all = DiscardDeadLetterRequest { choice, reason: "all of them".to_owned() };
    let all = client.dead_letters.discard_dead_letter(all).await.expect_err("too much");
    assert_eq!(fields(&all), ["choice"]);
    let unknown = GetDeadLetterRequest { dead_letter_id: Uuid::new_v4().to_string() };
    let away = client.dead_letters.get_dead_letter(unknown).await.expect_err("nobody answers");
    assert_eq!((away.code(), reason(&away).as_str()), (Code::Unavailable, "LEDGERS_UNREACHABLE"));
    assert!(retry_after(&away).is_some());
    // Not where clients call.
    let mut public = DeadLetterServiceClient::new(client.channel.clone());
    let absent = public.list_dead_letters(ListDeadLettersRequest::default()).await.expect_err("not there");
    assert_eq!(absent.code(), Code::Unimplemented);
}
