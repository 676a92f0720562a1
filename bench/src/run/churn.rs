//! Rooms come and go: every client joins a room and leaves it, over and over, and waits for each answer.

use std::time::Instant;

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;

use super::{Flow, Round, ack::ack, latencies, record};
use crate::{
    generator::{Network, Traffic, clip},
    measurement::Measurement,
};

pub(super) fn run(round: &mut Round<'_>, clients: usize, in_flight: usize) -> anyhow::Result<Measurement> {
    round.greet(clients)?;
    let mut churn = Churn {
        slots: vec![None; clients * in_flight],
        in_flight,
        packet: String::new(),
        stopped: true,
        waiting: 0,
        answered: 0,
        latencies: latencies(),
    };
    let spent = round.flow(&mut churn)?;
    Ok(round.measurement(churn.answered, spent, &churn.latencies))
}

/// Rooms that are joined and left: each has some members at any time.
const ROOMS: usize = 500;

struct Churn {
    /// `[client * in_flight + slot]`: what the client asked for last in this slot.
    slots: Vec<Option<Asked>>,
    in_flight: usize,
    packet: String,
    stopped: bool,
    waiting: usize,
    answered: u64,
    latencies: Histogram<u64>,
}

#[derive(Clone, Copy)]
struct Asked {
    joins: bool,
    waits: bool,
    at: Instant,
}

impl Churn {
    fn send(&mut self, network: &mut Network, at: usize, now: Instant) {
        use std::fmt::Write;
        let joins = self.slots[at].is_none_or(|asked| !asked.joins);
        self.slots[at] = Some(Asked { joins, waits: true, at: now });
        self.waiting += 1;
        let (event, slot) = (if joins { "join" } else { "leave" }, at % self.in_flight);
        self.packet.clear();
        write!(self.packet, "42{slot}[\"{event}\",\"churn {}\"]", at % ROOMS).expect("a String takes all");
        network.send(at / self.in_flight, &self.packet);
    }
}

impl Traffic for Churn {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        let (slot, argument) = ack(text).with_context(|| format!("no ack: `{}`", clip(text)))?;
        ensure!(argument == "true]", "ack {slot} does not say that it was done");
        ensure!((slot as usize) < self.in_flight, "ack {slot} was never asked for");
        let at = client * self.in_flight + slot as usize;
        let asked = self.slots.get_mut(at).and_then(Option::as_mut).filter(|asked| asked.waits);
        let asked = asked.with_context(|| format!("ack {slot} came twice or was never asked for"))?;
        asked.waits = false;
        record(&mut self.latencies, network.now.saturating_duration_since(asked.at));
        self.waiting -= 1;
        self.answered += 1;
        if !self.stopped {
            self.send(network, at, network.now);
        }
        Ok(())
    }
}

impl Flow for Churn {
    fn start(&mut self, network: &mut Network) {
        self.stopped = false;
        let now = Instant::now();
        for at in 0..self.slots.len() {
            self.send(network, at, now);
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn is_drained(&self) -> bool {
        self.waiting == 0
    }

    fn reset(&mut self) {
        self.answered = 0;
        self.latencies.reset();
    }

    fn missing(&self) -> String {
        format!("{} joins or leaves not acked", self.waiting)
    }
}
