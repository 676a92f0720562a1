//! One round of a scenario against one server: connect, warm up, measure, drain, leave.

mod ack;
mod broadcast;
mod churn;
mod connect;
mod directed;
mod greet;
mod idle;
mod storm;
mod tail;
mod waves;

use std::{
    net::SocketAddr,
    ops::Add,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    generator::{Generator, Way},
    measurement::{CPU, Figure, Latency, Measurement, P99},
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
    /// The other one of a cluster. CPU time is that of both.
    pub second: Option<(SocketAddr, Process)>,
}

impl Target {
    /// A server that stands alone.
    pub fn alone(address: SocketAddr, process: Option<Process>) -> Self {
        Self { address, process, second: None }
    }

    fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        let first = self.process.as_ref().map(Process::cpu).transpose()?;
        let second = self.second.as_ref().map(|(_, process)| process.cpu()).transpose()?;
        Ok(first.map(|first| first + second.unwrap_or_default()))
    }
}

/// Who can start the server anew.
pub trait Host {
    /// Ends the server's process and starts a fresh one at the same address.
    fn restart(&mut self) -> anyhow::Result<Target>;
}

/// Does one round. An error means that the round counts nothing: a message was lost, came twice or in wrong order, or a
/// connection ended.
pub fn round(
    scenario: Scenario,
    target: Target,
    effort: Effort,
    host: &mut dyn Host,
) -> anyhow::Result<Measurement> {
    let mut generator = Generator::new(target.address)?;
    if let Some((second, _)) = target.second {
        generator.network().alternate(second, scenario.together());
    }
    let mut round = Round { target, effort, generator, host, began: Instant::now() };
    let round = &mut round;
    match scenario {
        Scenario::Connect { clients } => connect::run(round, clients, Way::WebSocket),
        Scenario::Upgrade { clients } => connect::run(round, clients, Way::Upgrade),
        Scenario::Idle { clients, .. } => idle::run(round, clients),
        Scenario::Broadcast { receivers, in_flight, bytes, senders, binary } => {
            broadcast::run(round, &broadcast::Shape { receivers, in_flight, bytes, senders, binary })
        }
        Scenario::Cluster { receivers, in_flight } => {
            let shape = broadcast::Shape { receivers, in_flight, bytes: 128, senders: 1, binary: false };
            broadcast::run(round, &shape)
        }
        Scenario::Rooms { rooms, members } | Scenario::ClusterRooms { rooms, members } => {
            directed::rooms(round, rooms, members)
        }
        Scenario::Ack { clients, in_flight, bytes } => ack::run(round, clients, in_flight, bytes),
        Scenario::Single { clients, in_flight } => directed::single(round, clients, in_flight),
        Scenario::Churn { clients, in_flight } => churn::run(round, clients, in_flight),
        Scenario::Mixed { clients } => directed::mixed(round, clients),
        Scenario::Storm { clients } => storm::run(round, clients),
        Scenario::Tail { receivers } => tail::run(round, receivers),
        Scenario::Waves { clients } => waves::run(round, clients),
    }
}

struct Round<'h> {
    target: Target,
    effort: Effort,
    generator: Generator,
    host: &'h mut dyn Host,
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

impl Add for Spent {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        let server = match (self.server, more.server) {
            (Some(spent), Some(more)) => Some(spent + more),
            (spent, more) => spent.or(more),
        };
        Self { server, generator: self.generator + more.generator, wall: self.wall + more.wall }
    }
}

impl Round<'_> {
    fn read(&mut self) -> anyhow::Result<Reading> {
        let server = self.target.cpu()?;
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

    /// What was counted, with the figures that most scenarios have.
    fn measurement(&self, units: u64, spent: Spent, latency: &Histogram<u64>) -> Measurement {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let latency = Latency::of(latency);
        let cpu = spent.server.map(|cpu| Figure::time(CPU, cpu.div_f64(units.max(1) as f64)));
        let p99 = latency.map(|latency| Figure::time(P99, Duration::from_micros(latency.p99)));
        Measurement {
            figures: cpu.into_iter().chain(p99).collect(),
            units,
            server_cpu_ns: spent.server.map(ns),
            generator_cpu_ns: ns(spent.generator),
            wall_ns: ns(spent.wall),
            latency,
            disordered: 0,
            memory: Vec::new(),
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

impl Round<'_> {
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
