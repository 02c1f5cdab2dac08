use secrecy::ExposeSecret;

use super::super::{resolve_secret, schema, without_credentials};
use super::*;

const CANARY: &str = "canary-5f3a";

#[test]
fn a_secret_is_read_and_shown_nowhere() {
    let loaded =
        house(Some(&format!("[door]\nkey = \"{CANARY}\"\n")), &[("HOUSE_DOOR__TOKEN", CANARY)], &[]).expect("good");
    assert_eq!(loaded.config.door.key.as_ref().map(Secret::expose), Some(CANARY));
    assert_eq!(loaded.config.door.token.as_deref(), Some(CANARY));
    let shown = [
        loaded.to_toml(false),
        loaded.to_toml(true),
        loaded.to_json().to_string(),
        serde_json::to_string(&loaded.entries()).expect("JSON"),
        format!("{:?}", loaded.config.door.key),
        serde_json::to_string(&loaded.config.door.key).expect("JSON"),
    ];
    for text in shown {
        assert!(text.contains("***"), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn a_url_is_shown_without_its_name_and_password() {
    for (given, shown) in [
        ("nats://ada:hush@one:4222,nats://ada:h/u@sh@two:4222", "nats://***@one:4222,nats://***@two:4222"),
        ("https://key@pay.example/v1", "https://***@pay.example/v1"),
        ("cannot use nats://a:b@c: refused", "cannot use nats://***@c: refused"),
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("Shop <orders@example.com>", "Shop <orders@example.com>"),
        ("", ""),
    ] {
        assert_eq!(without_credentials(given), shown);
    }
}

#[test]
fn a_mistake_with_a_secret_does_not_show_it() {
    let file = format!("[door]\nkey = [\"{CANARY}\"]\ntoken = {{ x = \"{CANARY}\" }}\nkex = \"{CANARY}\"\n");
    let told = told(house(Some(&file), &[], &[]));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(!told.join("\n").contains(CANARY), "{told:?}");
}

#[test]
fn the_stars_of_a_printed_configuration_are_not_taken_for_the_secret() {
    let told = told(house(None, &[("HOUSE_DOOR__KEY", "***")], &[]));
    assert!(told[0].contains("not the secret itself"), "{told:?}");
}

#[test]
fn a_secret_comes_from_its_key_or_from_its_file_but_not_from_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let secret = Some(Secret::from("own"));
    let exposed = |value: &Option<Secret>, file: &Option<PathBuf>| {
        resolve_secret(value, file, "door.key").map(|secret| secret.map(|secret| secret.expose_secret().to_owned()))
    };
    let file = Some(path.clone());
    assert_eq!(exposed(&None, &None), Ok(None));
    assert_eq!(exposed(&secret, &None), Ok(Some("own".into())));
    assert!(exposed(&None, &file).expect_err("no file").message.contains("cannot read"));
    for (text, expected) in [("two\n", "two"), ("two\r\n", "two"), ("two\n\n", "two\n"), (" two ", " two ")] {
        std::fs::write(&path, text).expect("written");
        assert_eq!(exposed(&None, &file), Ok(Some(expected.into())), "{text:?}");
    }
    let both = exposed(&secret, &file).expect_err("one too many");
    assert_eq!(
        (both.key.as_str(), both.message.as_str()),
        ("door.key_file", "is given beside door.key: leave one of them out")
    );
    std::fs::write(&path, "\n").expect("written");
    assert!(exposed(&None, &file).expect_err("nothing in it").message.contains("is empty"));
}

#[test]
fn the_schema_marks_secrets() {
    assert_eq!(schema::<House>()["$defs"]["Door"]["properties"]["token"]["writeOnly"], true);
}
