//! Opens each role in its place.

use std::collections::BTreeMap;

use spillway_shared::role::{Place, StartError};

use crate::cli::Role;
use crate::config::Config;
use crate::exit::Failure;

/// Starts the tasks of a role. Answers what it listens on.
pub(super) async fn open(role: Role, config: &Config, place: &Place) -> Result<BTreeMap<String, String>, Failure> {
    let mut addresses = BTreeMap::new();
    let started = match role {
        Role::Gateway => match spillway_gateway::run(config.gateway.clone(), place).await {
            Ok(listening) => {
                addresses.insert("grpc".to_owned(), listening.grpc_addr.to_string());
                addresses.insert("ops".to_owned(), listening.ops_addr.to_string());
                Ok(())
            }
            Err(error) => Err(error),
        },
        Role::Orders => spillway_orders::run(config.orders.clone(), place.clone()).await,
        Role::Inventory => spillway_inventory::run(place.clone()).await,
        Role::Payments => spillway_payments::run(config.payments.clone(), place.clone()).await,
        Role::Notifications => {
            let mut notifications = config.notifications.clone();
            notifications.mail_folder.get_or_insert_with(|| config.data.join("mail"));
            spillway_notifications::run(notifications, place.clone()).await
        }
        Role::Audit => spillway_audit::run(place.clone()).await,
        Role::Provider => Err(StartError::Config("the provider keeps no ledger of ours".to_owned())),
    };
    started.map_err(|error| Failure::missing(format!("{}: {error}", role.name())))?;
    Ok(addresses)
}
