//! What a run cost, and what else the machine did meanwhile.
//!
//! Believe this: the CPU of a server is its own process' and nobody else's, in nanoseconds from the scheduler, and what others took
//! is told beside every number, so that a noisy one can be thrown away.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::error::{Result, io};

/// One tick of `/proc/stat`, which counts in hundredths of a second on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// How often the disk is asked, for the median of how long it takes.
const SYNCS: usize = 15;

/// What the machine did during one window.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// How long the window was, in seconds.
    pub(crate) wall_s: f64,
    /// CPU of the server's process, in seconds.
    pub(crate) server_s: f64,
    /// Cores that neither the server nor this program used.
    pub(crate) others_cores: f64,
    /// Cores that the host took from this machine.
    pub(crate) steal_cores: f64,
}

/// A window under way.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    began: Duration,
    server: Duration,
    own: Duration,
    machine: Machine,
}

impl Meter {
    /// Starts a window on a server's process.
    pub(crate) fn start(pid: u32) -> Result<Meter> {
        Ok(Meter {
            pid,
            machine: machine()?,
            own: cpu(std::process::id())?,
            server: cpu(pid)?,
            began: clock::now(),
        })
    }

    /// Ends it.
    pub(crate) fn stop(&self) -> Result<Usage> {
        let wall_s = clock::since(self.began).as_secs_f64();
        let server = cpu(self.pid)?.saturating_sub(self.server).as_secs_f64();
        let own = cpu(std::process::id())?.saturating_sub(self.own).as_secs_f64();
        let machine = machine()?;
        let busy = machine.busy.saturating_sub(self.machine.busy).as_secs_f64();
        let steal = machine.steal.saturating_sub(self.machine.steal).as_secs_f64();
        Ok(Usage {
            wall_s,
            server_s: server,
            others_cores: ((busy - server - own) / wall_s).max(0.0),
            steal_cores: steal / wall_s,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Machine {
    busy: Duration,
    steal: Duration,
}

fn machine() -> Result<Machine> {
    let text = fs::read_to_string("/proc/stat").map_err(io("read /proc/stat"))?;
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u32> = fields.filter_map(|field| field.parse().ok()).collect();
    let of = |at: usize| TICK * ticks.get(at).copied().unwrap_or_default();
    Ok(Machine {
        // user, nice, system, irq, softirq; idle and waiting for the disk are not work.
        busy: [0, 1, 2, 5, 6].into_iter().map(of).sum(),
        steal: of(7),
    })
}

/// CPU of all threads of a process that still run: none of a server's threads that do work ends before it does.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(io("read the server's threads"))?;
    let mut total = Duration::ZERO;
    for task in tasks {
        let path = task.map_err(io("read the server's threads"))?.path().join("schedstat");
        // A thread may end between the listing and the look.
        let text = fs::read_to_string(path).unwrap_or_default();
        let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        total += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(total)
}

/// Memory of a process that lies in RAM and is its own, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(io("read the server's memory"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.unwrap_or_default() * 1024)
}

/// How long this disk takes to make 4 KiB durable: the median of a few tries.
pub(crate) fn sync_time(folder: &Path) -> Result<Duration> {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path).map_err(io("make the probe's file"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096]).map_err(io("write the probe's file"))?;
        let began = clock::now();
        file.sync_data().map_err(io("sync the probe's file"))?;
        times.push(clock::since(began));
    }
    fs::remove_file(&path).map_err(io("remove the probe's file"))?;
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_process_is_counted_as_its_own() {
        let meter = Meter::start(std::process::id()).unwrap();
        let began = clock::now();
        while clock::since(began) < Duration::from_millis(50) {
            std::hint::black_box([0u8; 1024]);
        }
        let usage = meter.stop().unwrap();
        assert!(usage.wall_s >= 0.05, "{usage:?}");
        // Other programs may have had the core meanwhile, but not all of the time.
        assert!(
            usage.server_s > 0.001 && usage.server_s < usage.wall_s * 64.0,
            "{usage:?}"
        );
        assert!(resident(std::process::id()).unwrap() > 100_000);
    }
}
