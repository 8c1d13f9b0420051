//! Memory and CPU time of a process, counters of the Prometheus text format, and percentiles.

use std::io;
use std::time::Duration;

/// Memory of a process in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub now: f64,
    /// The most that was ever resident.
    pub most: f64,
}

/// The memory of a process (`/proc/PID/status`, VmRSS and VmHWM, in KiB).
///
/// # Errors
/// When it has ended.
pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
    };
    match (mib("VmRSS:"), mib("VmHWM:")) {
        (Some(now), Some(most)) => Ok(Memory { now, most }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no VmRSS: the process has ended")),
    }
}

/// The CPU time that a process has used (`/proc/PID/stat`, fields 14 and 15, in clock ticks).
///
/// # Errors
/// When it has ended.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not as proc(5) has it"))?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks.saturating_mul(1000) / a_second))
}

/// User and system time; the name before them may hold blanks, so counting begins after its closing bracket.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The share of one core that a process used between two looks, in percent.
pub(crate) fn share_of_core(before: Duration, after: Duration, over: Duration) -> f64 {
    100.0 * after.saturating_sub(before).as_secs_f64() / over.as_secs_f64()
}

/// The smallest sample that at least `share` of all samples do not exceed; 0 without samples.
pub(crate) fn percentile(samples: &[Duration], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of samples")]
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).map_or(0.0, Duration::as_secs_f64)
}

/// The sum of a counter's series that have all these labels, in the Prometheus text format.
pub(crate) fn counter(text: &str, name: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// The machine in a few words.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {}", if model.trim().is_empty() { "an unnamed processor" } else { model.trim() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<_> = (1..=100).rev().map(Duration::from_secs).collect();
        assert_eq!((percentile(&samples, 0.5), percentile(&samples, 0.99)), (50.0, 99.0));
        assert_eq!((percentile(&samples[..1], 0.99), percentile(&[], 0.5)), (100.0, 0.0));
    }

    #[test]
    fn counters_are_summed_over_other_labels() {
        let text =
            "a_total{x=\"1\",y=\"1\"} 2\na_total{x=\"1\",y=\"2\"} 3.5\na_total{x=\"2\"} 7\na_totals{x=\"1\"} 9\nb 4\n";
        assert_eq!(counter(text, "a_total", &["x=\"1\""]), 5.5);
        assert_eq!(counter(text, "b", &[]), 4.0);
    }

    #[test]
    fn a_name_with_blanks_does_not_shift_fields() {
        let stat = "7 (tokio (rt) 1) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn this_process_has_memory_and_used_time() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.now > 0.0 && memory.most >= memory.now);
        assert!(cpu_time(std::process::id()).is_ok());
    }
}
