//! The environment layer: `SPILLWAY_GATEWAY__GRPC__LISTEN` is `gateway.grpc.listen`.

use super::load::Environment;
use super::problem::{Origin, Problem};
use super::setting::Setting;
use super::shape::Shape;

/// Reads the variables that begin with the prefix into settings.
pub fn read(environment: &Environment, shape: &Shape, settings: &mut Vec<Setting>, problems: &mut Vec<Problem>) {
    for (name, value) in &environment.variables {
        let Some(rest) = name.strip_prefix(environment.prefix) else { continue };
        if environment.exceptions.contains(&name.as_str()) || is_of_kubernetes(rest, value) {
            continue;
        }
        let key: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        let origin = Origin::Environment(name.clone());
        if key.iter().any(String::is_empty) {
            problems.push(Problem::at("", "names no key: two underscores stand between two names", origin));
            continue;
        }
        let value = shape.read_text(&key, value);
        settings.push(Setting { key, value, origin });
    }
}

/// Kubernetes puts the address of every service of the namespace into every container, for a service `spillway-x` as
/// `SPILLWAY_X_SERVICE_HOST`, `_SERVICE_PORT[_name]`, `_PORT` (a URL) and `_PORT_<n>_<TCP|UDP|SCTP>[_...]`: those are
/// nobody's settings.
fn is_of_kubernetes(rest: &str, value: &str) -> bool {
    let ends_with = |suffix: &str| rest == &suffix[1..] || rest.ends_with(suffix);
    let begins_or_has = |part: &str| rest.starts_with(&part[1..]) || rest.contains(part);
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let has_port_number = rest.split_once("PORT_").is_some_and(|(_, tail)| {
        let mut parts = tail.split('_');
        let is_number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
        is_number && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    });
    ends_with("_SERVICE_HOST") || begins_or_has("_SERVICE_PORT") || (ends_with("_PORT") && is_url) || has_port_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_is_told_from_what_an_operator_sets() {
        let cases = [
            ("SERVICE_HOST", "10.0.0.1", true),
            ("GATEWAY_SERVICE_HOST", "10.0.0.1", true),
            ("GATEWAY_SERVICE_PORT_GRPC", "50051", true),
            ("PORT", "tcp://10.0.0.1:50051", true),
            ("GATEWAY_PORT_50051_TCP_ADDR", "10.0.0.1", true),
            ("PORT_50051_TCP", "tcp://10.0.0.1:50051", true),
            ("GATEWAY__PORT", "50051", false),
            ("GATEWAY__LISTEN", "0.0.0.0:50051", false),
            ("PORT", "50051", false),
            ("PORT_X", "1", false),
        ];
        for (rest, value, expected) in cases {
            assert_eq!(is_of_kubernetes(rest, value), expected, "{rest}={value}");
        }
    }
}
