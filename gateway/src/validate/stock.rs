//! AdjustStock, GetStock, ListStock.

use spillway_proto::pb::inventory::{AdjustStockRequest, GetStockRequest, ListStockRequest};
use spillway_shared::grpc::CallError;

use super::text::{self, Rule};
use super::{Violations, id, page};

/// Characters of a SKU at most.
pub(super) const MAX_SKU: usize = 64;

const MAX_DELTA: i64 = 1_000_000_000;
const MAX_REASON: usize = 256;

/// Checks an adjustment; its id is answered in its canonical form.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn adjust_stock(mut request: AdjustStockRequest) -> Result<AdjustStockRequest, CallError> {
    let mut violations = Violations::default();
    let request_id = id::uuid(&mut violations, "request_id", &request.request_id);
    text::check(&mut violations, "sku", &request.sku, Rule::name(MAX_SKU));
    if request.delta == 0 || !(-MAX_DELTA..=MAX_DELTA).contains(&request.delta) {
        let rule = format_args!("must be 1 to {MAX_DELTA}, or -1 to -{MAX_DELTA}, not {}", request.delta);
        violations.add("delta", rule);
    }
    text::check(&mut violations, "reason", &request.reason, Rule::free(MAX_REASON));
    request.request_id = violations.finish(request_id)?.to_string();
    Ok(request)
}

/// # Errors
/// INVALID_ARGUMENT where the SKU is none.
pub fn get_stock(request: &GetStockRequest) -> Result<(), CallError> {
    let mut violations = Violations::default();
    text::check(&mut violations, "sku", &request.sku, Rule::name(MAX_SKU));
    violations.finish(Some(()))
}

/// Checks a request for a page of SKUs, and answers how many are wanted.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn list_stock(request: &ListStockRequest) -> Result<i32, CallError> {
    let mut violations = Violations::default();
    let size = page::page_size(&mut violations, request.page_size, 100, 1000);
    // The beginning of a name may end with a space.
    text::check(&mut violations, "sku_prefix", &request.sku_prefix, Rule::free(MAX_SKU));
    violations.finish(Some(size))
}
