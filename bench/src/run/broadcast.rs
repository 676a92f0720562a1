//! Broadcasts: one sends, all in the room receive, the sender too; a next one leaves when all have it.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;

use super::{Flow, Round, latencies, record};
use crate::{
    generator::{Network, Silence, Traffic, clip},
    measurement::Measurement,
};

pub(super) fn run(
    round: &mut Round,
    receivers: usize,
    in_flight: usize,
    bytes: usize,
    senders: usize,
) -> anyhow::Result<Measurement> {
    round.generator.open(receivers, &mut Silence)?;
    let mut broadcast = Broadcast::new(receivers, in_flight, bytes, senders);
    let spent = round.flow(&mut broadcast)?;
    Ok(round.measurement(broadcast.deliveries, spent, &broadcast.latencies))
}

/// Every receiver must get every broadcast of every sender once and in order.
struct Broadcast {
    receivers: usize,
    senders: Vec<Sender>,
    /// Number of the next broadcast that a receiver must get: `[receiver * senders + sender]`.
    expected: Vec<u32>,
    /// What follows sender and number in the argument, with the end of the packet.
    filler: String,
    packet: String,
    stopped: bool,
    deliveries: u64,
    latencies: Histogram<u64>,
}

/// Client 0, 1, …: the first ones send.
struct Sender {
    /// Number of the next broadcast.
    next: u32,
    /// What is in flight, at `number % len`.
    flights: Vec<Flight>,
}

#[derive(Clone, Copy)]
struct Flight {
    sent: Instant,
    /// Receivers that have not got it.
    missing: usize,
}

const HEAD: &str = "42[\"b\",\"";
/// Two hexadecimal digits of the sender and eight of the number.
const MARK: usize = 10;

impl Broadcast {
    fn new(receivers: usize, in_flight: usize, bytes: usize, senders: usize) -> Self {
        let flights = vec![Flight { sent: Instant::now(), missing: 0 }; in_flight / senders];
        Self {
            receivers,
            senders: (0..senders).map(|_| Sender { next: 0, flights: flights.clone() }).collect(),
            expected: vec![0; receivers * senders],
            filler: format!("{}\"]", "x".repeat(bytes - MARK)),
            packet: String::new(),
            stopped: true,
            deliveries: 0,
            latencies: latencies(),
        }
    }

    fn send(&mut self, network: &mut Network, sender: usize, now: Instant) {
        use std::fmt::Write;
        let number = self.senders[sender].next;
        self.senders[sender].next += 1;
        let slot = number as usize % self.senders[sender].flights.len();
        self.senders[sender].flights[slot] = Flight { sent: now, missing: self.receivers };
        self.packet.clear();
        write!(self.packet, "{HEAD}{sender:02x}{number:08x}{}", self.filler).expect("a String takes all");
        network.send(sender, &self.packet);
    }
}

impl Traffic for Broadcast {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        let (sender, number) = mark(text).with_context(|| format!("not ours: `{}`", clip(text)))?;
        ensure!(sender < self.senders.len(), "from sender {sender}, whom there is not");
        ensure!(text[HEAD.len() + MARK..] == *self.filler, "broadcast {number} came mutilated");
        let expected = &mut self.expected[client * self.senders.len() + sender];
        if number != *expected {
            bail!("LOST OR DISORDERED: broadcast {number} of sender {sender} came instead of {expected}");
        }
        *expected += 1;
        self.deliveries += 1;
        let flights = &mut self.senders[sender].flights;
        let slot = number as usize % flights.len();
        let flight = &mut flights[slot];
        flight.missing -= 1;
        record(&mut self.latencies, network.now.saturating_duration_since(flight.sent));
        if flight.missing == 0 && !self.stopped {
            self.send(network, sender, network.now);
        }
        Ok(())
    }
}

impl Flow for Broadcast {
    fn start(&mut self, network: &mut Network) {
        self.stopped = false;
        let now = Instant::now();
        for sender in 0..self.senders.len() {
            for _ in 0..self.senders[sender].flights.len() {
                self.send(network, sender, now);
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn is_drained(&self) -> bool {
        self.senders.iter().all(|sender| sender.flights.iter().all(|flight| flight.missing == 0))
    }

    fn reset(&mut self) {
        self.deliveries = 0;
        self.latencies.reset();
    }

    fn missing(&self) -> String {
        let flights = self.senders.iter().flat_map(|sender| &sender.flights);
        let (broadcasts, deliveries) = flights
            .filter(|flight| flight.missing > 0)
            .fold((0, 0), |(n, missing), flight| (n + 1, missing + flight.missing));
        format!("{broadcasts} broadcasts in flight, {deliveries} deliveries not yet made")
    }
}

/// Sender and number of a broadcast.
fn mark(text: &str) -> Option<(usize, u32)> {
    let rest = text.strip_prefix(HEAD)?;
    let sender = usize::from_str_radix(rest.get(..2)?, 16).ok()?;
    Some((sender, u32::from_str_radix(rest.get(2..MARK)?, 16).ok()?))
}
