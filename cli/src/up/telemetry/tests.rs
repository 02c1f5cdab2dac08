use super::prometheus::RULES;
use super::*;

#[test]
fn what_is_missing_is_told_with_how_to_install_it() {
    assert!(PROMETHEUS.missing().contains("apt-get install prometheus"));
    assert!(JAEGER.missing().contains("jaegertracing.io"));
}

/// Whoever adds a file of rules adds it to what `up` loads.
#[test]
fn every_file_of_rules_is_loaded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/files/rules");
    let files = std::fs::read_dir(folder).expect("rules").map(|file| file.expect("a file").file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().expect("text")).collect();
    files.sort();
    let mut loaded: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
    loaded.sort_unstable();
    assert_eq!(files, loaded);
}

#[test]
fn prometheus_is_told_of_every_admin_server() {
    let text = prometheus::configuration(["127.0.0.1:8080", "127.0.0.1:8081"].into_iter());
    assert!(text.contains(r#"targets: ["127.0.0.1:8080", "127.0.0.1:8081"]"#), "{text}");
}

#[test]
fn jaeger_is_told_where_to_listen_and_nowhere_else() {
    let text = jaeger::configuration("127.0.0.1:1".parse().expect("one"), "127.0.0.1:2".parse().expect("one"));
    let endpoints: Vec<&str> = text.split("endpoint: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(endpoints, ["127.0.0.1:1", "127.0.0.1:0", "127.0.0.1:2"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_flag_that_changes_it() {
    let first = listen::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = first.local_addr().expect("bound").port();
    let failure = free(port, "--jaeger-port").expect_err("it is taken");
    let message = failure.error.expect("told").message;
    assert!(message.contains("--jaeger-port") && message.contains("is taken by"), "{message}");
}
