//! The comparison on paper: goals, figures and details as Markdown tables that are also readable as they stand, every
//! round as JSON, and the charts.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    chart,
    compare::{Outcome, Series},
    contestant::Contestant,
    goals::{Against, GOALS, Goal},
    measurement::{CPU, Figure, Latency, Measure, Measurement},
    stats::Estimate,
};

/// Where it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gb: u64,
    kernel: String,
    /// Longest queue of a listening socket.
    backlog: u32,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let line = |path: &str, key: &str| {
            let text = read(path);
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
            value.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory: u64 = line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
        let most = read("/proc/sys/net/core/somaxconn").parse().unwrap_or(0);
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: memory / 1024 / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            backlog: crate::process::BACKLOG.min(most),
        }
    }
}

/// Runnable processes of the last minute: above 0.5 before a run, others disturb it.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// What all scenarios of one report have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thoroughness {
    /// The commit, with a plus sign when files differ from it.
    pub source: String,
    /// Names of the servers.
    pub servers: Vec<String>,
    /// Rounds of each scenario.
    pub rounds: usize,
    /// Server CPU seconds of a round.
    pub seconds: f64,
}

/// A comparison, finished or not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// How it was called.
    pub command: String,
    /// What was measured, and how thoroughly.
    pub plan: Thoroughness,
    /// Where.
    pub machine: Machine,
    /// [`load`] before it began.
    pub load: String,
    /// Every scenario that is done.
    pub outcomes: Vec<Outcome>,
}

/// What README shows.
const MAIN: &[&str] = &[
    "idle:10000",
    "connect:2000",
    "upgrade:1000",
    "broadcast:1000x1",
    "broadcast:1000x8",
    "broadcast:1000x1@16384",
    "binary:1000x8",
    "rooms:1000x10",
    "ack:100x1",
    "ack:50x16",
    "mixed:10000",
    "storm:10000",
];

impl Report {
    /// One that was written before.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read_to_string(json(folder)) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).context("not a report of this version")?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| json(folder).display().to_string()),
        }
    }

    /// Whether a server lost a message or a connection.
    pub fn failed(&self) -> bool {
        self.outcomes.iter().any(Outcome::failed)
    }

    /// Writes `bench.md`, `bench.json` and the charts into this folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(folder.join("bench.md"), format!("# Patio beside its peers\n\n{}", self.markdown()))?;
        fs::write(json(folder), serde_json::to_string(self)? + "\n")?;
        self.draw(folder)
    }

    /// Draws the charts for which there are figures.
    fn draw(&self, folder: &Path) -> anyhow::Result<()> {
        chart::cost(&self.outcomes, &folder.join("cost.svg"))?;
        chart::memory(&self.outcomes, &folder.join("memory.svg"))
    }

    /// Puts tables and charts into BENCHMARKS.md, and the ratios of some into README.md.
    pub fn publish(&self, root: &Path) -> anyhow::Result<()> {
        insert(&root.join("BENCHMARKS.md"), "results", &self.markdown())?;
        insert(&root.join("README.md"), "ratios", &self.ratios())?;
        let charts = root.join("bench/charts");
        fs::create_dir_all(&charts)?;
        self.draw(&charts)
    }

    /// Head, tables and legend.
    pub fn markdown(&self) -> String {
        let Machine { cpu, cores, memory_gb, kernel, backlog } = &self.machine;
        format!(
            "`{command}`, commit {source}, on {cpu}, {cores} cores, {memory_gb} GB, Linux {kernel}; load before the run {load}; backlog of \
             all listening sockets {backlog}.\n\n\
             ## Goals\n\n{goals}\n\
             ## Figures\n\n\
             Medians of the rounds. Ratios are taken round by round: their median and, in brackets, the interval that \
             holds the true one with 95 % (with fewer than six rounds: the range of all). CPU is that of the server's \
             process for one of what is counted; the smaller, the better.\n\n{figures}\n\
             ## Rate and latency\n\n\
             Medians of the rounds, of whatever number of messages was kept in flight: who is faster is asked for more. \
             Generator: its CPU time for one, and how busy its one thread was; near 100 % it was the bottleneck of rate \
             and latency, not of CPU time. A star: messages of one sender overtook each other.\n\n{details}{failures}",
            command = self.command,
            load = self.load,
            source = self.plan.source,
            goals = self.goals(),
            figures = self.figures(),
            details = self.details(),
            failures = self.failures(),
        )
    }

    /// What failed, in full.
    fn failures(&self) -> String {
        let series =
            self.outcomes.iter().flat_map(|outcome| outcome.series.iter().map(move |s| (outcome, s)));
        series
            .map(|(Outcome { scenario, .. }, Series { server, repeated, failure, .. })| {
                let repeated = repeated
                    .iter()
                    .map(|why| format!("\nDone again: a round of {server}, {scenario}: {why}\n"));
                let failed = failure.iter().map(|why| format!("\nFAILED: {server}, {scenario}: {why}\n"));
                repeated.chain(failed).collect::<String>()
            })
            .collect()
    }

    fn goals(&self) -> String {
        let head = ["figure of Patio", "goal", "measured", "met"];
        let rows = self.outcomes.iter().flat_map(|outcome| {
            let mut goals: Vec<Goal> =
                GOALS.iter().filter(|goal| goal.scenario == outcome.scenario).copied().collect();
            if goals.is_empty() && outcome.series.len() > 1 {
                let scenario = outcome.scenario.as_str();
                goals.push(Goal { scenario, figure: CPU, against: Against::BestPeer, at_most: 1.0 });
            }
            goals.into_iter().map(|goal| goal_row(outcome, goal)).collect::<Vec<_>>()
        });
        table(&head, 1, rows.collect())
    }

    fn figures(&self) -> String {
        let head = [
            "scenario",
            "figure",
            "Patio",
            "÷ limit",
            "÷ socketioxide",
            "÷ Node",
            "limit",
            "socketioxide",
            "Node",
        ];
        let rows = self.outcomes.iter().flat_map(|outcome| {
            let series = outcome.of(Contestant::Patio).or(outcome.series.first());
            let figures = series.map(names).unwrap_or_default();
            figures.into_iter().enumerate().map(move |(at, figure)| {
                let median = |server| {
                    let estimate = Estimate::of(&outcome.of(server)?.figures(&figure.name))?;
                    Some(figure.measure.show(estimate.median))
                };
                let ratio = |server| Some(show_ratio(ratio(outcome, &figure.name, server)?));
                let or_not = |cell: Option<String>| cell.unwrap_or_else(|| "–".into());
                vec![
                    if at == 0 { outcome.description.clone() } else { String::new() },
                    counted(outcome, &figure.name),
                    or_not(median(Contestant::Patio)),
                    or_not(ratio(Contestant::Limit).filter(|_| figure.measure != Measure::Bytes)),
                    or_not(ratio(Contestant::Socketioxide)),
                    or_not(ratio(Contestant::Node)),
                    or_not(median(Contestant::Limit)),
                    or_not(median(Contestant::Socketioxide)),
                    or_not(median(Contestant::Node)),
                ]
            })
        });
        table(&head, 2, rows.collect())
    }

    /// The first figure of the scenarios that matter most, as ratios only.
    fn ratios(&self) -> String {
        let head = ["", "Patio ÷ Node", "Patio ÷ socketioxide", "Patio ÷ the limit"];
        let rows = MAIN.iter().filter_map(|name| {
            let outcome = self.outcomes.iter().find(|outcome| outcome.scenario == *name)?;
            let figure = names(outcome.of(Contestant::Patio)?).into_iter().next()?;
            let ratio = |server| match ratio(outcome, &figure.name, server) {
                Some(ratio) if server != Contestant::Limit || figure.measure != Measure::Bytes => {
                    format!("{:.2}", ratio.median)
                }
                _ => "–".into(),
            };
            Some(vec![
                format!("{}: {}", outcome.description, counted(outcome, &figure.name)),
                ratio(Contestant::Node),
                ratio(Contestant::Socketioxide),
                ratio(Contestant::Limit),
            ])
        });
        table(&head, 1, rows.collect())
    }

    fn details(&self) -> String {
        let head =
            ["scenario", "server", "per second", "p50 ms", "p99 ms", "max ms", "generator", "fresh process"];
        let rows = self.outcomes.iter().flat_map(|outcome| {
            outcome.series.iter().enumerate().map(move |(at, series)| detail_row(outcome, at, series))
        });
        table(&head, 2, rows.collect())
    }
}

/// Replaces what stands between the two marks of this name in a document.
fn insert(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let [begin, end] = [format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n")];
    let whole = fs::read_to_string(document).with_context(|| document.display().to_string())?;
    let parts = whole.split_once(&begin).zip(whole.split_once(&end));
    let ((before, _), (_, after)) =
        parts.with_context(|| format!("{} has no marks for the {name}", document.display()))?;
    fs::write(document, format!("{before}{begin}\n{text}\n{end}{after}"))?;
    Ok(())
}

fn json(folder: &Path) -> PathBuf {
    folder.join("bench.json")
}

/// The figures that a series has in any round.
fn names(series: &Series) -> Vec<Figure> {
    series.rounds.first().map(|round| round.figures.clone()).unwrap_or_default()
}

/// "CPU" alone does not say for what.
fn counted(outcome: &Outcome, figure: &str) -> String {
    if figure == CPU { format!("CPU per {}", outcome.unit) } else { figure.to_owned() }
}

fn ratio(outcome: &Outcome, figure: &str, to: Contestant) -> Option<Estimate> {
    let ours = outcome.of(Contestant::Patio)?.figures(figure);
    let theirs = outcome.of(to)?.figures(figure);
    Estimate::of_ratios(&ours, &theirs).filter(|estimate| estimate.median.is_finite())
}

fn show_ratio(Estimate { median, low, high, .. }: Estimate) -> String {
    format!("{median:.2} ({low:.2}–{high:.2})")
}

/// Of the peers the one with the better median.
fn best_peer(outcome: &Outcome, figure: &str) -> Option<Contestant> {
    let median = |server: Contestant| Some(Estimate::of(&outcome.of(server)?.figures(figure))?.median);
    [Contestant::Socketioxide, Contestant::Node]
        .into_iter()
        .filter_map(|server| Some((server, median(server)?)))
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(server, _)| server)
}

/// One goal, and how far it is met.
fn goal_row(outcome: &Outcome, Goal { figure, against, at_most, .. }: Goal<'_>) -> Vec<String> {
    let (goal, peer) = match against {
        Against::Itself(measure) => (format!("≤ {}", measure.show(at_most)), None),
        Against::Limit => (format!("≤ {at_most:.2} × limit"), Some(Contestant::Limit)),
        Against::Socketioxide => (format!("≤ {at_most:.2} × socketioxide"), Some(Contestant::Socketioxide)),
        Against::BestPeer => (format!("≤ {at_most:.2} × the best peer"), best_peer(outcome, figure)),
    };
    let measured = match against {
        Against::Itself(measure) => outcome.of(Contestant::Patio).and_then(|ours| {
            let Estimate { median, low, high, .. } = Estimate::of(&ours.figures(figure))?;
            let show = |value| measure.show(value);
            Some((format!("{} ({}–{})", show(median), show(low), show(high)), median))
        }),
        _ => peer.and_then(|peer| {
            let ratio = ratio(outcome, figure, peer)?;
            Some((show_ratio(ratio), ratio.median))
        }),
    };
    let (measured, met) = match measured {
        None => ("not measured".into(), "no".into()),
        Some((measured, median)) if median <= at_most => (measured, "yes".into()),
        Some((measured, median)) => (measured, format!("no, {:+.1} %", (median / at_most - 1.0) * 100.0)),
    };
    vec![format!("{}: {}", outcome.description, counted(outcome, figure)), goal, measured, met]
}

fn detail_row(outcome: &Outcome, at: usize, series: &Series) -> Vec<String> {
    let rounds = &series.rounds;
    let median = |value: &dyn Fn(&Measurement) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(value).collect();
        Estimate::of(&values).map(|estimate| estimate.median)
    };
    let show =
        |value: Option<f64>, digits: usize| value.map_or("–".into(), |value| format!("{value:.digits$}"));
    let latency = |value: fn(&Latency) -> u64| {
        show(median(&|round| Some(value(round.latency.as_ref()?) as f64 / 1000.0)), 2)
    };
    let generator = median(&|round| Some(round.generator_cpu_ns as f64 / round.units.max(1) as f64))
        .zip(median(&|round| Some(round.generator_cpu_ns as f64 / round.wall_ns as f64)));
    let generator = generator.map(|(cpu, busy)| format!("{:.2} µs, {:.0} %", cpu / 1000.0, busy * 100.0));
    let fresh = median(&|round| Some(round.memory.first()?.bytes as f64));
    let disordered = rounds.iter().any(|round| round.disordered > 0);
    vec![
        if at == 0 { outcome.description.clone() } else { String::new() },
        match (&series.failure, disordered) {
            (Some(_), _) => format!("{} FAILED", series.server),
            (None, true) => format!("{} *", series.server),
            (None, false) => series.server.clone(),
        },
        show(median(&|round| Some(round.rate())), 0),
        latency(|latency| latency.p50),
        latency(|latency| latency.p99),
        latency(|latency| latency.max),
        generator.unwrap_or_else(|| "–".into()),
        fresh.map_or(String::new(), |bytes| Measure::Bytes.show(bytes)),
    ]
}

/// A Markdown table: the first columns to the left, figures to the right.
fn table(head: &[&str], left: usize, rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.into()).collect();
    let width =
        |at: usize| rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
            if at < left { format!(" {cell:width$} |") } else { format!(" {cell:>width$} |") }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(at, &width)| {
        if at < left { format!(" {} |", "-".repeat(width)) } else { format!(" {}: |", "-".repeat(width - 1)) }
    });
    let mut table = line(&head) + &format!("|{}\n", rule.collect::<String>());
    table.extend(rows.iter().map(line));
    table
}
