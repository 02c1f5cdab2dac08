use super::super::{Origin, schema};
use super::*;

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let file = "partitions = 2\nname = \"file\"\nhosts = [\"x\"]\n[door]\nopen = true\n";
    let loaded = house(
        Some(file),
        &[("HOUSE_PARTITIONS", "3"), ("HOUSE_NAME", "environment"), ("OTHER_NAME", "x")],
        &["partitions=4"],
    )
    .expect("all good");
    assert_eq!(loaded.config.partitions, 4);
    assert_eq!(loaded.config.name, "environment");
    assert_eq!(loaded.config.hosts, ["x"]);
    assert!(loaded.config.door.open);
    assert_eq!(loaded.config.door.colour, Colour::Red);
    assert_eq!(loaded.origin("partitions"), Origin::Flag("--set partitions".into()));
    assert_eq!(loaded.origin("name"), Origin::Environment("HOUSE_NAME".into()));
    assert!(matches!(loaded.origin("door.open"), Origin::File { line: 5, .. }), "{}", loaded.origin("door.open"));
    assert_eq!(loaded.origin("door.colour"), Origin::Default);
}

#[test]
fn the_environment_takes_text_lists_and_toml() {
    type Read = fn(&House) -> String;
    let cases: [(&str, &str, Read, &str); 7] = [
        ("HOUSE_NAME", "12", |house| house.name.clone(), "12"),
        ("HOUSE_HOSTS", "a, b,c", |house| house.hosts.join("|"), "a|b|c"),
        ("HOUSE_HOSTS", "[\"a,b\", \"c\"]", |house| house.hosts.join("|"), "a,b|c"),
        ("HOUSE_DOOR__OPEN", "false", |house| house.door.open.to_string(), "false"),
        ("HOUSE_DOOR__COLOUR", "green", |house| format!("{:?}", house.door.colour), "Green"),
        ("HOUSE_DOOR", "{ colour = \"green\" }", |house| format!("{:?}", house.door.colour), "Green"),
        ("HOUSE_LABELS__TEAM", "7", |house| house.labels["team"].clone(), "7"),
    ];
    for (name, value, read, expected) in cases {
        let loaded = house(None, &[(name, value)], &[]).unwrap_or_else(|problems| panic!("{name}={value}: {problems}"));
        assert_eq!(read(&loaded.config), expected, "{name}={value}");
    }
}

#[test]
fn an_optional_table_and_a_choice_of_forms_are_put_together_from_several_layers() {
    let file = "[mail]\nhost = \"h\"\nport = 1\n[way]\nkind = \"smtp\"\nhost = \"h\"\nport = 25\n";
    let loaded = house(Some(file), &[("HOUSE_MAIL__PORT", "2")], &["way.port=26"]).expect("all good");
    assert_eq!(loaded.config.mail, Some(Mail { host: "h".into(), port: 2 }));
    assert_eq!(loaded.config.way, Way::Smtp { host: "h".into(), port: 26 });
}

#[test]
fn what_is_no_key_by_agreement_or_by_kubernetes_is_left_alone() {
    let variables =
        [("HOUSE_CONFIG", "x"), ("HOUSE_DOOR_SERVICE_HOST", "10.0.0.1"), ("HOUSE_PORT", "tcp://10.0.0.1:1")];
    house(None, &variables, &[]).expect("none of them is a key");
}

#[test]
fn a_printed_configuration_loads_as_itself() {
    let file = "name = \"a \\\"b\\\"\"\nhosts = [\"x\", \"y\"]\n[labels]\n\"with dot.\" = \"1\"\n[mail]\nhost = \"h\"\nport = 1\n";
    let first = house(Some(file), &[], &[]).expect("all good");
    for with_origin in [false, true] {
        let text = first.to_toml(with_origin);
        let second = house(Some(&text), &[], &[]).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        assert_eq!(first.config, second.config, "{text}");
    }
}

#[test]
fn a_printed_configuration_says_where_each_value_comes_from() {
    let loaded = house(None, &[("HOUSE_NAME", "n")], &["door.open=false"]).expect("all good");
    let text = loaded.to_toml(true);
    for line in [
        "name = \"n\"  # environment HOUSE_NAME",
        "open = false  # flag --set door.open",
        "partitions = 1  # default",
        "# key_file is not set  # default",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn the_schema_is_of_draft_2020_12_and_carries_the_manual() {
    let schema = schema::<House>();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema.to_string().contains("A secret by its schema alone"), "{schema}");
}
