//! FlowService, for operators: how work flows through every ledger, and what holds it up.

mod acts;
mod closed;
mod shown;

use std::time::Duration;

use spillway_proto::Ledger as Source;
use spillway_proto::pb::ops::flow_service_server::FlowService;
use spillway_proto::pb::ops::{
    GetFlowRequest, GetFlowResponse, PauseRequest, PauseResponse, ResumeRequest, ResumeResponse, SetSettingRequest,
    SetSettingResponse,
};
use spillway_shared::bus::Bus;
use spillway_shared::flow::Verb;
use spillway_shared::ledger::Ledger;
use tonic::{Request, Response, Status};

use crate::intake::Intake;
use crate::validate::flow as validate;
use crate::{answer, caller};

pub use closed::IntakeDoor;

/// How long a ledger is waited for. Counting a million due rows takes it a second on a busy machine.
const WITHIN: Duration = Duration::from_secs(5);

/// The service behind its door.
pub struct Flow {
    pub bus: Bus,
    pub intake: Ledger<Intake>,
    pub partitions: u16,
}

/// Whose work a flow is.
fn roles_of_flow(flow: &str) -> &'static [Source] {
    match flow {
        "intake" => &[Source::Gateway],
        "notifications" => &[Source::Notifications],
        // Charges and refunds.
        _ => &[Source::Payments],
    }
}

/// Who goes by a setting.
fn roles_of_setting(name: &str) -> &'static [Source] {
    match name {
        validate::DRAIN_RATE => &[Source::Payments],
        // The log level.
        _ => &Source::ALL,
    }
}

#[tonic::async_trait]
impl FlowService for Flow {
    async fn get_flow(&self, request: Request<GetFlowRequest>) -> Result<Response<GetFlowResponse>, Status> {
        let caller = caller::of_call(request.extensions(), WITHIN);
        Ok(answer::of(self.shown(&caller).await))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let act = validate::pause(message)?;
        let caller = caller::of_call(&extensions, WITHIN);
        let acted = self.act(Verb::Pause, &act, roles_of_flow(&act.name), &caller).await?;
        Ok(answer::of(PauseResponse { pause: acted.pause, changed: acted.changed }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let act = validate::resume(message)?;
        let caller = caller::of_call(&extensions, WITHIN);
        let acted = self.act(Verb::Resume, &act, roles_of_flow(&act.name), &caller).await?;
        Ok(answer::of(ResumeResponse { changed: acted.changed }))
    }

    async fn set_setting(&self, request: Request<SetSettingRequest>) -> Result<Response<SetSettingResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let act = validate::set_setting(message)?;
        let caller = caller::of_call(&extensions, WITHIN);
        let acted = self.act(Verb::Set, &act, roles_of_setting(&act.name), &caller).await?;
        Ok(answer::of(SetSettingResponse { changed: acted.changed }))
    }
}
