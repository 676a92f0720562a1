//! The comparison: builds and starts Patio, its peers and the limit on loopback, drives all with the same load, prints
//! one table and writes it to `target/bench/`.
//!
//! `cargo xtask bench [--quick] [--only patio,limit] [--scenario broadcast:1000x8]…`

use std::{env, process::ExitCode, time::Duration};

use bench::{
    compare::{Plan, compare},
    contestant::{Contestant, parse_list, target_directory},
    process::raise_file_limit,
    report::{Machine, Report},
    run::Effort,
    scenario,
    scenario::Scenario,
};
use clap::Parser;

/// Measures Patio beside its peers and the limit.
#[derive(Parser)]
struct Cli {
    /// Three short rounds of the main scenarios instead of eleven long ones of all.
    #[arg(long)]
    quick: bool,
    /// Servers, with commas: patio, socketioxide, node, limit.
    #[arg(long, value_delimiter = ',', default_values_t = Contestant::ALL)]
    only: Vec<Contestant>,
    /// Scenarios such as connect:2000, idle:10000, broadcast:1000x8@128/1 (receivers x in flight @ bytes / senders) or
    /// ack:50x16; may be repeated.
    #[arg(long)]
    scenario: Vec<Scenario>,
    /// Rounds of each scenario; memory takes three at most.
    #[arg(long)]
    rounds: Option<usize>,
    /// Server CPU seconds of a round's counted part.
    #[arg(long)]
    seconds: Option<f64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    raise_file_limit();
    let machine = Machine::here();
    let plan = plan(&cli)?;
    for contestant in &plan.contestants {
        eprintln!("preparing {contestant}");
        contestant.prepare()?;
    }
    let outcomes = compare(&plan)?;
    let command =
        env::args().skip(1).fold(String::from("cargo xtask bench"), |line, arg| line + " " + arg.as_str());
    let report = Report { command, machine, outcomes };
    let folder = target_directory()?.join("bench");
    report.write(&folder)?;
    println!("{}", report.markdown());
    eprintln!("written to {0}/bench.md and {0}/bench.json", folder.display());
    if cfg!(debug_assertions) {
        eprintln!("THIS WAS NOT A RELEASE BUILD: the figures mean nothing");
    }
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn plan(cli: &Cli) -> anyhow::Result<Plan> {
    let names = if cli.quick { scenario::QUICK } else { scenario::ALL };
    let scenarios = match cli.scenario.is_empty() {
        true => names.iter().map(|name| name.parse()).collect::<anyhow::Result<_>>()?,
        false => cli.scenario.clone(),
    };
    let mut effort = if cli.quick { Effort::QUICK } else { Effort::FULL };
    if let Some(seconds) = cli.seconds {
        effort.cpu = Duration::try_from_secs_f64(seconds)?;
    }
    let rounds = cli.rounds.unwrap_or(if cli.quick { 3 } else { 11 }).max(1);
    Ok(Plan { contestants: parse_list(&cli.only)?, scenarios, rounds, effort })
}
