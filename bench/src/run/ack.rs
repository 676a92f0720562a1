//! Acks: every client keeps a number of events in flight and sends a next one for each ack.

use std::time::Instant;

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;

use super::{Flow, Round, latencies, record};
use crate::{
    generator::{Network, Traffic, clip},
    measurement::Measurement,
};

pub(super) fn run(
    round: &mut Round<'_>,
    clients: usize,
    in_flight: usize,
    bytes: usize,
) -> anyhow::Result<Measurement> {
    round.greet(clients)?;
    let mut acks = Acks::new(clients, in_flight, bytes);
    let spent = round.flow(&mut acks)?;
    Ok(round.measurement(acks.answered, spent, &acks.latencies))
}

struct Acks {
    /// `[client * in_flight + slot]`: ack id and time of each event that is not acked.
    flights: Vec<Option<(u32, Instant)>>,
    in_flight: usize,
    clients: usize,
    next: u32,
    /// `["` … `"]`: what the ack must hold, and after the event's name the event too.
    argument: String,
    packet: String,
    stopped: bool,
    waiting: usize,
    answered: u64,
    latencies: Histogram<u64>,
}

impl Acks {
    fn new(clients: usize, in_flight: usize, bytes: usize) -> Self {
        Self {
            flights: vec![None; clients * in_flight],
            in_flight,
            clients,
            next: 0,
            argument: format!("\"{}\"]", "x".repeat(bytes)),
            packet: String::new(),
            stopped: true,
            waiting: 0,
            answered: 0,
            latencies: latencies(),
        }
    }

    fn send(&mut self, network: &mut Network, client: usize, slot: usize, now: Instant) {
        use std::fmt::Write;
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.flights[client * self.in_flight + slot] = Some((id, now));
        self.waiting += 1;
        self.packet.clear();
        write!(self.packet, "42{id}[\"ack\",{}", self.argument).expect("a String takes all");
        network.send(client, &self.packet);
    }
}

impl Traffic for Acks {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        let (id, argument) = ack(text).with_context(|| format!("no ack: `{}`", clip(text)))?;
        ensure!(argument == self.argument, "ack {id} does not hold what was sent");
        let flights = &mut self.flights[client * self.in_flight..][..self.in_flight];
        let slot = flights.iter().position(|flight| matches!(flight, Some((waiting, _)) if *waiting == id));
        let slot = slot.with_context(|| format!("ack {id} came twice or was never asked for"))?;
        if let Some((_, sent)) = flights[slot].take() {
            record(&mut self.latencies, network.now.saturating_duration_since(sent));
        }
        self.waiting -= 1;
        self.answered += 1;
        if !self.stopped {
            self.send(network, client, slot, network.now);
        }
        Ok(())
    }
}

impl Flow for Acks {
    fn start(&mut self, network: &mut Network) {
        self.stopped = false;
        let now = Instant::now();
        for client in 0..self.clients {
            for slot in 0..self.in_flight {
                self.send(network, client, slot, now);
            }
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
        format!("{} events not acked", self.waiting)
    }
}

/// Id and argument of `43<id>[<argument>]`, the closing bracket with it.
pub(super) fn ack(text: &str) -> Option<(u32, &str)> {
    let (id, argument) = text.strip_prefix("43")?.split_once('[')?;
    Some((id.parse().ok()?, argument))
}
