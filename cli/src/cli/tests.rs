use clap::CommandFactory;

use super::*;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    for line in ["spillway --output json stock get pen", "spillway stock get pen --output json"] {
        assert_eq!(parsed(line).expect(line).global.output, Format::Json, "{line}");
    }
}

#[test]
fn an_order_is_placed_from_flags() {
    let line = "spillway order place --customer c-1 --line pen=3@1.50 --line ink=1@2 --payment-method pm_ok \
                --email a@example.com --label source=web --wait";
    let Verb::Order(OrderVerb::Place(args)) = parsed(line).expect("good").verb else { panic!("order place") };
    assert_eq!(args.lines.len(), 2);
    assert_eq!((args.currency.as_str(), args.wait), ("EUR", true));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        "spillway order place",
        "spillway order place --customer c --line pen --payment-method pm_ok",
        "spillway order place --json order.json --customer c",
        "spillway order place --customer c --line a=1@1 --payment-method pm_ok --wait --validate-only",
        "spillway order watch o-1 --cursor -1",
        "spillway order list --created-from yesterday",
        "spillway load --rate 5 --in-flight 5 --count 1",
        "spillway load --rate 5",
        "spillway run kitchen",
        "spillway up --ephemeral --data x",
        "spillway --timeout 0 doctor",
    ] {
        let error = parsed(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn stock_is_taken_away_with_a_plain_minus() {
    let Verb::Stock(StockVerb::Adjust { delta, .. }) = parsed("spillway stock adjust pen -5").expect("good").verb
    else {
        panic!("stock adjust")
    };
    assert_eq!(delta, -5);
}

#[test]
fn numbers_in_flight_are_a_list() {
    let Verb::Bench(args) = parsed("spillway bench --in-flight 1,500,2000").expect("good").verb else {
        panic!("bench")
    };
    assert_eq!(args.in_flight, [1, 500, 2000]);
}

#[test]
fn help_tells_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    for line in ["0  all went well", "4  something that must always hold does not"] {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn a_mistake_is_told_as_json_where_json_is_asked_for() {
    let arguments = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
    assert!(wants_json(&arguments("spillway nothing --output json")));
    assert!(wants_json(&arguments("spillway --output=json nothing")));
    assert!(!wants_json(&arguments("spillway nothing --output table json")));
    assert_eq!(parse(arguments("spillway nothing --output json")).expect_err("no verb"), Exit::Usage);
}
