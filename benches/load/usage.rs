//! What processes use of the machine, as Linux counts it.

use std::{fs, path::Path, time::Duration};

/// Processor time of one process.
pub(crate) fn processor(pid: u32) -> Duration {
    stat(pid).map_or(Duration::ZERO, |stat| stat.own)
}

/// Processor time of a process and of everything that it started.
pub(crate) fn processor_of_family(pid: u32) -> Duration {
    let Some(parent) = stat(pid) else {
        return Duration::ZERO;
    };
    let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let child = entry.ok()?.file_name().to_str()?.parse().ok()?;
        stat(child).filter(|stat| stat.parent == pid)
    });
    let children: Duration = children.map(|stat| stat.own).sum();
    parent.own + parent.ended + children
}

/// PostgreSQL's first process, by the folder of its data.
pub(crate) fn postmaster(data: &Path) -> u32 {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    file.lines().next().unwrap().trim().parse().unwrap()
}

/// One line of a process's `status`, in megabytes: `VmRSS` is what it holds, `VmHWM` the most that it held.
pub(crate) fn megabytes(pid: u32, what: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1024.0
}

struct Stat {
    parent: u32,
    own: Duration,
    /// Of its children that ended.
    ended: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold anything, ends at the last parenthesis; the state is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
    // Linux counts in hundredths of a second.
    let ticks = |one, other| Some(Duration::from_millis(10 * (field(one)? + field(other)?)));
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        own: ticks(14, 15)?,
        ended: ticks(16, 17)?,
    })
}
