//! One round of a scenario against one server: connect, warm up, measure, drain, leave.

mod ack;
mod broadcast;
mod connect;
mod greet;
mod idle;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    generator::Generator,
    measurement::{Latency, Measurement},
    process::{Process, thread_cpu},
    scenario::Scenario,
};

/// How much is done before a figure counts.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Wall time of the warm-up: caches, allocators, just-in-time compilers.
    pub warm_up: Duration,
    /// Server CPU time of the counted part; when the process is unknown, wall time.
    pub cpu: Duration,
    /// The counted part ends after this wall time at the latest.
    pub longest: Duration,
    /// How long idle connections are held before their memory is read.
    pub rest: Duration,
}

impl Effort {
    /// For a first look, and for CI.
    pub const QUICK: Self = Self {
        warm_up: Duration::from_millis(500),
        cpu: Duration::from_millis(700),
        longest: Duration::from_secs(6),
        rest: Duration::from_secs(2),
    };
    /// For figures that are published; the rest holds two heartbeats of 25 s.
    pub const FULL: Self = Self {
        warm_up: Duration::from_secs(1),
        cpu: Duration::from_secs(2),
        longest: Duration::from_secs(20),
        rest: TWO_HEARTBEATS,
    };
}

/// Two heartbeats of 25 s and a little more.
const TWO_HEARTBEATS: Duration = Duration::from_secs(52);

/// The server that is measured: where it listens, and its process when its cost is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whose CPU time and memory are read.
    pub process: Option<Process>,
}

/// Does one round. An error means that the round counts nothing: a message was lost, came twice or in wrong order, or a
/// connection ended.
pub fn round(scenario: Scenario, target: Target, effort: Effort) -> anyhow::Result<Measurement> {
    let mut round =
        Round { scenario, target, effort, generator: Generator::new(target.address)?, began: Instant::now() };
    match scenario {
        Scenario::Connect { clients } => connect::run(&mut round, clients),
        Scenario::Idle { clients } => idle::run(&mut round, clients),
        Scenario::Broadcast { receivers, in_flight, bytes, senders } => {
            broadcast::run(&mut round, receivers, in_flight, bytes, senders)
        }
        Scenario::Ack { clients, in_flight, bytes } => ack::run(&mut round, clients, in_flight, bytes),
    }
}

struct Round {
    scenario: Scenario,
    target: Target,
    effort: Effort,
    generator: Generator,
    /// When the counted part began.
    began: Instant,
}

/// The clocks at one moment.
struct Reading {
    server: Option<Duration>,
    generator: Duration,
    at: Instant,
}

/// What the clocks went on by.
#[derive(Clone, Copy, Default)]
struct Spent {
    server: Option<Duration>,
    generator: Duration,
    wall: Duration,
}

impl Round {
    fn read(&mut self) -> anyhow::Result<Reading> {
        let server = self.target.process.as_ref().map(Process::cpu).transpose()?;
        Ok(Reading { server, generator: thread_cpu()?, at: Instant::now() })
    }

    fn since(&mut self, before: &Reading) -> anyhow::Result<Spent> {
        let now = self.read()?;
        let server = now.server.zip(before.server).map(|(now, before)| now - before);
        Ok(Spent { server, generator: now.generator - before.generator, wall: now.at - before.at })
    }

    /// Whether what was counted suffices.
    fn enough(&self, spent: &Spent) -> bool {
        spent.server.unwrap_or(spent.wall) >= self.effort.cpu || self.began.elapsed() >= self.effort.longest
    }

    fn measurement(&self, units: u64, spent: Spent, latency: &Histogram<u64>) -> Measurement {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Measurement {
            scenario: self.scenario.to_string(),
            units,
            server_cpu_ns: spent.server.map(ns),
            generator_cpu_ns: ns(spent.generator),
            wall_ns: ns(spent.wall),
            latency: Latency::of(latency),
            memory: None,
            disordered: 0,
        }
    }
}

/// Latencies of 1 µs to 100 s.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000, 3).expect("constant bounds are valid")
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// What stays in flight while clocks are compared: reading them costs two system calls.
const BETWEEN_READINGS: Duration = Duration::from_millis(20);

/// A scenario that keeps a number of messages in flight.
trait Flow: crate::generator::Traffic {
    /// Sends as much as may be in flight.
    fn start(&mut self, network: &mut crate::generator::Network);
    /// Lets what is in flight arrive and sends no more.
    fn stop(&mut self);
    /// Whether nothing is in flight.
    fn is_drained(&self) -> bool;
    /// Forgets counts and latencies.
    fn reset(&mut self);
    /// What is still awaited, for the error.
    fn missing(&self) -> String;
}

impl Round {
    /// Keeps messages in flight until enough is counted, then waits for the last of them.
    fn flow(&mut self, flow: &mut impl Flow) -> anyhow::Result<Spent> {
        self.run_until(flow, |round, _, began| Ok(began.elapsed() >= round.effort.warm_up))?;
        flow.reset();
        let before = self.read()?;
        self.began = before.at;
        self.run_until(flow, |round, before, _| {
            let spent = round.since(before)?;
            Ok(round.enough(&spent))
        })?;
        self.since(&before)
    }

    fn run_until(
        &mut self,
        flow: &mut impl Flow,
        mut done: impl FnMut(&mut Self, &Reading, Instant) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let before = self.read()?;
        let mut looked = before.at;
        flow.start(self.generator.network());
        self.generator.network().flush()?;
        let mut stopped = false;
        while !(stopped && flow.is_drained()) {
            if let Err(error) = self.generator.step(flow) {
                return Err(error.context(flow.missing()));
            }
            if !stopped && looked.elapsed() >= BETWEEN_READINGS {
                looked = Instant::now();
                if done(self, &before, before.at)? {
                    flow.stop();
                    stopped = true;
                }
            }
        }
        Ok(())
    }
}
