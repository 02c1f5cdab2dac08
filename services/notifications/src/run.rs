//! Starting the role.

use std::sync::Arc;

use prost::Message;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::trace::{Part, part_span};
use spillway_proto::{Ledger as Source, LedgerId, TraceContext};
use spillway_shared::bus::Routes;
use spillway_shared::ledger::{Due, Ledger, Numbering, Wait};
use spillway_shared::lifecycle::Stage;
use spillway_shared::role::{Place, StartError};
use spillway_shared::steps::step;
use spillway_shared::telemetry::{Span, SpanKind, Tracer, attribute as attr};
use tokio::sync::Semaphore;

use crate::config::NotificationsConfig;
use crate::domain::Trouble;
use crate::letter::Letter;
use crate::mail::Mailer;
use crate::service::{EMAIL, Input, Notifications, Tried};
use crate::store::{self, MIGRATIONS};
use crate::{explain, trace};

/// What operators pause it by.
pub(crate) const FLOW: &str = "notifications";

/// Opens the notifications ledger of every partition in its place, puts it on the bus, and works off its mails. What
/// it started ends with the place's life.
///
/// # Errors
/// Where a ledger cannot be opened, or the configuration cannot be used.
pub async fn run(config: NotificationsConfig, place: Place) -> Result<(), StartError> {
    start(&config, &place)?;
    Ok(())
}

/// Like [`run`], and answers the ledgers, by partition.
///
/// # Errors
/// As [`run`].
pub fn start(config: &NotificationsConfig, place: &Place) -> Result<Vec<Ledger<Notifications>>, StartError> {
    let mailer = Mailer::new(config, place.folder.join("mail")).map_err(|bad| StartError::Config(bad.to_string()))?;
    let (mailer, workers) = (Arc::new(mailer), config.workers.get());
    let at_a_time = Arc::new(Semaphore::new(workers));
    let mut ledgers = Vec::new();
    for id in LedgerId::all(Source::Notifications, place.partitions) {
        let service = Notifications { patience: config.retry.patience(), domain: mailer.domain().to_owned() };
        let ledger = place.open(id, Numbering::InCommit, MIGRATIONS, service, &[EMAIL])?;
        let (of_explain, of_trace) = (ledger.clone(), ledger.clone());
        let routes = Routes::new()
            .on("explain", move |call| explain::explain(of_explain.clone(), call))
            .on("trace", move |call| trace::trace(of_trace.clone(), call));
        place.attach(&ledger, routes);
        let (mailer, at_a_time) = (mailer.clone(), at_a_time.clone());
        let tracer = place.tracer.clone();
        let work = move |due, wait| work(mailer.clone(), at_a_time.clone(), tracer.clone(), due, wait);
        let (stop, worked) = (place.life.stop(Stage::Work), ledger.clone());
        place.life.steady(Stage::Work, format!("{id} {EMAIL}"), async move {
            worked.work_off(EMAIL, FLOW, workers, stop, work).await;
        });
        ledgers.push(ledger);
    }
    Ok(ledgers)
}

/// One try of a mail.
async fn work(mailer: Arc<Mailer>, at_a_time: Arc<Semaphore>, tracer: Tracer, due: Due, wait: Wait) -> Input {
    let key = store::read_due_key(&due.key).expect("due rows of mails are written under such keys alone");
    let letter = Letter::decode(due.payload.clone());
    let mut traceparent = letter.as_ref().map(|letter| letter.traceparent.clone()).unwrap_or_default();
    let context = wait.resume(&tracer, &due, key.order, &mut traceparent);
    let outcome = match letter {
        Ok(letter) => {
            // Never closed; and one mail too many would do no harm.
            let _permit = at_a_time.acquire_owned().await.ok();
            step("notifier.before_send");
            let began = Timestamp::now();
            let sent = mailer.send(&key, &letter).await;
            step("notifier.after_send");
            if let Some(context) = context {
                tracer.end(mail_span(context, &mailer, &due, began, sent.as_ref().err()));
            }
            sent.map(|()| letter.message_id)
        }
        Err(error) => {
            tracing::error!(order_id = %key.order, event_id = %key.event, %error, "due row of a mail cannot be read");
            Err(Trouble::Unreadable)
        }
    };
    Input::Tried(Tried { key, attempt: due.attempt, payload: due.payload, traceparent, outcome })
}

/// One mail handed over, or not.
fn mail_span(context: TraceContext, mailer: &Mailer, due: &Due, began: Timestamp, trouble: Option<&Trouble>) -> Span {
    let here = context.at(part_span(context.span_id, Part::Call(time::to_micros(began))));
    let span = Span::new(here, "send mail", began, Timestamp::now())
        .under(context)
        .kind(SpanKind::Client)
        .with(attr::NETWORK_PROTOCOL_NAME, mailer.protocol())
        .with("spillway.attempt", due.attempt);
    match trouble {
        Some(trouble) => span.failed(trouble.name()),
        None => span,
    }
}
