//! The machine of a measurement.

/// Returns the day, in UTC.
#[expect(clippy::disallowed_methods, reason = "the day of a measurement")]
pub fn today() -> impl std::fmt::Display {
    chrono::Utc::now().date_naive()
}

/// Returns the machine's cores.
pub fn here() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{cores} cores ({model})")
}

/// Returns the most memory that this process had, in MiB, if the system tells it.
pub fn memory() -> Option<u64> {
    let kilobytes: u64 = field("/proc/self/status", "VmHWM")?.split(' ').next()?.parse().ok()?;
    Some(kilobytes / 1024)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
