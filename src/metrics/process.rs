//! The `process_*` metrics that Prometheus users expect, read from /proc at each scrape. Elsewhere than on Linux they stay 0.

use super::Gauge;
use super::register::{gauge, registered};
use prometheus::{Counter, Registry};

pub(super) struct Process {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start: Gauge,
}

/// The kernel counts CPU time in hundredths of a second in /proc on every platform that Linux runs on (USER_HZ).
const TICKS: f64 = 100.0;

impl Process {
    pub(super) fn new(r: &Registry) -> Self {
        let cpu = registered(r, Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."));
        let g = |name, help| Gauge(gauge(r, name, help));
        let it = Self {
            cpu,
            resident: g("process_resident_memory_bytes", "Resident memory size in bytes."),
            virtual_memory: g("process_virtual_memory_bytes", "Virtual memory size in bytes."),
            open_fds: g("process_open_fds", "Number of open file descriptors."),
            max_fds: g("process_max_fds", "Maximum number of open file descriptors."),
            threads: g("process_threads", "Number of OS threads in the process."),
            start: g("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
        };
        it.start.set(start_time().unwrap_or(0));
        it
    }

    pub(super) fn refresh(&self) {
        if let Some(fields) = stat() {
            let field = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
            #[allow(clippy::cast_precision_loss, reason = "centiseconds of CPU stay far below 2^52")]
            let cpu = (field(11) + field(12)) as f64 / TICKS;
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.threads.set(field(17));
            self.virtual_memory.set(field(20));
        }
        // In kB there, whatever the size of this machine's pages.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.resident.set(number_after(&status, "VmRSS:") * 1024);
        self.open_fds.set(std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64));
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        self.max_fds.set(number_after(&limits, "Max open files"));
    }
}

/// The first word after `name` on its line, where it is a number.
fn number_after(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The fields of /proc/self/stat from the third (`state`) on.
fn stat() -> Option<Vec<String>> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn start_time() -> Option<u64> {
    let ticks: u64 = stat()?.get(19)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = boot.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / 100)
}
