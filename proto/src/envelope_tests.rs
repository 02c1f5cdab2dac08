use super::*;
use crate::ids::Partition;
use crate::pb::{cloudevents, events as v1};
use proptest::prelude::*;
use prost::Message;

fn subjects() -> impl Strategy<Value = Subject> {
    prop_oneof![
        any::<[u8; 10]>().prop_map(|r| Subject::Order(OrderId::new(Timestamp::UNIX_EPOCH, Partition(3), r))),
        "[^\u{0}]{0,64}".prop_map(Subject::Sku),
        any::<u128>().prop_map(|n| Subject::DeadLetter(Uuid::from_u128(n))),
        "[a-z-]{1,20}".prop_map(Subject::Flow),
    ]
}

fn event(subject: Subject, reason: String, traceparent: String) -> NewEvent {
    let payload = v1::StockAdjusted { reason, delta: -3, ..Default::default() };
    NewEvent { shop: "default".into(), subject, occurrence: "r1".into(), traceparent, event: payload.into() }
}

proptest! {
    #[test]
    fn what_is_written_is_a_cloud_event_and_reads_back(
        subject in subjects(), reason in ".{0,300}", traceparent in "[0-9a-f-]{0,55}", micros in 0i64..1_000_000_000
    ) {
        let at = time::from_micros(micros);
        let said = event(subject, reason, traceparent);
        let mut bytes = Vec::new();
        write(&said, Ledger::Inventory, at, &mut bytes);

        let generated = cloudevents::CloudEvent::decode(&bytes[..]).expect("decodes by the published schema");
        prop_assert_eq!(&generated.id, &said.id().to_string());
        prop_assert_eq!(&generated.r#type, "spillway.stock.adjusted.v1");
        prop_assert_eq!(generated.encoded_len(), bytes.len());

        let heard = read(Bytes::from(bytes.clone())).expect("reads");
        prop_assert_eq!(heard.id, said.id());
        prop_assert_eq!(&heard.subject, &said.subject);
        prop_assert_eq!(heard.time, at);
        prop_assert_eq!(&heard.traceparent, &said.traceparent);
        prop_assert_eq!(&heard.raw[..], &bytes[..]);
        let kind = heard.kind().expect("known");
        prop_assert_eq!(Event::decode(kind, heard.payload).expect("payload"), said.event);

        // What another implementation writes reads the same, in whatever order its map comes out.
        let again = read(Bytes::from(generated.encode_to_vec())).expect("reads");
        prop_assert_eq!((again.id, again.subject, again.time), (heard.id, heard.subject, heard.time));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _read = read(Bytes::from(bytes));
    }

    #[test]
    fn a_cut_event_is_refused_or_lacks_its_payload(cut in 0usize..400) {
        let said = event(Subject::Sku("tea".into()), "x".repeat(100), String::new());
        let mut bytes = Vec::new();
        write(&said, Ledger::Inventory, Timestamp::UNIX_EPOCH, &mut bytes);
        prop_assume!(cut < bytes.len());
        let bad = read(Bytes::from(bytes[..cut].to_vec())).expect_err("cut");
        prop_assert_eq!(bad.raw.len(), cut);
    }

    #[test]
    fn what_is_left_of_a_cut_event_is_a_beginning_of_it(cut in 0usize..400) {
        let said = event(Subject::Sku("tea".into()), "x".repeat(100), "00-11-22-01".to_owned());
        let mut bytes = Vec::new();
        write(&said, Ledger::Inventory, Timestamp::UNIX_EPOCH, &mut bytes);
        let whole = remains(Bytes::from(bytes.clone()));
        prop_assert_eq!((whole.id.clone(), whole.subject.as_str()), (said.id().to_string(), "sku/tea"));
        prop_assert_eq!((whole.traceparent.as_str(), whole.shop.as_str()), ("00-11-22-01", said.shop.as_str()));
        let left = remains(Bytes::from(bytes[..cut.min(bytes.len())].to_vec()));
        for (of_cut, of_whole) in [(left.id, whole.id), (left.subject, whole.subject), (left.shop, whole.shop)] {
            prop_assert!(of_cut.is_empty() || of_cut == of_whole);
        }
    }
}
