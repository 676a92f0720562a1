//! The comparison: builds and starts Patio, its peers and the limit on loopback, drives all with the same load, prints
//! tables and writes them, every round and charts to `target/bench/`.
//!
//! `cargo xtask bench [--quick] [--only patio,limit] [--scenario broadcast:1000x8]… [--resume] [--publish]`

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::ensure;
use bench::{
    compare::{Plan, compare},
    contestant::{Contestant, parse_list, target_directory},
    process::raise_file_limit,
    report::{Machine, Report, Thoroughness, load},
    run::Effort,
    scenario,
    scenario::Scenario,
};
use clap::Parser;

/// Measures Patio beside its peers and the limit.
#[derive(Parser)]
struct Cli {
    /// Three short rounds instead of eleven long ones.
    #[arg(long)]
    quick: bool,
    /// Servers, with commas: patio, socketioxide, node, limit.
    #[arg(long, value_delimiter = ',', default_values_t = Contestant::ALL)]
    only: Vec<Contestant>,
    /// Scenarios such as connect:2000, idle:10000, broadcast:1000x8@128/1 (receivers x in flight @ bytes / senders) or
    /// ack:50x16; may be repeated. All when absent.
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// Rounds of each scenario; memory takes three at most.
    #[arg(long)]
    rounds: Option<usize>,
    /// Server CPU seconds of a round's counted part.
    #[arg(long)]
    seconds: Option<f64>,
    /// Go on with the last report: scenarios that are in it are not measured again.
    #[arg(long)]
    resume: bool,
    /// Put tables and charts into BENCHMARKS.md and README.md.
    #[arg(long)]
    publish: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    raise_file_limit();
    let folder = target_directory()?.join("bench");
    let mut plan = plan(&cli)?;
    let mut report = Report {
        command: env::args().skip(1).fold(String::from("cargo xtask bench"), |line, arg| line + " " + &arg),
        plan: Thoroughness {
            source: source(),
            servers: plan.contestants.iter().map(ToString::to_string).collect(),
            rounds: plan.rounds,
            seconds: plan.effort.cpu.as_secs_f64(),
        },
        machine: Machine::here(),
        load: load(),
        outcomes: Vec::new(),
    };
    if cli.resume
        && let Some(last) = Report::read(&folder)?
    {
        ensure!(
            (&last.plan, &last.machine) == (&report.plan, &report.machine),
            "the last report cannot go on, it is of {:?} on {:?}",
            last.plan,
            last.machine
        );
        report = last;
    }
    report.outcomes.retain(|outcome| !outcome.failed());
    let is_done = |name: String| report.outcomes.iter().any(|outcome| outcome.scenario == name);
    plan.scenarios.retain(|scenario| !is_done(scenario.to_string()));
    for contestant in &plan.contestants {
        eprintln!("preparing {contestant}");
        contestant.prepare()?;
    }
    compare(&plan, |outcome| {
        report.outcomes.push(outcome);
        report.write(&folder)
    })?;
    println!("{}", report.markdown());
    eprintln!("written to {}: bench.md, bench.json, cost.svg, memory.svg", folder.display());
    if cfg!(debug_assertions) {
        eprintln!("THIS WAS NOT A RELEASE BUILD: the figures mean nothing");
    }
    if cli.publish {
        ensure!(!cfg!(debug_assertions) && !report.failed(), "such a report is not published");
        report.publish(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))?;
    }
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Of which commit the programs are.
fn source() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|files| !files.is_empty());
    if changed { commit + "+" } else { commit }
}

fn plan(cli: &Cli) -> anyhow::Result<Plan> {
    let scenarios = match cli.scenario.is_empty() {
        true => scenario::ALL.iter().map(|name| name.parse()).collect::<anyhow::Result<_>>()?,
        false => cli.scenario.clone(),
    };
    let mut effort = if cli.quick { Effort::QUICK } else { Effort::FULL };
    if let Some(seconds) = cli.seconds {
        effort.cpu = Duration::try_from_secs_f64(seconds)?;
    }
    let rounds = cli.rounds.unwrap_or(if cli.quick { 3 } else { 11 }).max(1);
    Ok(Plan { contestants: parse_list(&cli.only)?, scenarios, rounds, effort })
}
