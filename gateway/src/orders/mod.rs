//! OrderService: what shops call.

mod events;
mod explain;
mod list;
mod place;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use spillway_proto::pb::orders::order_service_server::OrderService;
use spillway_proto::pb::orders::{
    ExplainOrderRequest, ExplainOrderResponse, GetOrderRequest, GetOrderResponse, ListOrderEventsRequest,
    ListOrderEventsResponse, ListOrdersRequest, ListOrdersResponse, PlaceOrderRequest, PlaceOrderResponse,
    WatchOrderRequest, WatchOrderResponse,
};
use spillway_shared::steps::step;
use tonic::{Request, Response, Status};

use crate::admission::Admission;
use crate::budget::Budget;
use crate::flow::IntakeDoor;
use crate::reading::Reading;
use crate::watch::Watches;
use crate::{answer, caller, validate};

/// The service behind its door.
pub struct Orders {
    pub reading: Reading,
    pub budget: Arc<Budget>,
    pub door: IntakeDoor,
    pub admission: Arc<Admission>,
    pub watches: Watches,
    /// Shared by everything that is accepted for it.
    pub shop: Arc<str>,
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn place_order(&self, request: Request<PlaceOrderRequest>) -> Result<Response<PlaceOrderResponse>, Status> {
        step("gateway.after_decode");
        let (_, extensions, message) = request.into_parts();
        let placement = validate::place_order(message)?;
        let order = self.place(placement, &extensions).await?;
        step("gateway.before_reply");
        Ok(answer::of(PlaceOrderResponse { order: Some(order) }))
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let order_id = validate::order_id(&request.get_ref().order_id)?;
        let caller = caller::of_call(request.extensions(), self.reading.call_timeout);
        let found = self.reading.find(&caller, order_id, 0, 0).await?;
        Ok(answer::of(GetOrderResponse { order: Some(found.into_order()) }))
    }

    async fn list_orders(&self, request: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = caller::of_call(&extensions, self.reading.call_timeout);
        list::list(&self.reading, &caller, message).await.map(answer::of)
    }

    type WatchOrderStream = Pin<Box<dyn Stream<Item = Result<WatchOrderResponse, Status>> + Send>>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let (_, extensions, message) = request.into_parts();
        let watch = self.watches.open(&self.reading, &extensions, &message).await?;
        Ok(Response::new(Box::pin(watch.into_stream())))
    }

    async fn list_order_events(
        &self,
        request: Request<ListOrderEventsRequest>,
    ) -> Result<Response<ListOrderEventsResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let caller = caller::of_call(&extensions, self.reading.call_timeout);
        events::list(&self.reading, &caller, &message).await.map(answer::of)
    }

    async fn explain_order(
        &self,
        request: Request<ExplainOrderRequest>,
    ) -> Result<Response<ExplainOrderResponse>, Status> {
        let order_id = validate::order_id(&request.get_ref().order_id)?;
        let caller = caller::of_call(request.extensions(), self.reading.call_timeout);
        explain::explain(&self.reading, &caller, order_id).await.map(answer::of)
    }
}
