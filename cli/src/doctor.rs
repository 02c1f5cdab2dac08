//! `spillway doctor`: what is missing or wrong on this machine and in the system that runs, with the fix.

mod flow;
mod machine;
mod running;

use std::time::Duration;

use serde::Serialize;

use crate::cli::{DoctorArgs, Format};
use crate::context::Context;
use crate::exit::{Exit, Failure};

/// How long the ledgers are waited for.
const FLOW_WITHIN: Duration = Duration::from_secs(10);

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// Something will not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub what: String,
    pub verdict: Verdict,
    pub found: String,
    /// What to do about it; empty where nothing is to be done.
    pub fix: String,
}

impl Finding {
    fn ok(what: &str, found: impl Into<String>) -> Self {
        Finding { what: what.to_owned(), verdict: Verdict::Ok, found: found.into(), fix: String::new() }
    }

    fn warning(what: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding { what: what.to_owned(), verdict: Verdict::Warning, found: found.into(), fix: fix.into() }
    }

    fn problem(what: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding { what: what.to_owned(), verdict: Verdict::Problem, found: found.into(), fix: fix.into() }
    }
}

/// Looks at everything, and prints what was found.
///
/// # Errors
/// Exit 3 where something is missing or does not answer, 1 where the system that runs wants a look.
pub async fn run(args: DoctorArgs, ctx: &Context) -> Result<(), Failure> {
    let (mut findings, mut running) = (Vec::new(), Vec::new());
    match ctx.load_config(Vec::new()) {
        Ok(loaded) => {
            findings.push(Finding::ok("configuration", "valid"));
            let config = loaded.config;
            let roles = running::look(&config, &args.admin).await;
            let told = tell(!roles.is_empty(), ctx).await;
            findings.extend(machine::look(&config, !roles.is_empty() || !told.findings.is_empty()).await);
            findings.extend(roles);
            findings.extend(told.unreachable);
            running = told.findings;
        }
        Err(failure) => {
            let told = failure.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
            findings.push(Finding::problem("configuration", told, "spillway config check names every mistake"));
        }
    }
    let is_missing = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
    let wants_a_look = running.iter().any(|finding| finding.verdict != Verdict::Ok);
    findings.extend(running);
    print(ctx, &findings)?;
    match (is_missing, wants_a_look) {
        (true, _) => Err(Failure::quiet(Exit::Missing)),
        (false, true) => Err(Failure::quiet(Exit::Failed)),
        (false, false) => Ok(()),
    }
}

/// What the ledgers of the system at the ops address tell; nothing where none is expected there and none answers.
async fn tell(is_expected: bool, ctx: &Context) -> flow::Told {
    let asked = tokio::time::timeout(FLOW_WITHIN, crate::flow::ask_once(ctx));
    let problem = match asked.await {
        Ok(Ok(flow)) => return flow::judge(&flow),
        Ok(Err(failure)) => failure.error.map(|error| error.message).unwrap_or_default(),
        Err(_elapsed) => format!("no answer within {} s", FLOW_WITHIN.as_secs()),
    };
    let fix = "is the gateway running? If it is elsewhere, give --ops-address";
    let unreachable = if is_expected { vec![Finding::problem("ops port", problem, fix)] } else { vec![] };
    flow::Told { unreachable, findings: vec![] }
}

fn print(ctx: &Context, findings: &[Finding]) -> Result<(), Failure> {
    if ctx.output.format() == Format::Json {
        return ctx.output.json(&findings);
    }
    let word = |verdict| match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "PROBLEM",
    };
    let rows = findings.iter().map(|f| vec![f.what.clone(), word(f.verdict).to_owned(), f.found.clone()]);
    ctx.output.table(&[], rows.collect())?;
    for finding in findings.iter().filter(|finding| !finding.fix.is_empty()) {
        ctx.output.text(&format!("\n{}: {}\n", finding.what, finding.fix))?;
    }
    Ok(())
}
