//! The comparison: rounds of every scenario, interleaved over the servers (A B C D A B C D …).

use std::{mem, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::{
    contestant::{Contestant, Server},
    measurement::Measurement,
    run::{Effort, Host, Target, round},
    scenario::{Over, Scenario},
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

/// All rounds of one server in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// The server.
    pub server: String,
    /// One measurement a round, in order.
    pub rounds: Vec<Measurement>,
    /// Why rounds of a peer were done again: it lost a message or a connection, as peers do now and then.
    #[serde(default)]
    pub repeated: Vec<String>,
    /// Why it has no more rounds: a message was lost, a connection ended.
    pub failure: Option<String>,
}

/// All servers in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// What was counted.
    pub unit: String,
    /// In one line.
    pub description: String,
    /// One a server.
    pub series: Vec<Series>,
}

impl Series {
    /// This figure of each round.
    pub fn figures(&self, name: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| round.figure(name)).collect()
    }
}

impl Outcome {
    /// The series of this server, if it lost nothing.
    pub fn of(&self, server: Contestant) -> Option<&Series> {
        self.series.iter().find(|series| series.server == server.name() && series.failure.is_none())
    }

    /// Whether a server lost a message or a connection.
    pub fn failed(&self) -> bool {
        self.series.iter().any(|series| series.failure.is_some())
    }
}

/// Does all rounds, and hands on each scenario's outcome when it is there. What fails is in it, and was said aloud.
pub fn compare(plan: &Plan, mut done: impl FnMut(Outcome) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let rounds = |scenario: &Scenario| plan.rounds.min(scenario.most_rounds());
    let total: usize = plan.scenarios.iter().map(|scenario| rounds(scenario) * plan.contestants.len()).sum();
    let bar = ProgressBar::new(total as u64).with_style(ProgressStyle::with_template(
        "[{elapsed_precise}] {bar:30} {pos}/{len} {msg} (about {eta} left)",
    )?);
    bar.enable_steady_tick(Duration::from_secs(1));
    for &scenario in &plan.scenarios {
        done(outcome(plan, scenario, rounds(&scenario), &bar))?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn outcome(plan: &Plan, scenario: Scenario, rounds: usize, bar: &ProgressBar) -> Outcome {
    let kinds = || plan.contestants.iter().copied().filter(|kind| kind.listens_over(scenario.over()));
    let mut series: Vec<Series> = kinds()
        .map(|kind| Series {
            server: kind.name().into(),
            rounds: Vec::new(),
            repeated: Vec::new(),
            failure: None,
        })
        .collect();
    let mut hosts: Vec<Processes> =
        kinds().map(|kind| Processes { kind, over: scenario.over(), running: None }).collect();
    for number in 1..=rounds {
        for (series, host) in series.iter_mut().zip(&mut hosts) {
            bar.set_message(format!("{scenario}, round {number}, {}", host.kind));
            host.add_round(series, scenario, plan.effort, &|line| bar.suspend(|| eprintln!("{line}")));
            bar.inc(1);
        }
    }
    Outcome {
        scenario: scenario.to_string(),
        unit: scenario.unit().into(),
        description: scenario.describe(),
        series,
    }
}

/// The process of one server, begun when a round needs it.
struct Processes {
    kind: Contestant,
    over: Over,
    running: Option<Server>,
}

/// How many rounds of one peer in one scenario may fail and are done again.
const MOST_REPEATED: usize = 2;

impl Processes {
    /// Adds one round to the series, if it has not failed. Only a peer has another try, which the report tells.
    fn add_round(&mut self, series: &mut Series, scenario: Scenario, effort: Effort, say: &dyn Fn(String)) {
        while series.failure.is_none() {
            match self.one(scenario, effort) {
                Ok(measurement) => {
                    say(format!("{:12} {}", series.server, measurement.summary(&scenario)));
                    series.rounds.push(measurement);
                    return;
                }
                Err(error) => {
                    say(format!("{:12} {scenario} FAILED: {error:#}", series.server));
                    self.running = None;
                    let failure = format!("{error:#}");
                    match self.kind.is_peer() && series.repeated.len() < MOST_REPEATED {
                        true => series.repeated.push(failure),
                        false => series.failure = Some(failure),
                    }
                }
            }
        }
    }

    fn one(&mut self, scenario: Scenario, effort: Effort) -> anyhow::Result<Measurement> {
        if scenario.wants_fresh_process() {
            self.running = None;
        }
        let target = match &self.running {
            Some(running) => running.target(),
            None => self.running.insert(self.kind.start(None, self.over)?).target(),
        };
        let measurement = round(scenario, target, effort, self)?;
        if scenario.wants_fresh_process() {
            self.running = None;
        }
        Ok(measurement)
    }
}

impl Host for Processes {
    fn restart(&mut self) -> anyhow::Result<Target> {
        let old = mem::take(&mut self.running).map(|server| server.target().address);
        Ok(self.running.insert(self.kind.start(old, self.over)?).target())
    }
}
