//! Memory of connections at rest: each has sent an event and received its ack, and answers pings.

use anyhow::{Context, ensure};

use super::{Round, TWO_HEARTBEATS, latencies};
use crate::{
    generator::{Network, Traffic, clip},
    measurement::{Measurement, Memory},
};

pub(super) fn run(round: &mut Round, clients: usize) -> anyhow::Result<Measurement> {
    let process = round.target.process.context("memory needs the server's process id")?;
    let fresh = process.resident()?;
    let began = round.read()?;
    let mut greetings = Greetings { acked: 0 };
    greet(round, clients / 2, &mut greetings)?;
    round.wait_until_at_rest()?;
    let half = process.resident()?;
    greet(round, clients, &mut greetings)?;
    let spent = round.since(&began)?;
    round.wait_until_at_rest()?;

    let before = round.read()?;
    round.generator.serve_for(round.effort.rest, &mut greetings)?;
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

fn greet(round: &mut Round, clients: usize, greetings: &mut Greetings) -> anyhow::Result<()> {
    round.generator.open(clients, greetings)?;
    while greetings.acked < clients {
        round.generator.step(greetings)?;
    }
    Ok(())
}

/// One event each way.
struct Greetings {
    acked: usize,
}

impl Traffic for Greetings {
    fn connected(&mut self, network: &mut Network, client: usize) -> anyhow::Result<()> {
        network.send(client, "420[\"ack\",\"hello\"]");
        Ok(())
    }

    fn packet(&mut self, _: &mut Network, _: usize, text: &str) -> anyhow::Result<()> {
        ensure!(text == "430[\"hello\"]", "not the ack: `{}`", clip(text));
        self.acked += 1;
        Ok(())
    }
}
