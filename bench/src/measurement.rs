//! What one round of a scenario against one server gave.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// One round: its figures, and the sums of its counted part; warm-up and clean-up are outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// By what servers are compared. The first is what the scenario is about.
    pub figures: Vec<Figure>,
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
    /// Resident memory of the server process with so many connections, beginning with none.
    pub memory: Vec<Resident>,
}

/// One figure of a round: the smaller, the better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name in tables and goals.
    pub name: String,
    /// What `value` is.
    pub measure: Measure,
    /// The figure itself.
    pub value: f64,
}

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// How many times something else.
    Times,
}

impl Measure {
    /// The value with a unit that suits its size.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Time if value >= 1e9 => format!("{:.2} s", value / 1e9),
            Self::Time if value >= 1e6 => format!("{:.2} ms", value / 1e6),
            Self::Time => format!("{:.3} µs", value / 1e3),
            Self::Bytes if value.abs() >= 1e6 => format!("{:.1} MB", value / 1e6),
            Self::Bytes => format!("{:.2} kB", value / 1e3),
            Self::Times => format!("{value:.2}×"),
        }
    }
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

/// Resident memory at one moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Resident {
    /// Connections that were open.
    pub connections: u64,
    /// Bytes.
    pub bytes: u64,
}

/// CPU time of the server for one unit: the figure of most scenarios.
pub const CPU: &str = "CPU";
/// The latency that one in a hundred exceeds.
pub const P99: &str = "p99";
/// Resident memory of one connection: (with all − fresh) / number.
pub const MEMORY: &str = "memory";
/// Resident memory of one connection of the second half.
pub const SLOPE: &str = "memory, second half";
/// CPU time for one connection and second at rest, heartbeats included.
pub const IDLE_CPU: &str = "CPU at rest, per second";
/// Until all clients are back.
pub const BACK: &str = "until all are back";
/// How long the slowest `emit` of a round takes.
pub const EMIT: &str = "slowest emit";
/// p99 of the acks that others ask for while a broadcast is on its way.
pub const OTHERS: &str = "p99 of others' acks";
/// Memory left by the last wave, as a multiple of what the first left.
pub const FLOOR: &str = "memory after the fifth ÷ after the first";

impl Figure {
    /// A time.
    pub fn time(name: &str, time: Duration) -> Self {
        Self { name: name.into(), measure: Measure::Time, value: time.as_nanos() as f64 }
    }

    /// A size.
    pub fn bytes(name: &str, value: f64) -> Self {
        Self { name: name.into(), measure: Measure::Bytes, value }
    }

    /// A factor.
    pub fn times(name: &str, value: f64) -> Self {
        Self { name: name.into(), measure: Measure::Times, value }
    }
}

impl Measurement {
    /// The figure of this name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// Units per second of wall clock.
    pub fn rate(&self) -> f64 {
        self.units as f64 / Duration::from_nanos(self.wall_ns).as_secs_f64()
    }

    /// One line for people.
    pub fn summary(&self, scenario: &Scenario) -> String {
        let mut line = format!("{:24}", scenario.to_string());
        for Figure { name, measure, value } in &self.figures {
            line += &format!(" {name} {},", measure.show(*value));
        }
        let (wall, units) = (self.wall_ns as f64, self.units as f64);
        line += &format!(
            " {units:.0} × {} in {:.2} s ({:.0}/s), CPU: server {:.2} s, generator {:.2} s ({:.3} µs each)",
            scenario.unit(),
            wall / 1e9,
            self.rate(),
            self.server_cpu_ns.unwrap_or(0) as f64 / 1e9,
            self.generator_cpu_ns as f64 / 1e9,
            self.generator_cpu_ns as f64 / 1000.0 / units,
        );
        if let Some(Latency { p50, p99, max }) = self.latency {
            let ms = |us: u64| us as f64 / 1000.0;
            line += &format!(", latency p50 {:.2} p99 {:.2} max {:.2} ms", ms(p50), ms(p99), ms(max));
        }
        if let Some(first) = self.memory.first() {
            line += &format!(", fresh process {}", Measure::Bytes.show(first.bytes as f64));
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
