//! Connections: waves of clients connect and leave; what the server spends until all are in the namespace is counted.

use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;

use super::{Round, Spent, latencies, record};
use crate::{
    generator::{Network, Silence, Traffic, Way, clip},
    measurement::Measurement,
};

pub(super) fn run(round: &mut Round<'_>, clients: usize, way: Way) -> anyhow::Result<Measurement> {
    wave(round, clients, way, &mut Arrivals::new())?;
    let mut arrivals = Arrivals::new();
    let mut sum = Spent::default();
    let mut units = 0;
    round.began = Instant::now();
    while units == 0 || !round.enough(&sum) {
        sum = sum + wave(round, clients, way, &mut arrivals)?;
        units += clients as u64;
    }
    Ok(round.measurement(units, sum, &arrivals.latencies))
}

/// All come, which is counted, and all go, which is not.
fn wave(round: &mut Round<'_>, clients: usize, way: Way, arrivals: &mut Arrivals) -> anyhow::Result<Spent> {
    let before = round.read()?;
    round.generator.open(clients, way, arrivals)?;
    let spent = round.since(&before)?;
    round.generator.network().close_all();
    round.wait_until_at_rest()?;
    Ok(spent)
}

impl Round<'_> {
    /// Until the server has nothing more to do, for example with connections that have ended; some seconds at most.
    pub(super) fn wait_until_at_rest(&mut self) -> anyhow::Result<()> {
        const LOOK: Duration = Duration::from_millis(40);
        for _ in 0..50 {
            let before = self.read()?;
            self.generator.serve_for(LOOK, &mut Silence)?;
            if self.since(&before)?.server.is_none_or(|spent| spent < LOOK / 40) {
                break;
            }
        }
        Ok(())
    }
}

/// Notes how long each client took to be in the namespace.
pub(super) struct Arrivals {
    pub(super) latencies: Histogram<u64>,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self { latencies: latencies() }
    }
}

impl Traffic for Arrivals {
    fn connected(&mut self, network: &mut Network, client: usize) -> anyhow::Result<()> {
        record(&mut self.latencies, network.now.saturating_duration_since(network.begun(client)));
        Ok(())
    }

    fn packet(&mut self, _: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        bail!("client {client} got `{}` while connecting", clip(text))
    }
}
