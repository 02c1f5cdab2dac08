//! Pause, Resume, SetSetting.

use spillway_proto::pb::internal::ActRequest;
use spillway_proto::pb::ops::{PauseRequest, ResumeRequest, SetSettingRequest};
use spillway_shared::grpc::CallError;
use spillway_shared::role::{LOG_LEVEL, check_log_level};

use super::text::{self, Rule};
use super::{Violations, id};

/// What can be held up.
pub const FLOWS: [&str; 4] = ["payments", "refunds", "notifications", "intake"];

/// Charges a second that the backlog of an outage drains at, at most.
pub const DRAIN_RATE: &str = "payments.drain_rate";

/// What can be set while it runs.
pub const SETTINGS: [&str; 2] = [DRAIN_RATE, LOG_LEVEL];

const MAX_REASON: usize = 256;
const MAX_BY: usize = 64;
const MAX_VALUE: usize = 1024;
const MAX_DRAIN_RATE: u32 = 1_000_000;

/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn pause(request: PauseRequest) -> Result<ActRequest, CallError> {
    let PauseRequest { request_id, flow, reason, by } = request;
    flow_act(ActRequest { request_id, name: flow, value: String::new(), reason, by })
}

/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn resume(request: ResumeRequest) -> Result<ActRequest, CallError> {
    let ResumeRequest { request_id, flow, reason, by } = request;
    flow_act(ActRequest { request_id, name: flow, value: String::new(), reason, by })
}

/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn set_setting(request: SetSettingRequest) -> Result<ActRequest, CallError> {
    let SetSettingRequest { request_id, name, value, reason, by } = request;
    let mut violations = Violations::default();
    if !SETTINGS.contains(&name.as_str()) {
        violations.add("name", format_args!("must be one of {}", SETTINGS.join(", ")));
    }
    text::check(&mut violations, "value", &value, Rule::free(MAX_VALUE));
    if let Err(rule) = check_value(&name, &value) {
        violations.add("value", rule);
    }
    finish(violations, ActRequest { request_id, name, value, reason, by })
}

fn check_value(name: &str, value: &str) -> Result<(), String> {
    match name {
        // Back to the configuration.
        _ if value.is_empty() => Ok(()),
        DRAIN_RATE => match value.parse::<u32>() {
            Ok(0..=MAX_DRAIN_RATE) => Ok(()),
            Ok(_) | Err(_) => Err(format!("must be charges a second, 0 (no bound) to {MAX_DRAIN_RATE}")),
        },
        LOG_LEVEL => check_log_level(value).map_err(|error| format!("is no log level, such as info or debug: {error}")),
        _ => Ok(()),
    }
}

fn flow_act(request: ActRequest) -> Result<ActRequest, CallError> {
    let mut violations = Violations::default();
    if !FLOWS.contains(&request.name.as_str()) {
        violations.add("flow", format_args!("must be one of {}", FLOWS.join(", ")));
    }
    finish(violations, request)
}

/// What all acts have; the request id is answered in its canonical form.
fn finish(mut violations: Violations, mut request: ActRequest) -> Result<ActRequest, CallError> {
    let request_id = id::uuid(&mut violations, "request_id", &request.request_id);
    text::check(&mut violations, "reason", &request.reason, Rule { required: true, ..Rule::free(MAX_REASON) });
    text::check(&mut violations, "by", &request.by, Rule::free(MAX_BY));
    request.request_id = violations.finish(request_id)?.to_string();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(error: CallError) -> Vec<String> {
        let CallError::InvalidArgument { violations } = error else { panic!("{error:?}") };
        violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn every_mistake_of_an_act_is_told_at_once_and_the_choices_are_named() {
        let error = pause(PauseRequest { flow: "shipping".into(), ..PauseRequest::default() }).expect_err("wrong");
        assert!(format!("{error:?}").contains("payments, refunds, notifications, intake"), "{error:?}");
        assert_eq!(wrong(error), ["flow", "request_id", "reason"]);
        let error = set_setting(SetSettingRequest { name: "x".into(), ..Default::default() }).expect_err("wrong");
        assert!(format!("{error:?}").contains("payments.drain_rate, log.level"), "{error:?}");
    }

    #[test]
    fn a_value_must_make_sense_for_its_setting() {
        let check = |name: &str, value: &str, is_right: bool| {
            assert_eq!(check_value(name, value).is_ok(), is_right, "{name} {value}");
        };
        check(DRAIN_RATE, "50", true);
        check(DRAIN_RATE, "0", true);
        check(DRAIN_RATE, "", true);
        check(DRAIN_RATE, "fast", false);
        check(DRAIN_RATE, "-1", false);
        check(DRAIN_RATE, "1000001", false);
        check(LOG_LEVEL, "debug", true);
        check(LOG_LEVEL, "info,spillway_shared::bus=debug", true);
        check(LOG_LEVEL, "info,x=loud", false);
    }
}
