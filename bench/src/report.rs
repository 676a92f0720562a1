//! The comparison on paper: one table for people, the same as Markdown, and every round as JSON.

use std::{fs, path::Path};

use anyhow::Context;
use serde::Serialize;

use crate::{
    compare::{Outcome, Series},
    measurement::{Latency, Measurement, Memory},
    stats::Estimate,
};

/// Where it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    /// Runnable processes of the last minute before the run: above 0.5 others disturb it.
    load: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let line = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory: u64 = line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: memory / 1024 / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// A finished comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How it was called.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Every scenario.
    pub outcomes: Vec<Outcome>,
}

const COLUMNS: [&str; 10] = [
    "scenario",
    "server",
    "median",
    "Patio ÷ it",
    "it ÷ limit",
    "per second",
    "p50 ms",
    "p99 ms",
    "max ms",
    "generator",
];

impl Report {
    /// The table with a head and a legend.
    pub fn markdown(&self) -> String {
        let Machine { cpu, cores, memory_gb, kernel, load } = &self.machine;
        format!(
            "# Patio beside its peers\n\n\
             `{}` on {cpu}, {cores} cores, {memory_gb} GB, Linux {kernel}, load before the run {load}.\n\n\
             {}\n\
             Median: server CPU time per unit, or resident memory per connection. Ratios are taken round by round: median \
             and, in brackets, the interval that holds the true one with 95 % (with fewer than six rounds: the range of \
             all). Per second and latencies: medians of the rounds. Generator: its CPU time per unit, and in brackets how \
             busy its one thread was; near 100 % it was the bottleneck for rate and latency, not for CPU time. A star: messages of one sender overtook each other.\n{}",
            self.command,
            self.table(),
            self.failures(),
        )
    }

    /// What failed, in full.
    fn failures(&self) -> String {
        let series =
            self.outcomes.iter().flat_map(|outcome| outcome.series.iter().map(move |s| (outcome, s)));
        let failed = series.filter_map(|(outcome, series)| {
            let failure = series.failure.as_ref()?;
            Some(format!("\nFAILED: {}, {}: {failure}\n", series.server, outcome.scenario))
        });
        failed.collect()
    }

    /// Only the table.
    pub fn table(&self) -> String {
        let rows = self.outcomes.iter().flat_map(|outcome| {
            outcome.series.iter().enumerate().map(move |(at, series)| row(outcome, at, series))
        });
        aligned(rows.collect())
    }

    /// Whether a server lost a message or a connection.
    pub fn failed(&self) -> bool {
        self.outcomes.iter().flat_map(|outcome| &outcome.series).any(|series| series.failure.is_some())
    }

    /// Writes `bench.md` and `bench.json` into this folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(folder.join("bench.md"), self.markdown())?;
        fs::write(folder.join("bench.json"), serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

type Row = [String; COLUMNS.len()];

fn row(outcome: &Outcome, at: usize, series: &Series) -> Row {
    let rounds = &series.rounds;
    let figures = series.figures();
    let of = |name: &str| outcome.series.iter().find(|series| series.server == name).map(Series::figures);
    let ratio = |ours: Option<Vec<f64>>, theirs: Option<Vec<f64>>| {
        // The limit's memory is next to nothing: a ratio to it says nothing.
        let estimate =
            Estimate::of_ratios(&ours?, &theirs?).filter(|estimate| estimate.median.is_finite())?;
        Some(format!("{:.2} ({:.2}–{:.2})", estimate.median, estimate.low, estimate.high))
    };
    let to_patio = (series.server != "patio").then(|| ratio(of("patio"), Some(figures.clone())));
    let to_limit =
        (series.server != "limit" && !outcome.is_memory).then(|| ratio(Some(figures.clone()), of("limit")));
    let median = |value: &dyn Fn(&Measurement) -> Option<f64>| {
        Estimate::of(&rounds.iter().filter_map(value).collect::<Vec<_>>()).map(|estimate| estimate.median)
    };
    let latency = |value: fn(&Latency) -> u64| {
        let median = median(&|round| round.latency.as_ref().map(|latency| value(latency) as f64));
        median.map_or("–".into(), |us| format!("{:.2}", us / 1000.0))
    };
    let generator = median(&|round| Some(round.generator_cpu_ns as f64 / round.units as f64))
        .zip(median(&|round| Some(round.generator_cpu_ns as f64 / round.wall_ns as f64)));
    let median_text = match (&series.failure, Estimate::of(&figures)) {
        (Some(_), _) => "FAILED".into(),
        (None, Some(estimate)) if outcome.is_memory => memory(estimate, rounds),
        (None, Some(estimate)) => format!("{:.3} µs", estimate.median / 1000.0),
        (None, None) => "–".into(),
    };
    let disordered = rounds.iter().any(|round| round.disordered > 0);
    let name = if at == 0 { format!("{}, per {}", outcome.description, outcome.unit) } else { String::new() };
    [
        name,
        if disordered { format!("{} *", series.server) } else { series.server.into() },
        median_text,
        to_patio.flatten().unwrap_or_default(),
        to_limit.flatten().unwrap_or_default(),
        median(&|round| (!outcome.is_memory).then(|| round.rate()))
            .map_or("–".into(), |rate| format!("{rate:.0}")),
        latency(|latency| latency.p50),
        latency(|latency| latency.p99),
        latency(|latency| latency.max),
        generator
            .map_or("–".into(), |(cpu, busy)| format!("{:.2} µs ({:.0} %)", cpu / 1000.0, busy * 100.0)),
    ]
}

/// What a connection takes on the average and in the second half, what the process has before the first, and what a
/// connection at rest costs a second when it rested long enough.
fn memory(per_connection: Estimate, rounds: &[Measurement]) -> String {
    let median = |value: &dyn Fn(&Memory) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(|round| value(round.memory.as_ref()?)).collect();
        Estimate::of(&values).map(|estimate| estimate.median)
    };
    let slope = median(&|memory| Some(memory.slope())).unwrap_or(0.0);
    let fresh = median(&|memory| Some(memory.fresh as f64)).unwrap_or(0.0);
    let idle = median(&|memory| Some(memory.idle_cpu_ns? as f64));
    let idle = idle.map(|ns| format!("; idle {:.2} µs CPU/s", ns / 1000.0)).unwrap_or_default();
    let average = per_connection.median / 1000.0;
    format!("{average:.2} kB (2nd half {:.2}; start {:.1} MB{idle})", slope / 1000.0, fresh / 1e6)
}

/// A Markdown table that is also readable as it stands: text to the left, figures to the right.
fn aligned(rows: Vec<Row>) -> String {
    let head = COLUMNS.map(String::from);
    let width =
        |at: usize| rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |row: &Row| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 | 1 => format!(" {cell:width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(at, &width)| match at {
        0 | 1 => format!(" {} |", "-".repeat(width)),
        _ => format!(" {}: |", "-".repeat(width - 1)),
    });
    let mut table = line(&head) + &format!("|{}\n", rule.collect::<String>());
    table.extend(rows.iter().map(line));
    table
}
