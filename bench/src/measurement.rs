//! What one round of a scenario against one server gave.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// One round: sums and latencies of its counted part; warm-up and clean-up are outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the scenario.
    pub scenario: String,
    /// What was counted: deliveries, acks or connections.
    pub units: u64,
    /// CPU time of the server process, in nanoseconds; absent when no process id was given.
    pub server_cpu_ns: Option<u64>,
    /// CPU time of the generator's one thread, in nanoseconds.
    pub generator_cpu_ns: u64,
    /// Time of the clock on the wall, in nanoseconds.
    pub wall_ns: u64,
    /// Latencies in microseconds, from sending (or connecting) to each receipt.
    pub latency: Option<Latency>,
    /// Deliveries that a later message of the same sender had overtaken: Node and Patio have none.
    pub disordered: u64,
    /// Memory, in the scenarios that ask for it.
    pub memory: Option<Memory>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: u64,
    /// One in a hundred is slower.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// Resident memory of the server process, in bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Of the fresh process.
    pub fresh: u64,
    /// With half of the connections.
    pub half: u64,
    /// With all of them.
    pub full: u64,
    /// Number of connections.
    pub connections: u64,
    /// CPU time of the server for one connection and second at rest, in nanoseconds; absent when the rest was shorter
    /// than two heartbeats.
    pub idle_cpu_ns: Option<u64>,
}

impl Memory {
    /// `(full − fresh) / connections`.
    pub fn per_connection(&self) -> f64 {
        self.full.saturating_sub(self.fresh) as f64 / self.connections as f64
    }

    /// What each connection of the second half costs.
    pub fn slope(&self) -> f64 {
        self.full.saturating_sub(self.half) as f64 / (self.connections - self.connections / 2) as f64
    }
}

impl Measurement {
    /// The figure by which servers are compared: bytes per connection, or nanoseconds of server CPU per unit.
    pub fn figure(&self) -> Option<f64> {
        match &self.memory {
            Some(memory) => Some(memory.per_connection()),
            None => self.server_cpu_ns.map(|cpu| cpu as f64 / self.units.max(1) as f64),
        }
    }

    /// Units per second of wall clock.
    pub fn rate(&self) -> f64 {
        self.units as f64 / Duration::from_nanos(self.wall_ns).as_secs_f64()
    }

    /// One line for people.
    pub fn summary(&self, scenario: &Scenario) -> String {
        let mut line = format!("{:24}", self.scenario);
        if let Some(memory) = &self.memory {
            line += &format!(
                " {:.2} kB per connection (fresh {:.1} MB, slope of the second half {:.2} kB)",
                memory.per_connection() / 1000.0,
                memory.fresh as f64 / 1e6,
                memory.slope() / 1000.0
            );
            if let Some(idle) = memory.idle_cpu_ns {
                line += &format!(", idle {:.2} µs CPU per connection and second", idle as f64 / 1000.0);
            }
        } else if let Some(figure) = self.figure() {
            line += &format!(" {:8.3} µs server CPU per {}", figure / 1000.0, scenario.unit());
        }
        let (wall, units) = (self.wall_ns as f64, self.units as f64);
        line += &format!(
            ", {:.0} in {:.2} s ({:.0}/s), CPU: server {:.2} s, generator {:.2} s ({:.3} µs per {})",
            units,
            wall / 1e9,
            self.rate(),
            self.server_cpu_ns.unwrap_or(0) as f64 / 1e9,
            self.generator_cpu_ns as f64 / 1e9,
            self.generator_cpu_ns as f64 / 1000.0 / units,
            scenario.unit(),
        );
        if let Some(Latency { p50, p99, max }) = self.latency {
            let ms = |us: u64| us as f64 / 1000.0;
            line += &format!(", latency p50 {:.2} p99 {:.2} max {:.2} ms", ms(p50), ms(p99), ms(max));
        }
        if self.disordered > 0 {
            line += &format!(", {} out of order", self.disordered);
        }
        line
    }
}

impl Latency {
    /// The three that are reported, when there is anything.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        })
    }
}
