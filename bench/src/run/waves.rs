//! Memory after bursts: all clients come, each sends an event, and all go; five times. Nobody asks the server to give
//! memory back.

use std::time::Duration;

use anyhow::Context;

use super::{Round, latencies};
use crate::{
    generator::Silence,
    measurement::{FLOOR, Figure, Measurement, Resident},
};

const WAVES: usize = 5;
/// After the last connection has been cleaned up, before memory is read: allocators give back what they do with some
/// delay.
const REST: Duration = Duration::from_secs(3);

pub(super) fn run(round: &mut Round<'_>, clients: usize) -> anyhow::Result<Measurement> {
    let process = round.target.process.context("memory needs the server's process id")?;
    let mut memory = vec![Resident { connections: 0, bytes: process.resident()? }];
    let began = round.read()?;
    for _ in 0..WAVES {
        round.greet(clients)?;
        round.generator.network().close_all();
        round.wait_until_at_rest()?;
        round.generator.serve_for(REST.min(round.effort.rest), &mut Silence)?;
        memory.push(Resident { connections: 0, bytes: process.resident()? });
    }
    let spent = round.since(&began)?;
    let floor = |wave: usize| memory.get(wave).map_or(f64::NAN, |memory| memory.bytes as f64);
    let figures = vec![
        Figure::times(FLOOR, floor(WAVES) / floor(1)),
        Figure::bytes("memory after the fifth, above a fresh process", floor(WAVES) - floor(0)),
    ];
    Ok(Measurement { figures, memory, ..round.measurement((clients * WAVES) as u64, spent, &latencies()) })
}
