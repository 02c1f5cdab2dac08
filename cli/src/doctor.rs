//! `spillway doctor`: what is missing or wrong on this machine, with the fix.

mod machine;
mod running;

use serde::Serialize;

use crate::cli::{DoctorArgs, Format};
use crate::context::Context;
use crate::exit::{Exit, Failure};

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
/// Exit 3 where there is a problem.
pub async fn run(_args: DoctorArgs, ctx: &Context) -> Result<(), Failure> {
    let mut findings = Vec::new();
    match ctx.load_config(Vec::new()) {
        Ok(loaded) => {
            findings.push(Finding::ok("configuration", "valid"));
            let config = loaded.config;
            let roles = running::look(&config).await;
            findings.extend(machine::look(&config, !roles.is_empty()).await);
            findings.extend(roles);
        }
        Err(failure) => {
            let told = failure.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
            findings.push(Finding::problem("configuration", told, "spillway config check names every mistake"));
        }
    }
    print(ctx, &findings)?;
    if findings.iter().any(|finding| finding.verdict == Verdict::Problem) {
        return Err(Failure::quiet(Exit::Missing));
    }
    Ok(())
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
