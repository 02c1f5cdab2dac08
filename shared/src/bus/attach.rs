//! A ledger on the bus: it is relayed, it listens, it tells and is told, it asks and is asked.

use std::sync::Arc;

use spillway_proto::ledgers::{self, StreamSpec};
use spillway_proto::{Ledger as Source, Partition};
use tokio::sync::{Notify, watch};

use super::calls::{self, Routes};
use super::connection::Bus;
use super::dead_letters;
use super::gaps::Gaps;
use super::listen::Listener;
use super::neighbours;
use super::pulse;
use super::relay::{self, Relay};
use super::vigil;
use crate::evidence;
use crate::ledger::{Ledger, Numbering, Service};
use crate::lifecycle::{Life, Stage};

/// What is to be there before a ledger's role is ready: a `stream` of its own, a `consumer` on another's.
pub type Needed = (&'static str, watch::Receiver<Result<(), String>>);

/// Starts all tasks that a ledger has on the bus. Answers what must be there before its role is ready: its own streams, and
/// a consumer on every stream that it hears.
pub fn attach<S: Service>(life: &Life, bus: &Bus, ledger: &Ledger<S>, routes: Routes) -> Vec<Needed> {
    let identity = ledger.identity().clone();
    let name = identity.id.name();
    let mut needed = speak(life, bus, ledger);
    for source in identity.id.ledger.hears() {
        for partition in &identity.serves {
            needed.push(listen(life, bus, ledger, *source, *partition));
        }
    }
    if !identity.id.ledger.hears().is_empty() {
        let marks = neighbours::tell_marks(ledger.clone(), bus.clone(), life.stop(Stage::Tell));
        life.steady(Stage::Tell, format!("{name} marks"), marks);
    }
    let (of_heads, of_batches, of_pulse) = (ledger.clone(), ledger.clone(), ledger.clone());
    let of_evidence = ledger.clone();
    let routes = routes
        .on("heads", move |_call| {
            let answer = neighbours::answer_heads(&of_heads);
            async move { Ok(answer) }
        })
        .on("pulse", move |_call| {
            let answer = pulse::answer(&of_pulse);
            async move { Ok(answer) }
        })
        .on("batches", move |call| {
            let ledger = of_batches.clone();
            async move { neighbours::answer_batches(&ledger, call.body).await }
        })
        .on("evidence", move |call| evidence::answer(of_evidence.clone(), call))
        .and(dead_letters::routes(ledger));
    keep_dead_letters(life, ledger);
    let stop = life.stop(Stage::Tell);
    let calls = calls::answer(bus.clone(), identity.id, identity.serves.clone(), routes, stop);
    life.task(Stage::Tell, format!("{name} calls"), calls);
    let watch = vigil::watch_connection(ledger.clone(), bus.clone(), life.stop(Stage::Tell));
    life.steady(Stage::Tell, format!("{name} connection"), watch);
    let write = vigil::write_incidents(ledger.clone(), life.stop(Stage::Tell));
    life.steady(Stage::Tell, format!("{name} incidents"), write);
    let of_failure = ledger.clone();
    let stop = life.stop(Stage::Tell);
    life.task(Stage::Tell, format!("{name} ledger"), async move {
        tokio::select! {
            why = of_failure.failed() => Err(why),
            () = stop.cancelled() => Ok(()),
        }
    });
    needed
}

fn keep_dead_letters<S: Service>(life: &Life, ledger: &Ledger<S>) {
    let name = ledger.identity().id.name();
    let newer = dead_letters::redrive_newer(ledger.clone(), life.stop(Stage::Work));
    life.steady(Stage::Work, format!("{name} newer kinds"), newer);
    let count = dead_letters::count(ledger.clone(), life.stop(Stage::Tell));
    life.steady(Stage::Tell, format!("{name} dead letters"), count);
}

fn speak<S: Service>(life: &Life, bus: &Bus, ledger: &Ledger<S>) -> Vec<Needed> {
    let identity = ledger.identity();
    let name = identity.id.name();
    if identity.numbering == Numbering::ByRelay {
        // Before the relay in a drain: what is committed last is still numbered and said.
        let number = relay::number(ledger.clone(), life.stop(Stage::Work));
        life.steady(Stage::Work, format!("{name} number"), number);
    }
    let mut needed = Vec::new();
    for partition in &identity.serves {
        let (state, is_there) = watch::channel(Err("not looked at yet".to_owned()));
        needed.push(("stream", is_there));
        let relay = Relay {
            state,
            ledger: ledger.clone(),
            bus: bus.clone(),
            partition: *partition,
            stream: stream_of(ledger, *partition),
        };
        life.steady(Stage::Tell, format!("{name} relay {partition}"), relay.run(life.stop(Stage::Tell)));
        let marks = neighbours::hear_marks(ledger.clone(), bus.clone(), *partition, life.stop(Stage::Tell));
        life.steady(Stage::Tell, format!("{name} told marks {partition}"), marks);
    }
    let heads = neighbours::tell_heads(ledger.clone(), bus.clone(), life.stop(Stage::Tell));
    life.steady(Stage::Tell, format!("{name} heads"), heads);
    needed
}

fn stream_of<S: Service>(ledger: &Ledger<S>, partition: Partition) -> StreamSpec {
    let identity = ledger.identity();
    let subject = ledgers::subject(identity.id.ledger, partition);
    let streams = ledgers::streams_of(identity.id, identity.partitions);
    streams
        .into_iter()
        .find(|stream| stream.subjects.contains(&subject))
        .unwrap_or_else(|| StreamSpec { name: ledgers::stream(identity.id.ledger, partition), subjects: vec![subject] })
}

fn listen<S: Service>(life: &Life, bus: &Bus, ledger: &Ledger<S>, source: Source, partition: Partition) -> Needed {
    let name = ledger.identity().id.name();
    let (state, needed) = watch::channel(Err("not listening yet".to_owned()));
    let stream = ledgers::stream(source, partition).into();
    let unread = Arc::new(Notify::new());
    let told = unread.clone();
    let listener =
        Listener { ledger: ledger.clone(), bus: bus.clone(), source, partition, stream, unread: told, state };
    let stop = life.stop(Stage::Work);
    life.steady(Stage::Work, format!("{name} hears {source} {partition}"), listener.run(stop.clone()));
    let gaps = Gaps::new(ledger.clone(), bus.clone(), source, partition, unread);
    life.steady(Stage::Work, format!("{name} gaps of {source} {partition}"), gaps.run(stop));
    ("consumer", needed)
}
