//! The installation that somebody runs already: nothing is done to it that cannot be undone.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use spillway_shared::admin::About;

use crate::cli::Role;
use crate::config::Config;
use crate::exit::Failure;
use crate::http;
use crate::system::reachable;

/// How long whoever watches over a killed role has to start it again, before the drill does it.
const SUPERVISED_WITHIN: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(100);

pub struct Running {
    admin: BTreeMap<&'static str, String>,
    /// What was killed, and how it is started again.
    killed: BTreeMap<&'static str, Restart>,
}

/// A process as it was before it was killed.
struct Restart {
    program: PathBuf,
    folder: PathBuf,
    arguments: Vec<std::ffi::OsString>,
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// Where it wrote its output and its log.
    output: File,
    log: File,
}

impl Running {
    pub fn new(config: &Config) -> Running {
        let roles = [Role::Gateway, Role::Orders, Role::Inventory, Role::Payments, Role::Notifications, Role::Audit];
        let admin = roles.map(|role| (role.name(), reachable(config.admin_of(role)).to_string()));
        Running { admin: BTreeMap::from(admin), killed: BTreeMap::new() }
    }

    pub fn admin(&self, role: Role) -> Option<String> {
        self.admin.get(role.name()).cloned()
    }

    /// Kills the role where that can be undone; else says why not.
    pub async fn kill(&mut self, role: Role) -> Result<(), String> {
        let pid = self.own_process(role).await?;
        let restart = Restart::of(pid).map_err(|error| format!("how it was started cannot be read: {error}"))?;
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("its process id makes no sense")?;
        kill_process(raw, Signal::KILL).map_err(|error| format!("it cannot be killed: {error}"))?;
        self.killed.insert(role.name(), restart);
        Ok(())
    }

    /// The id of the process that plays this role and no other, on this machine.
    async fn own_process(&self, role: Role) -> Result<u32, String> {
        let about = self.about(role).await.ok_or("its admin server does not answer")?;
        if about["boot_id"].as_str() != Some(&About::boot_id()) {
            return Err("it runs on another machine".to_owned());
        }
        let pid =
            about["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).ok_or("it does not tell its process id")?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        let is_role = words.windows(2).any(|pair| pair == [b"run".as_slice(), role.name().as_bytes()]);
        if is_role { Ok(pid) } else { Err("it shares its process with other roles, as under `spillway up`".to_owned()) }
    }

    async fn about(&self, role: Role) -> Option<Value> {
        let (status, body) = http::get(&format!("http://{}/info", self.admin(role)?)).await.ok()?;
        (status == 200).then(|| serde_json::from_str(&body).ok())?
    }

    /// Starts what was killed again, unless somebody else did so. Answers who did.
    pub async fn begin(&mut self, role: Role) -> Result<&'static str, Failure> {
        let Some(restart) = self.killed.remove(role.name()) else { return Ok("it was not killed") };
        let mut every = tokio::time::interval(LOOK_EVERY);
        let back = async {
            while self.about(role).await.is_none() {
                every.tick().await;
            }
        };
        if tokio::time::timeout(SUPERVISED_WITHIN, back).await.is_ok() {
            return Ok("by whoever watches over it");
        }
        restart
            .start()
            .map_err(|error| Failure::failed(format!("{} cannot be started again: {error}", role.name())))?;
        Ok("as it was started before")
    }
}

impl Restart {
    fn of(pid: u32) -> std::io::Result<Restart> {
        let at = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        let texts = |bytes: Vec<u8>| -> Vec<std::ffi::OsString> {
            let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
            bytes.split(|byte| *byte == 0).map(|text| std::ffi::OsString::from_vec(text.to_vec())).collect()
        };
        let environment = texts(std::fs::read(at("environ"))?).into_iter().filter_map(|variable| {
            let text = variable.into_vec();
            let equals = text.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (text[..equals].to_vec(), text[equals + 1..].to_vec());
            Some((std::ffi::OsString::from_vec(name), std::ffi::OsString::from_vec(value)))
        });
        let environment = environment.collect();
        let append = |name: &str| File::options().append(true).open(at(name));
        Ok(Restart {
            program: std::fs::read_link(at("exe"))?,
            folder: std::fs::read_link(at("cwd"))?,
            arguments: texts(std::fs::read(at("cmdline"))?).split_off(1),
            environment,
            output: append("fd/1")?,
            log: append("fd/2")?,
        })
    }

    /// In a process group of its own, so that what ends the drill does not end it.
    fn start(self) -> std::io::Result<()> {
        let mut command = Command::new(self.program);
        command.args(self.arguments).env_clear().envs(self.environment).current_dir(self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::from(self.output)).stderr(Stdio::from(self.log));
        command.process_group(0).spawn().map(drop)
    }
}
