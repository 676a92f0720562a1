//! One client's Engine.IO session as a state machine: heartbeat in both directions, the upgrade, the close.
//!
//! Packets and the time come in as arguments; what the shell must do comes out. No message is kept here: what waits
//! for a poll or for a slow peer lives in the shell's queue, which is the only place that bounds it.
//!
//! Mirrors the `Socket` class of Engine.IO. Protocol 4: the server pings and the client answers. Protocol 3: the
//! client pings and the server answers.

use std::time::{Duration, Instant};

use super::{Message, Packet, Protocol, Transport};

/// The periods that a session keeps; the defaults are those of Node's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From an answered ping to the next one: `pingInterval`, 25 s by default.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take: `pingTimeout`, 20 s by default.
    pub ping_timeout: Duration,
    /// How long an upgrade may take from the candidate's first byte: `upgradeTimeout`, 10 s by default.
    pub upgrade_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a session ended, in Engine.IO's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed: packet `1`, or the end of its connection.
    TransportClose,
    /// The connection failed, or the peer broke a rule of the transport.
    TransportError,
    /// A heartbeat was not answered in time.
    PingTimeout,
    /// A packet could not be read.
    ParseError,
    /// The server closed this session.
    ForcedClose,
    /// The server closed this session because of what the peer did, and a polling peer hears of it with its next poll.
    ForcedServerClose,
    /// The whole server is closing.
    ServerShuttingDown,
    /// The peer read too slowly and its queue was full. Node has no such bound, and so no word for it.
    SlowClient,
}

impl CloseReason {
    /// The word that applications see as the reason of a disconnect.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ForcedServerClose => "forced server close",
            Self::ServerShuttingDown => "server shutting down",
            Self::SlowClient => "slow client",
        }
    }

    /// Whether a polling client is told at its next poll, for which the server waits a while.
    pub const fn is_graceful(self) -> bool {
        matches!(self, Self::ForcedClose | Self::ForcedServerClose)
    }
}

/// What a packet from the peer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Nothing: a heartbeat that was counted, or a packet that a server ignores.
    Nothing,
    /// A message for the layer above.
    Message(Message),
    /// Answer with a pong (protocol 3).
    Pong,
    /// The session is over.
    Close(CloseReason),
}

/// What the passing of time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping (protocol 4).
    Ping,
    /// The candidate transport of an upgrade did not finish: close it, the session stays.
    UpgradeTimeout,
    /// The peer is gone.
    PingTimeout,
}

/// What a packet on the candidate transport of an upgrade asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Answer `3probe` there, and release a waiting poll with a noop.
    Answer,
    /// The candidate is now the transport.
    Switch,
    /// Close the candidate; the session stays on its transport.
    Abandon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heart {
    /// Protocol 4: the next ping is due then.
    PingAt(Instant),
    /// Protocol 4: the pong must be here by then. `extended`: other packets of the peer moved this once already.
    PongBy { at: Instant, extended: bool },
    /// Protocol 3: the peer's next ping must be here by then.
    PingBy(Instant),
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    heart: Heart,
    /// While a candidate transport is being probed: when it must have taken over.
    upgrade_by: Option<Instant>,
    transport: Transport,
    protocol: Protocol,
    closed: bool,
}

impl Session {
    /// A session that opened at `now`.
    pub fn open(protocol: Protocol, transport: Transport, timing: &Timing, now: Instant) -> Self {
        let heart = match protocol {
            Protocol::V4 => Heart::PingAt(now + timing.ping_interval),
            Protocol::V3 => Heart::PingBy(now + timing.ping_interval + timing.ping_timeout),
        };
        Self { heart, upgrade_by: None, transport, protocol, closed: false }
    }

    /// The revision that the client asked for.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The transport that carries the session now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether a candidate transport is being probed.
    pub fn is_upgrading(&self) -> bool {
        self.upgrade_by.is_some()
    }

    /// Ends the session. False when it had ended before: only the first reason counts. A candidate is left to the shell:
    /// the peer may still hear of the end over it.
    pub fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }

    /// A packet came over the session's transport.
    pub fn receive(&mut self, packet: Packet, timing: &Timing, now: Instant) -> Received {
        if self.closed {
            return Received::Nothing;
        }
        if let (Heart::PongBy { at, extended: extended @ false }, false) =
            (&mut self.heart, matches!(packet, Packet::Pong(_)))
        {
            // A peer that is busy sending is alive: its pong may stand behind a large message. Once only, so that
            // a peer cannot live without ever answering.
            *at = now + timing.ping_timeout;
            *extended = true;
        }
        match (packet, self.protocol) {
            (Packet::Message(message), _) => Received::Message(message),
            (Packet::Pong(_), Protocol::V4) => {
                self.heart = Heart::PingAt(now + timing.ping_interval);
                Received::Nothing
            }
            (Packet::Ping(_), Protocol::V3) => {
                self.heart = Heart::PingBy(now + timing.ping_interval + timing.ping_timeout);
                Received::Pong
            }
            (Packet::Ping(_), Protocol::V4) | (Packet::Pong(_), Protocol::V3) => {
                Received::Close(CloseReason::TransportError)
            }
            (Packet::Close, _) if self.transport == Transport::Polling => {
                Received::Close(CloseReason::TransportClose)
            }
            (Packet::Open(_) | Packet::Close | Packet::Upgrade | Packet::Noop, _) => Received::Nothing,
        }
    }

    /// The shell did not read for a while, so the peer's silence was not its own: it gets its whole time again. It is
    /// pinged again too, because the failure of that is all that can tell that it has gone.
    pub fn excuse(&mut self, timing: &Timing, now: Instant) {
        match &mut self.heart {
            Heart::PingAt(_) => {}
            heart @ Heart::PongBy { .. } => *heart = Heart::PingAt(now + timing.ping_interval),
            Heart::PingBy(at) => *at = now + timing.ping_interval + timing.ping_timeout,
        }
    }

    /// When [`Self::due`] must be asked next. `None` once the session has ended.
    pub fn deadline(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let heart = match self.heart {
            Heart::PingAt(at) | Heart::PongBy { at, .. } | Heart::PingBy(at) => at,
        };
        Some(self.upgrade_by.map_or(heart, |upgrade| upgrade.min(heart)))
    }

    /// What is due at `now`; ask until it answers `None`.
    pub fn due(&mut self, timing: &Timing, now: Instant) -> Option<Due> {
        if self.closed {
            return None;
        }
        if self.upgrade_by.is_some_and(|at| at <= now) {
            self.upgrade_by = None;
            return Some(Due::UpgradeTimeout);
        }
        match self.heart {
            Heart::PingAt(at) if at <= now => {
                // A timer that was a little late does not make the client's time longer; one that was very late, on a
                // busy machine, does not make it shorter.
                let sent = if now < at + timing.ping_timeout / 8 { at } else { now };
                self.heart = Heart::PongBy { at: sent + timing.ping_timeout, extended: false };
                Some(Due::Ping)
            }
            Heart::PongBy { at, .. } | Heart::PingBy(at) if at <= now => Some(Due::PingTimeout),
            _ => None,
        }
    }

    /// A WebSocket asks to take over. False when the session cannot be upgraded: it has upgraded already, or another
    /// candidate is on its way. One that has ended may be, as in Node, while its peer has not heard of it: the shell
    /// knows.
    pub fn begin_upgrade(&mut self, timing: &Timing, now: Instant) -> bool {
        let may = self.transport == Transport::Polling && self.upgrade_by.is_none();
        if may {
            self.upgrade_by = Some(now + timing.upgrade_timeout);
        }
        may
    }

    /// A packet came over the candidate. A bare upgrade without a probe is accepted, as in Node.
    pub fn probe(&mut self, packet: &Packet) -> Probe {
        if self.upgrade_by.is_none() {
            return Probe::Abandon;
        }
        match packet {
            Packet::Ping(data) if data.as_str() == "probe" => Probe::Answer,
            Packet::Upgrade => {
                self.upgrade_by = None;
                self.transport = Transport::WebSocket;
                Probe::Switch
            }
            _ => {
                self.upgrade_by = None;
                Probe::Abandon
            }
        }
    }

    /// The candidate went away before it took over.
    pub fn abandon_upgrade(&mut self) {
        self.upgrade_by = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Text;

    const TIMING: Timing = Timing {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        upgrade_timeout: Duration::from_millis(100),
    };

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn pong() -> Packet {
        Packet::Pong(Text::default())
    }

    #[test]
    fn protocol_4_pings_and_waits_for_the_pong() {
        let t0 = Instant::now();
        let mut session = Session::open(Protocol::V4, Transport::WebSocket, &TIMING, t0);
        assert_eq!(session.deadline(), Some(after(t0, 300)));
        assert_eq!(session.due(&TIMING, after(t0, 299)), None);
        assert_eq!(session.due(&TIMING, after(t0, 300)), Some(Due::Ping));
        assert_eq!(session.deadline(), Some(after(t0, 500)));
        assert_eq!(session.receive(pong(), &TIMING, after(t0, 310)), Received::Nothing);
        assert_eq!(session.deadline(), Some(after(t0, 610)));
        assert_eq!(session.due(&TIMING, after(t0, 610)), Some(Due::Ping));
        assert_eq!(session.due(&TIMING, after(t0, 810)), Some(Due::PingTimeout));
    }

    #[test]
    fn other_packets_extend_a_pending_pong_once() {
        let t0 = Instant::now();
        let mut session = Session::open(Protocol::V4, Transport::WebSocket, &TIMING, t0);
        session.due(&TIMING, after(t0, 300));
        session.receive(Packet::Noop, &TIMING, after(t0, 400));
        assert_eq!(session.deadline(), Some(after(t0, 600)));
        session.receive(Packet::Noop, &TIMING, after(t0, 500));
        assert_eq!(session.deadline(), Some(after(t0, 600)), "a second packet does not extend it again");
    }

    #[test]
    fn protocol_3_waits_for_pings() {
        let t0 = Instant::now();
        let mut session = Session::open(Protocol::V3, Transport::Polling, &TIMING, t0);
        assert_eq!(session.deadline(), Some(after(t0, 500)));
        let ping = Packet::Ping(Text::default());
        assert_eq!(session.receive(ping, &TIMING, after(t0, 400)), Received::Pong);
        assert_eq!(session.due(&TIMING, after(t0, 899)), None);
        assert_eq!(session.due(&TIMING, after(t0, 900)), Some(Due::PingTimeout));
    }

    #[test]
    fn a_heartbeat_in_the_wrong_direction_ends_the_session() {
        let t0 = Instant::now();
        let mut v4 = Session::open(Protocol::V4, Transport::WebSocket, &TIMING, t0);
        let wrong = Received::Close(CloseReason::TransportError);
        assert_eq!(v4.receive(Packet::Ping(Text::default()), &TIMING, t0), wrong);
        let mut v3 = Session::open(Protocol::V3, Transport::WebSocket, &TIMING, t0);
        assert_eq!(v3.receive(pong(), &TIMING, t0), wrong);
    }

    #[test]
    fn a_close_packet_counts_on_polling_only() {
        let t0 = Instant::now();
        let mut polling = Session::open(Protocol::V4, Transport::Polling, &TIMING, t0);
        let closed = polling.receive(Packet::Close, &TIMING, t0);
        assert_eq!(closed, Received::Close(CloseReason::TransportClose));
        let mut websocket = Session::open(Protocol::V4, Transport::WebSocket, &TIMING, t0);
        assert_eq!(websocket.receive(Packet::Close, &TIMING, t0), Received::Nothing);
    }

    #[test]
    fn an_upgrade_probes_and_switches_once() {
        let t0 = Instant::now();
        let mut session = Session::open(Protocol::V4, Transport::Polling, &TIMING, t0);
        assert!(session.begin_upgrade(&TIMING, t0));
        assert!(!session.begin_upgrade(&TIMING, t0), "a second candidate is refused");
        assert_eq!(session.probe(&Packet::Ping(Text::from_static("probe"))), Probe::Answer);
        assert_eq!(session.probe(&Packet::Upgrade), Probe::Switch);
        assert_eq!(session.transport(), Transport::WebSocket);
        assert!(!session.begin_upgrade(&TIMING, t0), "an upgraded session stays");
    }

    #[test]
    fn a_session_that_has_ended_may_tell_its_peer_over_a_candidate() {
        let t0 = Instant::now();
        for begins_before in [true, false] {
            let mut session = Session::open(Protocol::V4, Transport::Polling, &TIMING, t0);
            assert!(!begins_before || session.begin_upgrade(&TIMING, t0));
            session.close();
            assert_eq!(session.begin_upgrade(&TIMING, t0), !begins_before);
            assert_eq!(session.probe(&Packet::Upgrade), Probe::Switch);
            assert!(session.is_closed());
        }
    }

    #[test]
    fn a_late_or_odd_candidate_is_given_up_and_the_session_stays() {
        let t0 = Instant::now();
        let mut session = Session::open(Protocol::V4, Transport::Polling, &TIMING, t0);
        assert!(session.begin_upgrade(&TIMING, t0));
        assert_eq!(session.deadline(), Some(after(t0, 100)));
        assert_eq!(session.due(&TIMING, after(t0, 100)), Some(Due::UpgradeTimeout));
        assert_eq!(session.probe(&Packet::Upgrade), Probe::Abandon);
        assert!(session.begin_upgrade(&TIMING, after(t0, 110)));
        assert_eq!(session.probe(&Packet::Message(Message::Text(Text::from_static("x")))), Probe::Abandon);
        assert_eq!(session.transport(), Transport::Polling);
        assert!(!session.is_closed());
    }

    #[test]
    fn only_the_first_close_counts() {
        let t0 = Instant::now();
        let mut session = Session::open(Protocol::V4, Transport::Polling, &TIMING, t0);
        assert!(session.close());
        assert!(!session.close());
        assert_eq!(session.deadline(), None);
        assert_eq!(session.due(&TIMING, after(t0, 9_000)), None);
    }
}
