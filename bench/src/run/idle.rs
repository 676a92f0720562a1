//! Connections at rest: each has sent an event and received one, and answers pings. Their memory, and what they cost
//! while nothing happens.

use anyhow::Context;

use super::{Round, TWO_HEARTBEATS, latencies};
use crate::{
    generator::Silence,
    measurement::{Figure, IDLE_CPU, MEMORY, Measurement, Resident, SLOPE},
};

/// Memory is read at these parts of all connections, as soon as they are there; the last but one is half of them.
const PARTS: [(usize, usize); 4] = [(1, 10), (1, 5), (1, 2), (1, 1)];

pub(super) fn run(round: &mut Round<'_>, clients: usize) -> anyhow::Result<Measurement> {
    let process = round.target.process.context("memory needs the server's process id")?;
    let mut memory = vec![Resident { connections: 0, bytes: process.resident()? }];
    let began = round.read()?;
    for (part, of) in PARTS {
        let connections = clients * part / of;
        round.greet_with_events(connections)?;
        round.wait_until_at_rest()?;
        memory.push(Resident { connections: connections as u64, bytes: process.resident()? });
    }
    let spent = round.since(&began)?;

    let before = round.read()?;
    round.generator.serve_for(round.effort.rest, &mut Silence)?;
    let rested = round.since(&before)?;
    let at_rest = Resident { connections: clients as u64, bytes: process.resident()? };

    // What the rest changes, it changes for all: the slope is that of two moments before it.
    let mut figures = vec![
        Figure::bytes(MEMORY, per_connection(memory.first(), Some(&at_rest))),
        Figure::bytes(SLOPE, per_connection(memory.iter().rev().nth(1), memory.last())),
    ];
    // A shorter rest has fewer heartbeats than a connection has on the average.
    if let Some(cpu) = rested.server.filter(|_| rested.wall >= TWO_HEARTBEATS) {
        figures.push(Figure::time(IDLE_CPU, cpu.div_f64(rested.wall.as_secs_f64() * clients as f64)));
    }
    Ok(Measurement { figures, memory, ..round.measurement(clients as u64, spent, &latencies()) })
}

fn per_connection(before: Option<&Resident>, after: Option<&Resident>) -> f64 {
    let (Some(before), Some(after)) = (before, after) else { return f64::NAN };
    (after.bytes as f64 - before.bytes as f64) / (after.connections - before.connections) as f64
}
