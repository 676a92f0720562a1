//! What Patio shall reach: one line a figure.
//!
//! A scenario without a line has a goal too: its CPU shall be no worse than that of the best peer.

use crate::measurement::{BACK, CPU, EMIT, FLOOR, IDLE_CPU, MEMORY, Measure, OTHERS, P99};

/// What a figure of Patio's is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Nothing: the figure itself, in nanoseconds, bytes or times.
    Itself(Measure),
    /// The limit, in the same round.
    Limit,
    /// socketioxide, in the same round.
    Socketioxide,
    /// Of socketioxide and Node the one with the better median, in the same round.
    BestPeer,
}

/// One goal.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    /// Name of the scenario.
    pub scenario: &'a str,
    /// Name of its figure.
    pub figure: &'a str,
    /// Compared with what.
    pub against: Against,
    /// Met when the median is not above it.
    pub at_most: f64,
}

const fn goal(scenario: &'static str, figure: &'static str, against: Against, at_most: f64) -> Goal<'static> {
    Goal { scenario, figure, against, at_most }
}

const MILLISECOND: f64 = 1e6;
const SECOND: f64 = 1e9;

/// All that have a figure of their own.
pub const GOALS: &[Goal<'static>] = &[
    goal("idle:10000", MEMORY, Against::Itself(Measure::Bytes), 3000.0),
    goal("idle:10000", IDLE_CPU, Against::Socketioxide, 0.45),
    goal("connect:2000", CPU, Against::Limit, 2.5),
    goal("broadcast:1000x1", CPU, Against::Limit, 1.2),
    goal("broadcast:1000x8", CPU, Against::Socketioxide, 0.65),
    goal("broadcast:5000x4", CPU, Against::Socketioxide, 0.8),
    goal("broadcast:100x32", CPU, Against::Socketioxide, 0.5),
    goal("broadcast:1000x1@16384", CPU, Against::Limit, 1.15),
    goal("ack:100x1", CPU, Against::Limit, 1.25),
    goal("ack:50x16", CPU, Against::Limit, 1.2),
    goal("ack:50x16", P99, Against::Limit, 1.3),
    goal("tail:10000", P99, Against::BestPeer, 0.9),
    goal("tail:10000", EMIT, Against::Itself(Measure::Time), 2.0 * MILLISECOND),
    goal("tail:10000", OTHERS, Against::Itself(Measure::Time), 10.0 * MILLISECOND),
    goal("storm:10000", BACK, Against::Itself(Measure::Time), 3.0 * SECOND),
    goal("cluster:200x1", CPU, Against::Socketioxide, 0.6),
    goal("cluster:2x64", CPU, Against::Socketioxide, 0.4),
    goal("waves:10000", FLOOR, Against::Itself(Measure::Times), 1.1),
];
