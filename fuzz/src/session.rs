//! The session machine: for any sequence of packets, upgrades and times, its deadline is in the future or due, what is
//! closed stays closed, it is upgraded at most once, and a peer that answers nothing is let go in time.
//!
//! Input: a byte of options (revision 3, WebSocket), three periods of two bytes each, then calls of three bytes each.

use std::time::{Duration, Instant};

use patio_proto::engine::{
    CloseReason, Message, Packet, Protocol, Session, Timing, Transport,
    session::{Due, Probe, Received},
};

/// What a session begins with, in milliseconds.
struct Start {
    v3: bool,
    websocket: bool,
    ping_interval: u16,
    ping_timeout: u16,
    upgrade_timeout: u16,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    /// A packet over the session's transport.
    Receive(Sent),
    /// A packet over the candidate.
    Probe(Sent),
    BeginUpgrade,
    AbandonUpgrade,
    /// So many milliseconds pass; what is due on the way is asked for when it is due.
    Wait(u16),
    /// So many milliseconds pass, and nobody asks what is due until the end.
    Sleep(u16),
    /// To the next deadline, exactly.
    WaitForDeadline,
    Excuse,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    Open,
    Close,
    Ping,
    PingProbe,
    Pong,
    Text,
    Binary,
    Upgrade,
    Noop,
}

impl Start {
    fn read([options, interval @ .., t0, t1, u0, u1]: [u8; 7]) -> Self {
        Self {
            v3: options & 1 != 0,
            websocket: options & 2 != 0,
            ping_interval: u16::from_be_bytes(interval),
            ping_timeout: u16::from_be_bytes([t0, t1]),
            upgrade_timeout: u16::from_be_bytes([u0, u1]),
        }
    }
}

impl Call {
    fn read([call, argument @ ..]: [u8; 3]) -> Self {
        let number = u16::from_be_bytes(argument);
        match call % 9 {
            0 => Self::Receive(Sent::read(argument[0])),
            1 => Self::Probe(Sent::read(argument[0])),
            2 => Self::BeginUpgrade,
            3 => Self::AbandonUpgrade,
            4 => Self::Wait(number),
            5 => Self::Sleep(number),
            6 => Self::WaitForDeadline,
            7 => Self::Excuse,
            _ => Self::Close,
        }
    }
}

impl Sent {
    fn read(number: u8) -> Self {
        match number % 9 {
            0 => Self::Open,
            1 => Self::Close,
            2 => Self::Ping,
            3 => Self::Pong,
            4 => Self::Text,
            5 => Self::Upgrade,
            6 => Self::Noop,
            7 => Self::PingProbe,
            _ => Self::Binary,
        }
    }

    fn packet(self) -> Packet {
        match self {
            Self::Open => Packet::Open("{}".into()),
            Self::Close => Packet::Close,
            Self::Ping => Packet::Ping("".into()),
            Self::PingProbe => Packet::Ping("probe".into()),
            Self::Pong => Packet::Pong("".into()),
            Self::Text => Packet::Message(Message::Text("x".into())),
            Self::Binary => Packet::Message(Message::Binary(vec![1].into())),
            Self::Upgrade => Packet::Upgrade,
            Self::Noop => Packet::Noop,
        }
    }
}

/// The target.
pub fn run(data: &[u8]) {
    let Some((&start, calls)) = data.split_first_chunk() else { return };
    let mut world = World::new(&Start::read(start));
    for &call in calls.as_chunks().0 {
        world.call(Call::read(call));
        world.check();
    }
}

/// A session, and what must be true of it.
struct World {
    session: Session,
    timing: Timing,
    protocol: Protocol,
    now: Instant,
    /// When the peer last did what keeps it alive, or was excused.
    alive: Instant,
    /// Nobody asked in time since, so the peer cannot be let go in time.
    slept: bool,
    closed: bool,
    upgraded: bool,
    upgrading: bool,
}

impl World {
    fn new(start: &Start) -> Self {
        let millis = |millis: u16| Duration::from_millis(u64::from(millis));
        let timing = Timing {
            // The builder refuses 0 for these two.
            ping_interval: millis(start.ping_interval.max(1)),
            ping_timeout: millis(start.ping_timeout.max(1)),
            upgrade_timeout: millis(start.upgrade_timeout),
        };
        let protocol = if start.v3 { Protocol::V3 } else { Protocol::V4 };
        let transport = if start.websocket { Transport::WebSocket } else { Transport::Polling };
        let now = Instant::now();
        Self {
            session: Session::open(protocol, transport, &timing, now),
            timing,
            protocol,
            now,
            alive: now,
            slept: false,
            closed: false,
            upgraded: start.websocket,
            upgrading: false,
        }
    }

    fn call(&mut self, call: Call) {
        let Self { session, timing, now, .. } = self;
        match call {
            Call::Receive(sent) => {
                let received = session.receive(sent.packet(), timing, *now);
                self.received(sent, received);
            }
            Call::Probe(sent) => {
                let could = self.upgrading;
                match session.probe(&sent.packet()) {
                    Probe::Answer => {
                        assert!(could && matches!(sent, Sent::PingProbe));
                    }
                    Probe::Switch => {
                        assert!(could && matches!(sent, Sent::Upgrade));
                        assert!(!self.upgraded, "upgraded twice");
                        (self.upgraded, self.upgrading) = (true, false);
                    }
                    Probe::Abandon => {
                        assert!(!could || !matches!(sent, Sent::PingProbe | Sent::Upgrade));
                        self.upgrading = false;
                    }
                }
            }
            Call::BeginUpgrade => {
                // Whether a session that has ended has told its peer is for the shell to know.
                let could = !self.upgraded && !self.upgrading;
                assert_eq!(session.begin_upgrade(timing, *now), could);
                self.upgrading |= could;
                if could && !self.closed {
                    assert!(session.deadline().unwrap() <= *now + timing.upgrade_timeout);
                }
            }
            Call::AbandonUpgrade => {
                session.abandon_upgrade();
                self.upgrading = false;
            }
            Call::Wait(millis) => {
                let end = *now + Duration::from_millis(u64::from(millis));
                // Each step asks at a deadline and answers a ping or ends something: there cannot be many.
                while let Some(at) = self.session.deadline().filter(|&at| at <= end) {
                    self.now = self.now.max(at);
                    self.due();
                }
                self.now = end;
            }
            Call::Sleep(millis) => {
                *now += Duration::from_millis(u64::from(millis));
                self.slept = true;
            }
            Call::WaitForDeadline => {
                if let Some(at) = session.deadline() {
                    *now = at.max(*now);
                }
            }
            Call::Excuse => {
                session.excuse(timing, *now);
                self.alive = *now;
            }
            Call::Close => {
                assert_eq!(session.close(), !self.closed);
                self.closed = true;
            }
        }
    }

    fn received(&mut self, sent: Sent, received: Received) {
        if self.closed {
            return assert_eq!(received, Received::Nothing);
        }
        match (sent, received) {
            (Sent::Text | Sent::Binary, Received::Message(_)) => {}
            (Sent::Ping | Sent::PingProbe, Received::Pong) => {
                assert_eq!(self.protocol, Protocol::V3);
                (self.alive, self.slept) = (self.now, false);
            }
            (Sent::Pong, Received::Nothing) => {
                assert_eq!(self.protocol, Protocol::V4);
                (self.alive, self.slept) = (self.now, false);
            }
            (Sent::Ping | Sent::PingProbe | Sent::Pong, Received::Close(reason)) => {
                assert_eq!(reason, CloseReason::TransportError);
                self.close();
            }
            (Sent::Close, Received::Close(reason)) => {
                assert!(!self.upgraded);
                assert_eq!(reason, CloseReason::TransportClose);
                self.close();
            }
            (Sent::Open | Sent::Close | Sent::Upgrade | Sent::Noop, Received::Nothing) => {}
            (sent, received) => panic!("{received:?} for {sent:?}"),
        }
    }

    /// The shell closes what is over.
    fn close(&mut self) {
        assert!(self.session.close());
        self.closed = true;
    }

    /// Asks what is due until nothing is.
    fn due(&mut self) {
        for asked in 0.. {
            assert!(asked < 4, "there is always something due");
            match self.session.due(&self.timing, self.now) {
                None => break,
                Some(Due::Ping) => assert_eq!(self.protocol, Protocol::V4),
                Some(Due::UpgradeTimeout) => {
                    assert!(self.upgrading);
                    self.upgrading = false;
                }
                Some(Due::PingTimeout) => self.close(),
            }
        }
    }

    fn check(&mut self) {
        self.due();
        let Self { session, timing, now, .. } = self;
        assert_eq!(session.is_closed(), self.closed);
        assert_eq!(session.is_upgrading(), self.upgrading);
        assert_eq!(session.transport() == Transport::WebSocket, self.upgraded);
        assert_eq!(session.protocol(), self.protocol);
        match session.deadline() {
            None => assert!(self.closed),
            Some(at) => {
                assert!(!self.closed);
                assert!(at > *now, "what was due is done");
                assert!(at <= *now + timing.ping_interval + timing.ping_timeout, "too late");
                // An interval, a wait for the answer, and once more that wait for a peer that was busy sending.
                let longest = timing.ping_interval + 2 * timing.ping_timeout;
                assert!(self.slept || *now < self.alive + longest, "a silent peer lives on");
            }
        }
    }
}
