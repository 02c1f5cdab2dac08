//! Processor time and memory of a process, from `/proc`.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;

use crate::exit::Failure;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
}

impl Usage {
    /// # Errors
    /// Where there is no such process.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{name}"))
                .map_err(|e| Failure::failed(format!("process {pid} cannot be measured: {e}")))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        Ok(Usage { cpu: processor_time(&stat, 11), memory: resident(&status) })
    }

    /// What ended children of this process have used in all.
    pub fn of_children() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Usage { cpu: processor_time(&stat, 13), memory: 0 }
    }

    /// What was used since an earlier reading; memory as it is now.
    pub fn since(&self, before: &Usage) -> Usage {
        Usage { cpu: self.cpu.saturating_sub(before.cpu), memory: self.memory }
    }

    /// Microseconds of processor time for each of so many.
    pub fn micros_each(&self, count: u64) -> f64 {
        if count == 0 { 0.0 } else { self.cpu.as_secs_f64() * 1e6 / count as f64 }
    }
}

/// User and system time: two fields of `/proc/<pid>/stat`, by the place of the first behind the process's name, which
/// stands in brackets and may hold anything.
fn processor_time(stat: &str, user: usize) -> Duration {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(user).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second().max(1) as f64)
}

fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib * 1024
}
