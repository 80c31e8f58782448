//! What a process takes, as Linux tells it.

use std::fmt::Display;

/// Linux counts a process's time in hundredths of a second, whatever the machine.
const TICKS_PER_S: f64 = 100.0;
/// Of a client: its requests, and its live connection.
const FILES_PER_CLIENT: u64 = 2;
/// Whatever else is open.
const MORE_FILES: u64 = 64;

#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub rss_kib: u64,
    /// The most that `rss_kib` has been.
    pub peak_kib: u64,
    /// Time on any core.
    pub cpu_s: f64,
}

impl Usage {
    /// Of a process by its id, or of this one as `self`; zeros where it is gone.
    pub fn of(process: impl Display) -> Usage {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let (status, stat) = (read("status"), read("stat"));
        Usage { rss_kib: kib(&status, "VmRSS:"), peak_kib: kib(&status, "VmHWM:"), cpu_s: cpu_s(&stat) }
    }
}

fn kib(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
    value.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The name, in brackets, may hold anything; after it the times are the twelfth and the thirteenth.
fn cpu_s(stat: &str) -> f64 {
    let fields = stat.rsplit_once(')').map_or("", |parts| parts.1).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_S
}

/// Says what to do where this process may not open a connection for each client.
pub fn check_open_files(clients: usize) -> Result<(), String> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let needed = clients as u64 * FILES_PER_CLIENT + MORE_FILES;
    match open_files(&limits) {
        Some(allowed) if allowed < needed => Err(format!(
            "{clients} clients take {needed} file handles, and this process has {allowed}: run `ulimit -n {needed}` first, \
             or use `npm run load`, which asks for as many as there are"
        )),
        _ => Ok(()),
    }
}

/// How many files a process may have open; nothing where that is not bounded.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_of_a_process_is_read() {
        let status = "Name:\tdriftline\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:"), kib("", "VmRSS:")), (10_240, 20_480, 0));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 500 0 0 0 150 50 3 4 20 0 9 0 100 1000 200";
        assert!((cpu_s(stat) - 2.0).abs() < 1e-9);
        assert!(Usage::of("self").rss_kib > 0);
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax open files            20000                30000                files\n";
        assert_eq!((open_files(limits), open_files(&limits.replace("20000", "unlimited")), open_files("")), (Some(20_000), None, None));
    }
}
