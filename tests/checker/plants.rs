//! For every invariant a violation, planted in a copy of what a real run left behind.

use rusqlite::params;
use serde_json::json;
use spillway_proto::pb::events as v1;
use spillway_proto::{Ledger, Subject};

use crate::folder::{Folder, hex};

/// A violation, and which invariant must find it.
pub struct Plant {
    pub invariant: &'static str,
    pub what: &'static str,
    pub plant: fn(&Folder),
}

macro_rules! plants {
    ($($invariant:ident: $what:literal => $plant:expr;)*) => {
        &[$(Plant { invariant: stringify!($invariant), what: $what, plant: $plant }),*]
    };
}

/// At least one for each invariant. Times are put back by an hour where age counts.
pub const PLANTS: &[Plant] = plants! {
    lost: "a client was answered OK for an order that nobody has" => |f| {
        let mut calls = f.calls();
        let mut call = calls[0].clone();
        call["order_id"] = json!("01900000-0000-7000-8000-000000000000");
        call["request_id"] = json!("11111111-1111-4111-8111-111111111111");
        calls.push(call);
        f.write_calls(&calls);
    };
    lost: "an order is gone from the orders ledger" => |f| {
        f.spoil("orders-0", &format!("delete from orders where order_id = {}", hex(f.confirmed())));
    };
    lost: "an order was taken in and never said" => |f| {
        f.spoil("gateway", "update intake set order_id = x'01900000000070008000000000000000' where rowid = 1");
    };
    same_request_twice: "the same request was answered with two orders" => |f| {
        let mut calls = f.calls();
        let mut call = calls[0].clone();
        call["order_id"] = calls[1]["order_id"].clone();
        calls.push(call);
        f.write_calls(&calls);
    };
    same_request_twice: "the same request was answered OK for two contents" => |f| {
        let mut calls = f.calls();
        let mut call = calls[0].clone();
        call["req_sha"] = json!("00".repeat(32));
        calls.push(call);
        f.write_calls(&calls);
    };
    phantom: "an order that no client asked for" => |f| {
        let calls = f.calls();
        f.write_calls(&calls[1..]);
    };
    phantom: "an order of which every call was refused for good" => |f| {
        let mut calls = f.calls();
        calls[0]["outcome"] = json!("fail");
        calls[0]["code"] = json!("RESOURCE_EXHAUSTED");
        f.write_calls(&calls);
    };
    phantom: "an order kept with another content" => |f| {
        f.spoil("gateway", "update intake set fingerprint = zeroblob(32)");
    };
    stuck: "an old order is undecided, and nothing is due" => |f| {
        let sql = "update orders set state = 'PENDING', create_us = create_us - 3600000000 where order_id = ";
        f.spoil("orders-0", &format!("{sql}{}", hex(f.confirmed())));
    };
    stuck: "a payment was passed over: its work is due, and later payments are done" => |f| {
        let order = hex(f.confirmed());
        let ago = "3600000000";
        let sql = format!("update orders set state = 'PENDING', create_us = create_us - {ago} where order_id = {order}");
        f.spoil("orders-0", &sql);
        f.spoil("payments-0", &format!("update payment set state = 'CHARGING' where order_id = {order}"));
        let due = format!(
            "insert into due (kind, key, due_us, attempt, payload)
             select 'charge', order_id, create_us - {ago}, 1, x'' from payment where order_id = {order}"
        );
        f.spoil("payments-0", &due);
    };
    illegal_transition: "a version is missing" => |f| {
        f.spoil("orders-0", &format!("delete from history where version = 2 and order_id = {}", hex(f.confirmed())));
    };
    state_unlike_history: "a rejected order is confirmed by its row" => |f| {
        f.spoil("orders-0", &format!("update orders set state = 'CONFIRMED' where order_id = {}", hex(f.declined())));
    };
    state_unlike_history: "the history holds another total" => |f| {
        f.spoil("orders-0", &format!("update orders set total_minor = 1 where order_id = {}", hex(f.confirmed())));
    };
    read_backwards: "an accepted order was read as not there" => |f| {
        let mut calls = f.calls();
        let mut call = calls[0].clone();
        let late = call["complete_us"].as_i64().expect("a time") + 1;
        (call["op"], call["outcome"], call["code"]) = (json!("get"), json!("fail"), json!("NOT_FOUND"));
        (call["invoke_us"], call["complete_us"]) = (json!(late), json!(late + 1));
        calls.push(call);
        f.write_calls(&calls);
    };
    read_backwards: "a later read showed an earlier version" => |f| {
        let mut calls = f.calls();
        let late = calls[0]["complete_us"].as_i64().expect("a time") + 1;
        for (n, version) in [(0, 4), (1, 3)] {
            let mut call = calls[0].clone();
            (call["op"], call["version"]) = (json!("get"), json!(version));
            (call["invoke_us"], call["complete_us"]) = (json!(late + n * 10), json!(late + n * 10 + 5));
            calls.push(call);
        }
        f.write_calls(&calls);
    };
    charged_twice: "a second charge" => |f| copy_charge(f, "kind, reference", "amount");
    charged_too_much: "a charge above the total" => |f| {
        f.spoil_provider("update attempts set amount = amount + 100 where reference = ?1", f.confirmed());
    };
    charged_not_confirmed: "a declined order was charged" => |f| {
        let sql = "update attempts set status = 'succeeded', effect = 1 where reference = ?1";
        f.spoil_provider(sql, f.declined());
    };
    confirmed_not_charged: "a confirmed order was never charged" => |f| {
        f.spoil_provider("delete from attempts where reference = ?1", f.confirmed());
    };
    cancelled_and_charged: "a cancelled order was charged" => |f| {
        let order = f.declined();
        let number = f.say("orders-0", Ledger::Orders, Subject::Order(order), v1::OrderCancelled::default());
        f.spoil("payments-0", &format!("update inbox_mark set number = {number} where source = 'orders'"));
        f.spoil("orders-0", &format!("update orders set state = 'CANCELLED' where order_id = {}", hex(order)));
        let sql = "update attempts set status = 'succeeded', effect = 1 where reference = ?1";
        f.spoil_provider(sql, order);
    };
    payments_unlike_provider: "payments claims more than the provider gave" => |f| {
        let sql = "update payment set captured_minor = captured_minor + 1 where order_id = ";
        f.spoil("payments-0", &format!("{sql}{}", hex(f.confirmed())));
    };
    payments_unlike_provider: "a payment is gone" => |f| {
        f.spoil("payments-0", &format!("delete from payment where order_id = {}", hex(f.confirmed())));
    };
    charged_before_hold: "an order was charged whose stock was refused" => |f| {
        let sql = format!("'charge', '{}'", f.out_of_stock());
        copy_charge(f, &sql, "amount");
    };
    refunded_too_much: "more went back than was charged" => |f| {
        let sql = format!("'refund', '{}:compensate/x:1'", f.confirmed());
        copy_charge(f, &sql, "amount + 1");
    };
    stock_below_zero: "more was taken out than there was" => |f| {
        let taken = v1::StockAdjusted { delta: -1_000_000, ..Default::default() };
        f.say("inventory", Ledger::Inventory, Subject::Sku("tea".to_owned()), taken);
    };
    stock_unlike_moves: "a unit was sold that never moved" => |f| {
        f.spoil("inventory", "update stock set available = available - 1, sold = sold + 1 where sku = 'tea'");
    };
    leaked_units: "units stay held for a confirmed order" => |f| {
        f.spoil("inventory", &format!("update hold set state = 'HELD' where order_id = {}", hex(f.confirmed())));
    };
    sold_unlike_ordered: "the units of a rejected order are sold" => |f| {
        f.spoil("inventory", &format!("update hold set state = 'SOLD' where order_id = {}", hex(f.declined())));
    };
    sold_unlike_ordered: "other units are held than were ordered" => |f| {
        f.spoil("inventory", &format!("update hold set lines = x'' where order_id = {}", hex(f.confirmed())));
    };
    oversold: "more is confirmed than was ever there" => |f| {
        f.spoil("inventory", "update stock set received = received - sold, sold = 0 where sku = 'tea'");
    };
    false_rejection: "an order was refused while all of it was there" => |f| {
        let short = v1::ShortLine { sku: "tea".to_owned(), wanted: 1, available: 0 };
        let refused = v1::StockRefused { short_lines: vec![short] };
        f.say("inventory", Ledger::Inventory, Subject::Order(f.confirmed()), refused);
    };
    heard_without_effect: "inventory heard of an order, and has no hold" => |f| {
        f.spoil("inventory", &format!("delete from hold where order_id = {}", hex(f.confirmed())));
    };
    effect_twice: "an order was confirmed twice" => |f| {
        let confirmed = v1::OrderConfirmed::default();
        f.say("orders-0", Ledger::Orders, Subject::Order(f.confirmed()), confirmed);
    };
    ghost: "a listener has heard what was never said" => |f| {
        f.spoil("inventory", "update inbox_mark set number = number + 1000 where source = 'orders'");
    };
    number_gap: "a batch is gone from an outbox" => |f| {
        f.spoil("inventory", "delete from outbox where number = 2");
    };
    number_gap: "the last batch is gone from an outbox" => |f| {
        f.spoil("orders-0", "delete from outbox where id = (select max(id) from outbox)");
    };
    unheard: "a listener stopped listening long ago" => |f| {
        f.spoil("orders-0", "update outbox set time_us = time_us - 3600000000");
        f.spoil("inventory", "update inbox_mark set number = 1 where source = 'orders'");
    };
    audit_gap: "the end of the audit trail is cut off" => |f| {
        f.spoil("audit-0", "delete from entry where position = (select max(position) from entry)");
    };
    audit_order: "two words of orders stand the wrong way round" => |f| {
        let ledger = f.ledger("orders-0");
        let last = "select event from history h where version = (select max(version) from history where order_id = h.order_id)
                    order by order_id desc limit 1";
        let event: Vec<u8> = ledger.query_row(last, [], |row| row.get(0)).expect("an end");
        let changed = ledger.execute(
            "update history set event = ?1 where version = 1 and order_id = ?2",
            params![event, f.confirmed().as_bytes()],
        );
        assert_eq!(changed.expect("written"), 1);
    };
    chain_broken: "an entry was changed" => |f| {
        f.spoil("audit-0", "update entry set record_us = record_us + 1 where position = 2");
    };
    notice_missing: "nobody told the customer" => |f| {
        f.spoil("notifications-0", &format!("delete from delivery where order_id = {}", hex(f.confirmed())));
    };
    notice_missing: "a mail is gone from the folder" => |f| {
        std::fs::remove_file(mails(f).remove(0)).expect("removed");
    };
    notice_twice: "a mail lies there twice" => |f| {
        let mail = mails(f).remove(0);
        std::fs::copy(&mail, mail.with_file_name("again.eml")).expect("copied");
    };
};

fn mails(f: &Folder) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(f.path().join("mail")).expect("mails");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// One more attempt at the provider like that of a confirmed order, with another kind and reference.
fn copy_charge(f: &Folder, kind_and_reference: &str, amount: &str) {
    let sql = format!(
        "insert into attempts (time_ms, attempt, kind, reference, idempotency_key, asked_amount, amount, currency,
             source, status, http, effect, answered, stored_id)
         select time_ms, 1, {kind_and_reference}, idempotency_key || '/planted', asked_amount, {amount}, currency,
             source, status, http, effect, answered, stored_id
         from attempts where reference = ?1 and effect = 1"
    );
    f.spoil_provider(&sql, f.confirmed());
}
