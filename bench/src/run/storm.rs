//! After a restart: all clients are connected, the server's process is ended and started anew at the same address, and
//! all clients come back at once.

use std::time::Instant;

use super::{Round, connect::Arrivals};
use crate::{
    generator::Generator,
    measurement::{BACK, Figure, Measurement},
};

pub(super) fn run(round: &mut Round<'_>, clients: usize) -> anyhow::Result<Measurement> {
    round.greet(clients)?;
    round.target = round.host.restart()?;
    // The old ones have ended with the process.
    round.generator = Generator::new(round.target.address)?;
    let mut arrivals = Arrivals::new();
    let before = round.read()?;
    let began = Instant::now();
    round.generator.open_at_once(clients, &mut arrivals)?;
    let back = began.elapsed();
    let spent = round.since(&before)?;
    let mut measurement = round.measurement(clients as u64, spent, &arrivals.latencies);
    measurement.figures.insert(0, Figure::time(BACK, back));
    Ok(measurement)
}
