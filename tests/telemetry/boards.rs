//! The dashboards: that they are sound, and what they ask.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::root;

/// Names and contents.
pub fn boards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(root().join("helm/files/dashboards")).expect("dashboards");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let board = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path.file_name().expect("a name").to_string_lossy().into_owned(), board)
    };
    files.map(read).collect()
}

fn panels(board: &Value) -> &Vec<Value> {
    board["panels"].as_array().expect("panels")
}

/// (dashboard and panel, query), as Grafana would ask for one role.
pub fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, board) in boards() {
        for panel in panels(&board) {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = target["expr"].as_str().expect("a query");
                let query = query.replace("$__rate_interval", "5m").replace("$role", ".+");
                all.push((format!("{name}, {}", panel["title"]), query));
            }
        }
    }
    all
}

#[test]
fn every_dashboard_is_sound() {
    let boards = boards();
    let names: BTreeSet<&str> = boards.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["nats-and-ledgers.json", "order.json", "overview.json", "service.json"]));
    for (name, board) in &boards {
        // Whoever imports it gives it one; what is fixed here would meet another's.
        assert!(board.get("uid").is_none() && board.get("id").is_none(), "{name} has an id of its own");
        assert!(board["schemaVersion"].as_i64().is_some_and(|version| version >= 39), "{name}");
        let variables = board["templating"]["list"].as_array().expect("variables");
        assert!(variables.iter().any(|it| it["type"] == "datasource" && it["name"] == "datasource"), "{name}");
        let ids: BTreeSet<i64> = panels(board).iter().map(|panel| panel["id"].as_i64().expect("an id")).collect();
        assert_eq!(ids.len(), panels(board).len(), "{name}: an id stands twice");
        let mut taken = BTreeSet::new();
        for panel in panels(board) {
            let at = |key: &str| panel["gridPos"][key].as_i64().expect("a place");
            for cell in (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y))) {
                assert!(cell.0 < 24 && taken.insert(cell), "{name}: {} lies on another", panel["title"]);
            }
        }
        let text = board.to_string();
        let sources = text.matches("\"uid\":").count();
        assert_eq!(sources, text.matches("\"uid\":\"${datasource}\"").count(), "{name} names a data source");
    }
    assert!(queries().len() > 100, "{} queries", queries().len());
}
