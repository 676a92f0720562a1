//! The comparison: rounds of every scenario, interleaved over the servers (A B C D A B C D …).

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    contestant::{Contestant, Server},
    measurement::Measurement,
    run::{Effort, round},
    scenario::Scenario,
};

/// What is compared, and how thoroughly.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Servers in the order of a round.
    pub contestants: Vec<Contestant>,
    /// Scenarios in order.
    pub scenarios: Vec<Scenario>,
    /// Rounds of each scenario.
    pub rounds: usize,
    /// Work of a round.
    pub effort: Effort,
}

/// Memory differs little from round to round, and one takes a minute.
const ROUNDS_OF_MEMORY: usize = 3;

/// All rounds of one server in one scenario.
#[derive(Debug, Serialize)]
pub struct Series {
    /// The server.
    pub server: &'static str,
    /// One measurement a round, in order.
    pub rounds: Vec<Measurement>,
    /// Why it has no more rounds: a message was lost, a connection ended.
    pub failure: Option<String>,
}

impl Series {
    /// The figure of each round.
    pub fn figures(&self) -> Vec<f64> {
        self.rounds.iter().filter_map(Measurement::figure).collect()
    }
}

/// All servers in one scenario.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// What the figures are per.
    pub unit: &'static str,
    /// In one line.
    pub description: String,
    /// Whether the figures are bytes instead of nanoseconds.
    pub is_memory: bool,
    /// One a server.
    pub series: Vec<Series>,
}

/// Does all rounds. What fails is in the outcomes, and was said aloud.
pub fn compare(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let rounds = |scenario: &Scenario| match scenario.is_memory() {
        true => plan.rounds.min(ROUNDS_OF_MEMORY),
        false => plan.rounds,
    };
    let total: usize = plan.scenarios.iter().map(|scenario| rounds(scenario) * plan.contestants.len()).sum();
    let bar = ProgressBar::new(total as u64).with_style(ProgressStyle::with_template(
        "[{elapsed_precise}] {bar:30} {pos}/{len} {msg} (about {eta} left)",
    )?);
    bar.enable_steady_tick(Duration::from_secs(1));
    let outcomes =
        plan.scenarios.iter().map(|&scenario| outcome(plan, scenario, rounds(&scenario), &bar)).collect();
    bar.finish_and_clear();
    outcomes
}

fn outcome(plan: &Plan, scenario: Scenario, rounds: usize, bar: &ProgressBar) -> anyhow::Result<Outcome> {
    let mut series: Vec<Series> = plan
        .contestants
        .iter()
        .map(|contestant| Series { server: contestant.name(), rounds: Vec::new(), failure: None })
        .collect();
    let mut servers: Vec<Option<Server>> = plan.contestants.iter().map(|_| None).collect();
    for number in 1..=rounds {
        for ((&contestant, series), server) in plan.contestants.iter().zip(&mut series).zip(&mut servers) {
            bar.set_message(format!("{scenario}, round {number}, {contestant}"));
            if series.failure.is_none() {
                match one(scenario, contestant, server, plan.effort) {
                    Ok(measurement) => {
                        bar.suspend(|| eprintln!("{contestant:12} {}", measurement.summary(&scenario)));
                        series.rounds.push(measurement);
                    }
                    Err(error) => {
                        bar.suspend(|| eprintln!("{contestant:12} {scenario} FAILED: {error:#}"));
                        series.failure = Some(format!("{error:#}"));
                        *server = None;
                    }
                }
            }
            bar.inc(1);
        }
    }
    Ok(Outcome {
        scenario: scenario.to_string(),
        unit: scenario.unit(),
        description: scenario.describe(),
        is_memory: scenario.is_memory(),
        series,
    })
}

/// One round. A server process serves all rounds of a scenario, so that just-in-time compilers are warm, but memory is
/// that of a fresh process.
fn one(
    scenario: Scenario,
    contestant: Contestant,
    server: &mut Option<Server>,
    effort: Effort,
) -> anyhow::Result<Measurement> {
    if scenario.is_memory() {
        *server = None;
    }
    let running = match server {
        Some(running) => running,
        None => server.insert(contestant.start()?),
    };
    let measurement = round(scenario, running.target(), effort)?;
    if scenario.is_memory() {
        *server = None;
    }
    Ok(measurement)
}
