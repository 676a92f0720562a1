//! Memory of connections at rest: each has sent an event and received its ack, and answers pings.

use anyhow::Context;

use super::{Round, TWO_HEARTBEATS, latencies};
use crate::{
    generator::Silence,
    measurement::{Measurement, Memory},
};

pub(super) fn run(round: &mut Round, clients: usize) -> anyhow::Result<Measurement> {
    let process = round.target.process.context("memory needs the server's process id")?;
    let fresh = process.resident()?;
    let began = round.read()?;
    round.greet(clients / 2)?;
    round.wait_until_at_rest()?;
    let half = process.resident()?;
    round.greet(clients)?;
    let spent = round.since(&began)?;
    round.wait_until_at_rest()?;

    let before = round.read()?;
    round.generator.serve_for(round.effort.rest, &mut Silence)?;
    let rested = round.since(&before)?;
    let full = process.resident()?;
    let idle_cpu_ns = rested.server.filter(|_| rested.wall >= TWO_HEARTBEATS).map(|cpu| {
        let seconds = rested.wall.as_secs_f64();
        (cpu.as_nanos() as f64 / seconds / clients as f64) as u64
    });
    Ok(Measurement {
        memory: Some(Memory { fresh, half, full, connections: clients as u64, idle_cpu_ns }),
        ..round.measurement(clients as u64, spent, &latencies())
    })
}
