use super::*;

#[test]
fn every_mistake_of_every_layer_is_told_at_once_with_its_key_and_place() {
    let file = "partitons = 2\nname = 5\n\n[door]\nlisten = \"nowhere\"\ncolour = \"blue\"\nopne = true\n";
    let variables = [("HOUSE_PARTITIONS", "70000"), ("HOUSE_DOOR__LISTEM", "x"), ("HOUSE___X", "1")];
    let told = told(house(Some(file), &variables, &["door.open=perhaps", "partitions=65", "zzz=1", "a..b=1"]));
    let mut expected = vec![
        "partitons: is no key; did you mean partitions? (file house.toml:1)",
        "name: must be text, not 5 (file house.toml:2)",
        "door.listen: invalid socket address syntax, not \"nowhere\" (file house.toml:5)",
        "door.colour: must be one of red, green, not \"blue\" (file house.toml:6)",
        "door.opne: is no key; did you mean door.open? (file house.toml:7)",
        "partitions: must be a whole number from 0 to 65535, not 70000 (environment HOUSE_PARTITIONS)",
        "door.listem: is no key; did you mean HOUSE_DOOR__LISTEN? (environment HOUSE_DOOR__LISTEM)",
        "names no key: two underscores stand between two names (environment HOUSE___X)",
        "door.open: must be true or false, not \"perhaps\" (flag --set door.open)",
        "zzz: is no key: `config schema` lists them all (flag --set zzz)",
        "\"a..b\" is no key: names with dots between them (flag --set a..b)",
        "partitions: must be 1 to 64 (flag --set partitions)",
    ];
    let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
    told.sort_unstable();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn a_key_of_another_table_is_recognized() {
    assert_eq!(
        told(house(None, &[], &["listen=127.0.0.1:1"])),
        ["listen: is no key; did you mean door.listen? (flag --set listen)"]
    );
}

#[test]
fn a_wrong_value_is_told_even_where_a_stronger_layer_hides_it() {
    let told = told(house(Some("partitions = \"many\"\n"), &[], &["partitions=2"]));
    assert_eq!(told, ["partitions: must be a whole number from 0 to 65535, not \"many\" (file house.toml:1)"]);
}

#[test]
fn mistakes_in_parts_that_only_make_sense_together_are_told_once() {
    let told = told(house(Some("[mail]\nport = 1\n[way]\nkind = \"smtp\"\nhost = \"h\"\nport = 99999\n"), &[], &[]));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("mail: host is missing (file house.toml:"), "{}", told[0]);
    assert!(told[1].starts_with("way"), "{}", told[1]);
}

#[test]
fn a_value_in_place_of_a_table_and_a_table_in_place_of_a_value_are_told() {
    let told = told(house(Some("door = 5\npartitions = { x = 1 }\n"), &[], &[]));
    assert!(told[0].starts_with("door: must be a table (file house.toml:1)"), "{told:?}");
    assert!(told[1].starts_with("partitions: must be a whole number from 0 to 65535"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn every_key_of_a_table_in_one_variable_is_checked() {
    let told = told(house(None, &[("HOUSE_DOOR", "{ opne = true, coluor = \"red\" }")], &[]));
    assert_eq!(
        told,
        [
            "door.coluor: is no key; did you mean HOUSE_DOOR__COLOUR? (environment HOUSE_DOOR)",
            "door.opne: is no key; did you mean HOUSE_DOOR__OPEN? (environment HOUSE_DOOR)"
        ]
    );
}

#[test]
fn what_only_the_whole_can_show_is_told_with_its_origin() {
    assert_eq!(
        told(house(None, &[("HOUSE_DOOR__OPEN", "true")], &[])),
        ["door.open: an open door needs a name (environment HOUSE_DOOR__OPEN)"]
    );
}

#[test]
fn all_broken_lines_of_a_file_are_told() {
    let told = told(house(Some("name = \nhosts = [1\n[door\n"), &[], &[]));
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.iter().all(|problem| problem.contains("not TOML: ")), "{told:?}");
    assert!(told[0].ends_with("(file house.toml:1)"), "{told:?}");
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let missing = Path::new("/nowhere/house.toml");
    let problems = load::<House>(&sources(Some(missing), &[], &[])).expect_err("no such file");
    let text = problems.to_string();
    assert!(text.contains("cannot read the configuration file") && text.contains("/nowhere/house.toml"), "{text}");
}
