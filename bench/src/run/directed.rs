//! Emits to few: to rooms of some members, and to single sockets by their ids; and the mixed load, in which those who
//! emit to their rooms also ask for acks.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;

use super::{Flow, Round, ack::ack, latencies, record};
use crate::{
    generator::{Network, Traffic, clip},
    measurement::Measurement,
    scenario::ROOMS_IN_FLIGHT,
};

/// Every socket in one room.
pub(super) fn rooms(round: &mut Round<'_>, rooms: usize, members: usize) -> anyhow::Result<Measurement> {
    let name = |room: usize| format!("room {room}");
    round.greet_in_rooms(rooms * members, |client| name(client / members))?;
    let groups = (0..rooms).map(|room| Group {
        name: name(room),
        first: room * members,
        members,
        sender: room * members,
    });
    run(round, groups.collect(), ROOMS_IN_FLIGHT.min(rooms), Turns::Others)
}

/// A socket's id is a room of one.
pub(super) fn single(round: &mut Round<'_>, clients: usize, in_flight: usize) -> anyhow::Result<Measurement> {
    round.greet(clients)?;
    let network = round.generator.network();
    let groups = (0..clients).map(|client| Group {
        name: network.sid(client).to_owned(),
        first: client,
        members: 1,
        sender: (client + 1) % clients,
    });
    let groups = groups.collect();
    run(round, groups, in_flight, Turns::Others)
}

/// One connection in twenty is active, in a room of ten.
pub(super) fn mixed(round: &mut Round<'_>, clients: usize) -> anyhow::Result<Measurement> {
    const MEMBERS: usize = 10;
    let name = |room: usize| format!("team {room}");
    round.greet_in_rooms(clients, |client| name(client / MEMBERS))?;
    let active = clients / 20;
    let groups = (0..active).map(|active| {
        let sender = active * 20;
        Group { name: name(sender / MEMBERS), first: sender, members: MEMBERS, sender }
    });
    run(round, groups.collect(), active, Turns::OwnAndAcks)
}

fn run(
    round: &mut Round<'_>,
    groups: Vec<Group>,
    in_flight: usize,
    turns: Turns,
) -> anyhow::Result<Measurement> {
    let slots = (0..in_flight).map(|slot| Slot { group: slot, ..Slot::default() }).collect();
    let mut directed = Directed {
        groups,
        slots,
        turns,
        packet: String::new(),
        stopped: true,
        arrived: 0,
        latencies: latencies(),
    };
    let spent = round.flow(&mut directed)?;
    Ok(round.measurement(directed.arrived, spent, &directed.latencies))
}

/// Who gets an emit.
struct Group {
    name: String,
    first: usize,
    /// At most 64: a slot has a bit for each.
    members: usize,
    /// Who asks for it.
    sender: usize,
}

/// What a slot does next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turns {
    /// An emit to another group.
    Others,
    /// An emit to its own group and an ack, in turn.
    OwnAndAcks,
}

/// Something that is on its way.
#[derive(Default)]
struct Slot {
    group: usize,
    number: u32,
    sent: Option<Instant>,
    /// Bits of the members who have not got it.
    missing: u64,
    /// It is an ack that is awaited.
    asks: bool,
}

struct Directed {
    groups: Vec<Group>,
    slots: Vec<Slot>,
    turns: Turns,
    packet: String,
    stopped: bool,
    arrived: u64,
    latencies: Histogram<u64>,
}

const HEAD: &str = "42[\"b\",\"";
/// Four hexadecimal digits of the slot and eight of the number.
const MARK: usize = 12;
/// With the mark 128 bytes.
const FILLER: &str = concat!(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
);

impl Directed {
    fn send(&mut self, network: &mut Network, at: usize, now: Instant) {
        use std::fmt::Write;
        let slots = self.slots.len();
        let slot = &mut self.slots[at];
        slot.number += 1;
        slot.sent = Some(now);
        match self.turns {
            Turns::Others => slot.group = (slot.group + slots) % self.groups.len(),
            Turns::OwnAndAcks => slot.asks = !slot.asks,
        }
        let group = &self.groups[slot.group];
        let argument = format_args!("{at:04x}{:08x}{FILLER}", slot.number);
        self.packet.clear();
        if slot.asks {
            slot.missing = 1;
            write!(self.packet, "42{at}[\"ack\",\"{argument}\"]")
        } else {
            slot.missing = u64::MAX >> (u64::BITS as usize - group.members);
            write!(self.packet, "42[\"to\",\"{}\",\"{argument}\"]", group.name)
        }
        .expect("a String takes all");
        network.send(group.sender, &self.packet);
    }

    /// Client `client` got `argument`, by which it is known what it is.
    fn took(
        &mut self,
        network: &mut Network,
        client: usize,
        argument: &str,
        asked: bool,
    ) -> anyhow::Result<()> {
        let (at, number) = mark(argument).with_context(|| format!("not ours: `{}`", clip(argument)))?;
        ensure!(argument.get(MARK..) == Some(FILLER), "{number} of {at} came mutilated");
        let slot = self.slots.get_mut(at).with_context(|| format!("there is no slot {at}"))?;
        let group = &self.groups[slot.group];
        let member = if asked { client.checked_sub(group.sender) } else { client.checked_sub(group.first) };
        let bit = member.and_then(|member| 1u64.checked_shl(u32::try_from(member).ok()?)).unwrap_or(0);
        if slot.number != number || slot.asks != asked || slot.missing & bit == 0 {
            bail!("DOUBLED OR ASTRAY: {number} of slot {at} came to client {client}");
        }
        slot.missing &= !bit;
        self.arrived += 1;
        if let Some(sent) = slot.sent {
            record(&mut self.latencies, network.now.saturating_duration_since(sent));
        }
        if slot.missing == 0 && !self.stopped {
            self.send(network, at, network.now);
        }
        Ok(())
    }
}

impl Traffic for Directed {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        let (argument, asked) = match text.strip_prefix(HEAD) {
            Some(argument) => (argument, false),
            None => {
                let (_, argument) = ack(text).with_context(|| format!("not ours: `{}`", clip(text)))?;
                (argument.strip_prefix('"').context("no text")?, true)
            }
        };
        let argument = argument.strip_suffix("\"]").context("not one text")?;
        self.took(network, client, argument, asked)
    }
}

impl Flow for Directed {
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
        self.slots.iter().all(|slot| slot.missing == 0)
    }

    fn reset(&mut self) {
        self.arrived = 0;
        self.latencies.reset();
    }

    fn missing(&self) -> String {
        let missing: u32 = self.slots.iter().map(|slot| slot.missing.count_ones()).sum();
        format!("{missing} deliveries not yet made")
    }
}

/// Slot and number.
fn mark(argument: &str) -> Option<(usize, u32)> {
    let slot = usize::from_str_radix(argument.get(..4)?, 16).ok()?;
    Some((slot, u32::from_str_radix(argument.get(4..MARK)?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;

    #[test]
    fn what_goes_astray_or_comes_twice_is_noticed() {
        let mut generator = Generator::new("127.0.0.1:9".parse().unwrap()).unwrap();
        let network = generator.network();
        let group = |first| Group { name: format!("room {first}"), first, members: 2, sender: first };
        let mut directed = Directed {
            groups: vec![group(0), group(2)],
            slots: vec![Slot::default()],
            turns: Turns::Others,
            packet: String::new(),
            stopped: true,
            arrived: 0,
            latencies: latencies(),
        };
        directed.start(network);
        assert!(directed.packet.starts_with("42[\"to\",\"room 2\",\"000000000001xx"), "{}", directed.packet);
        let delivery = directed.packet.replace("\"to\",\"room 2\"", "\"b\"");
        assert!(directed.packet(network, 0, &delivery).is_err(), "not in the room");
        directed.packet(network, 2, &delivery).unwrap();
        assert!(directed.packet(network, 2, &delivery).is_err(), "twice");
        assert!(!directed.is_drained(), "client 3 has not got it");
        directed.stop();
        directed.packet(network, 3, &delivery).unwrap();
        assert!(directed.is_drained());
        assert_eq!(directed.arrived, 2);
    }
}
