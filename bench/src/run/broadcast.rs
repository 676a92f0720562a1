//! Broadcasts: one sends, all in the room receive, the sender too; a next one leaves when all have it.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use patio_proto::ws;

use super::{Flow, Round, latencies, record};
use crate::{
    generator::{Network, Traffic, clip},
    measurement::Measurement,
};

/// Shape of the broadcasts.
pub(super) struct Shape {
    pub(super) receivers: usize,
    pub(super) in_flight: usize,
    pub(super) bytes: usize,
    pub(super) senders: usize,
    pub(super) binary: bool,
}

pub(super) fn run(round: &mut Round<'_>, shape: &Shape) -> anyhow::Result<Measurement> {
    round.greet(shape.receivers)?;
    let mut broadcast = Broadcast::new(shape);
    let spent = round.flow(&mut broadcast)?;
    Ok(Measurement {
        disordered: broadcast.disordered,
        ..round.measurement(broadcast.deliveries, spent, &broadcast.latencies)
    })
}

/// Every receiver must get every broadcast of every sender exactly once. In order, too: what was overtaken is counted.
struct Broadcast {
    receivers: usize,
    senders: Vec<Sender>,
    /// What each receiver has of each sender: `[receiver * senders + sender]`.
    seen: Vec<Seen>,
    /// What follows sender and number in the argument.
    filler: Vec<u8>,
    /// Whether the argument is an attachment.
    binary: bool,
    argument: Vec<u8>,
    packet: String,
    stopped: bool,
    deliveries: u64,
    disordered: u64,
    latencies: Histogram<u64>,
}

/// Client 0, 1, …: the first ones send.
struct Sender {
    /// Number of the next broadcast.
    next: u32,
    /// What is in flight, in any order.
    flights: Vec<Flight>,
}

#[derive(Clone, Copy)]
struct Flight {
    number: u32,
    sent: Instant,
    /// Receivers that have not got it.
    missing: usize,
}

/// Which broadcasts of one sender a receiver has.
#[derive(Clone, Default)]
struct Seen {
    /// All before this number.
    below: u32,
    /// And these, which have overtaken others. While one is held up, the others in flight go on and on.
    ahead: BTreeSet<u32>,
}

impl Seen {
    /// Notes one more: whether it came in order; nothing when it came twice.
    fn note(&mut self, number: u32) -> Option<bool> {
        if number == self.below && self.ahead.is_empty() {
            self.below += 1;
            return Some(true);
        }
        if number < self.below || !self.ahead.insert(number) {
            return None;
        }
        while self.ahead.remove(&self.below) {
            self.below += 1;
        }
        Some(false)
    }
}

/// What stands before a text, and behind it.
const HEAD: &str = "42[\"b\",\"";
const FOOT: &str = "\"]";
/// The packet whose attachment follows.
const BINARY: &str = "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]";
/// Two hexadecimal digits of the sender and eight of the number.
const MARK: usize = 10;

impl Broadcast {
    fn new(&Shape { receivers, in_flight, bytes, senders, binary }: &Shape) -> Self {
        let flights = vec![Flight { number: 0, sent: Instant::now(), missing: 0 }; in_flight / senders];
        Self {
            receivers,
            senders: (0..senders).map(|_| Sender { next: 0, flights: flights.clone() }).collect(),
            seen: vec![Seen::default(); receivers * senders],
            filler: vec![b'x'; bytes - MARK],
            binary,
            argument: Vec::new(),
            packet: String::new(),
            stopped: true,
            deliveries: 0,
            disordered: 0,
            latencies: latencies(),
        }
    }

    fn send(&mut self, network: &mut Network, sender: usize, slot: usize, now: Instant) {
        use std::{fmt::Write as _, io::Write as _};
        let number = self.senders[sender].next;
        self.senders[sender].next += 1;
        self.senders[sender].flights[slot] = Flight { number, sent: now, missing: self.receivers };
        self.argument.clear();
        write!(self.argument, "{sender:02x}{number:08x}").expect("a Vec takes all");
        self.argument.extend_from_slice(&self.filler);
        if self.binary {
            network.send(sender, BINARY);
            network.send_frame(sender, ws::Opcode::Binary, &self.argument);
        } else {
            let text = std::str::from_utf8(&self.argument).expect("it was written as text");
            self.packet.clear();
            write!(self.packet, "{HEAD}{text}{FOOT}").expect("a String takes all");
            network.send(sender, &self.packet);
        }
    }

    /// One delivery.
    fn arrived(&mut self, network: &mut Network, client: usize, argument: &[u8]) -> anyhow::Result<()> {
        let (sender, number) =
            mark(argument).with_context(|| format!("not ours: {} bytes", argument.len()))?;
        ensure!(sender < self.senders.len(), "from sender {sender}, whom there is not");
        ensure!(argument[MARK..] == *self.filler, "broadcast {number} came mutilated");
        match self.seen[client * self.senders.len() + sender].note(number) {
            Some(true) => {}
            Some(false) => self.disordered += 1,
            None => bail!("DOUBLED: broadcast {number} of sender {sender} came again"),
        }
        self.deliveries += 1;
        let flights = &mut self.senders[sender].flights;
        let slot = flights.iter().position(|flight| flight.number == number && flight.missing > 0);
        let slot = slot.with_context(|| format!("broadcast {number} is not in flight"))?;
        let flight = &mut flights[slot];
        flight.missing -= 1;
        record(&mut self.latencies, network.now.saturating_duration_since(flight.sent));
        if flight.missing == 0 && !self.stopped {
            self.send(network, sender, slot, network.now);
        }
        Ok(())
    }
}

impl Traffic for Broadcast {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        if self.binary {
            ensure!(text == BINARY, "not ours: `{}`", clip(text));
            return Ok(());
        }
        let argument = text.strip_prefix(HEAD).and_then(|rest| rest.strip_suffix(FOOT));
        let argument = argument.with_context(|| format!("not ours: `{}`", clip(text)))?;
        self.arrived(network, client, argument.as_bytes())
    }

    fn attachment(&mut self, network: &mut Network, client: usize, data: &[u8]) -> anyhow::Result<()> {
        ensure!(self.binary, "nobody sent an attachment");
        self.arrived(network, client, data)
    }
}

impl Flow for Broadcast {
    fn start(&mut self, network: &mut Network) {
        self.stopped = false;
        let now = Instant::now();
        for sender in 0..self.senders.len() {
            for slot in 0..self.senders[sender].flights.len() {
                self.send(network, sender, slot, now);
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
        self.disordered = 0;
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
fn mark(argument: &[u8]) -> Option<(usize, u32)> {
    let text = std::str::from_utf8(argument.get(..MARK)?).ok()?;
    Some((usize::from_str_radix(text.get(..2)?, 16).ok()?, u32::from_str_radix(text.get(2..)?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;

    #[test]
    fn each_number_counts_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(0), Some(true));
        assert_eq!(seen.note(2), Some(false), "overtook 1");
        assert_eq!(seen.note(2), None, "twice");
        assert_eq!(seen.note(1), Some(false), "was overtaken");
        assert_eq!(seen.note(1), None, "twice");
        assert_eq!(seen.note(3), Some(true));
        for number in (4..200).rev() {
            assert_eq!(seen.note(number), Some(false), "{number}");
        }
        assert_eq!(seen.note(200), Some(true));
    }

    #[test]
    fn what_is_lost_or_doubled_is_noticed() {
        let mut generator = Generator::new("127.0.0.1:9".parse().unwrap()).unwrap();
        let network = generator.network();
        let mut broadcast =
            Broadcast::new(&Shape { receivers: 2, in_flight: 1, bytes: 128, senders: 1, binary: false });
        broadcast.start(network);
        let first = broadcast.packet.clone();
        broadcast.packet(network, 0, &first).unwrap();
        assert!(broadcast.packet(network, 0, &first).is_err(), "client 0 has it already");
        broadcast.stop();
        assert!(!broadcast.is_drained(), "client 1 has not got it");
        assert!(broadcast.packet(network, 1, &first.replace("xx", "xy")).is_err(), "mutilated");
        broadcast.packet(network, 1, &first).unwrap();
        assert!(broadcast.is_drained());
        assert_eq!(broadcast.deliveries, 2);
    }

    #[test]
    fn a_mark_is_read() {
        assert_eq!(mark(b"0a000000ffxx"), Some((10, 255)));
        assert_eq!(mark("éééééé".as_bytes()), None);
        assert_eq!(mark(b"0a"), None);
    }
}
