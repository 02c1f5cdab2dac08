//! A running load of orders, and what must be true of it afterwards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spillway_proto::pb::orders::PlaceOrderRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;

use super::calls::{request, with_contact};
use super::{PATIENCE, System};

/// Each shopper places an order so often.
const EVERY: Duration = Duration::from_millis(50);

/// Shoppers that place orders until they are told to stop.
pub struct Shoppers {
    running: Vec<JoinHandle<Vec<Placed>>>,
    count: watch::Receiver<usize>,
    stop: CancellationToken,
}

/// An order that was accepted.
#[derive(Clone, Debug)]
pub struct Placed {
    pub order_id: String,
    /// How long its acceptance took, of the call that was not refused.
    pub took: Duration,
    /// How often it was refused before, with the word to try again.
    pub refused: usize,
}

/// Only a refusal that says when to come back is tried again: nothing that fails is ever the client's to see.
async fn place(mut client: OrderServiceClient<Channel>, order: PlaceOrderRequest, every: &mut Interval) -> Placed {
    let mut refused = 0;
    loop {
        let began = Instant::now();
        match client.place_order(order.clone()).await {
            Ok(answer) => {
                let order_id = answer.into_inner().order.expect("an order").order_id;
                return Placed { order_id, took: began.elapsed(), refused };
            }
            Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
            Err(status) => panic!("not accepted: {status}"),
        }
        every.tick().await;
    }
}

impl System {
    /// Begins to place orders: every fifth is declined by the provider, all have a contact of their own.
    pub fn shop(&self, shoppers: usize) -> Shoppers {
        let (stop, count) = (CancellationToken::new(), watch::Sender::new(0));
        let running = (0..shoppers).map(|_| {
            let (client, stop, count) = (self.orders(), stop.clone(), count.clone());
            tokio::spawn(async move {
                let mut placed = Vec::new();
                let mut every = tokio::time::interval(EVERY);
                every.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !stop.is_cancelled() {
                    every.tick().await;
                    let method = if placed.len() % 5 == 4 { "pm_declined" } else { "pm_ok" };
                    let order = request("tea", 1, method);
                    let email = format!("{}@example.org", order.request_id);
                    placed.push(place(client.clone(), with_contact(order, &email), &mut every).await);
                    count.send_modify(|count| *count += 1);
                }
                placed
            })
        });
        Shoppers { running: running.collect(), count: count.subscribe(), stop }
    }

    /// All that was ever accepted has ended, every ledger has heard everything, and orders, stock, money, mails and audit agree.
    pub async fn all_is_well(&self, placed: &[Placed]) {
        let sums = self.sums_add_up(placed.len()).await;
        assert_eq!(sums.orders, placed.len(), "orders that nobody placed");
        for order in placed {
            let found = self.get(&order.order_id).await;
            let found = found.unwrap_or_else(|e| panic!("{} was accepted and is lost: {e}", order.order_id));
            assert_ne!(found.state(), State::Pending);
        }
        self.until_all_heard().await;
        self.every_order_has_one_mail(sums.orders).await;
        // Once more: whatever was still on its way has said nothing new.
        assert_eq!(self.sums_add_up(placed.len()).await, sums);
    }

    /// One mail for each order, to its own customer.
    async fn every_order_has_one_mail(&self, orders: usize) {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        let written = async {
            loop {
                every.tick().await;
                let mails = self.mails();
                if mails.len() >= orders {
                    return mails;
                }
            }
        };
        let mails = tokio::time::timeout(PATIENCE, written).await.expect("every order has its mail");
        let twice: Vec<_> = mails.iter().filter(|(_, count)| **count != 1).collect();
        assert!(twice.is_empty(), "customers who were told twice: {twice:?}");
        assert_eq!(mails.len(), orders, "mails of no order");
    }

    /// How many mails each customer got.
    fn mails(&self) -> BTreeMap<String, usize> {
        let Ok(folder) = std::fs::read_dir(self.data().join("mail")) else { return BTreeMap::new() };
        let files = folder.map(|entry| entry.expect("an entry").path());
        let mut mails = BTreeMap::new();
        for letter in files.filter(|path| path.extension().is_some_and(|ext| ext == "eml")) {
            let text = std::fs::read_to_string(letter).expect("a letter");
            let to = text.lines().find_map(|line| line.strip_prefix("To: ")).expect("a recipient");
            *mails.entry(to.to_owned()).or_default() += 1;
        }
        mails
    }
}

impl Shoppers {
    pub fn placed(&self) -> usize {
        *self.count.borrow()
    }

    /// Until so many more are accepted, however long that takes within the patience of tests.
    pub async fn more(&mut self, orders: usize) {
        let wanted = self.placed() + orders;
        let counted = tokio::time::timeout(PATIENCE, self.count.wait_for(|count| *count >= wanted)).await;
        counted.expect("orders are accepted").expect("shoppers run");
    }

    /// Stops them; everything that was accepted.
    pub async fn stop(self) -> Vec<Placed> {
        self.stop.cancel();
        let mut all = Vec::new();
        for shopper in self.running {
            all.extend(shopper.await.expect("every order was accepted"));
        }
        all
    }
}

/// The time within which all orders were accepted but one of each shopper: one pause of the machine holds up no more.
pub fn accepted_within(placed: &[Placed], shoppers: usize) -> Duration {
    let mut took: Vec<Duration> = placed.iter().map(|order| order.took).collect();
    took.sort();
    took[took.len() - 1 - shoppers]
}
