//! A few sample SKUs, so that the first order has something to be held.

use spillway_proto::ids;
use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;

use crate::exit::Failure;

/// (SKU, units).
pub const SAMPLES: &[(&str, i64)] = &[("tea-100g", 1000), ("cup-blue", 250), ("pot-1l", 40)];

/// Puts the samples into stock. The ids of the requests follow from the SKU, so that nothing is added twice.
pub async fn stock(grpc: &str) -> Result<(), Failure> {
    let connected = InventoryServiceClient::connect(format!("http://{grpc}")).await;
    let mut client = connected.map_err(|e| Failure::failed(format!("cannot reach the gateway: {e}")))?;
    for (sku, units) in SAMPLES {
        let request = AdjustStockRequest {
            request_id: ids::named("sample", sku).to_string(),
            sku: (*sku).to_owned(),
            delta: *units,
            reason: "sample".to_owned(),
        };
        client.adjust_stock(request).await.map_err(|status| Failure::from(&status))?;
    }
    Ok(())
}
