//! What a round does, and its name on the command line: `connect:2000`, `idle:10000`, `broadcast:1000x8`, `ack:50x16`.

use std::{fmt, str::FromStr};

use anyhow::{Context, bail, ensure};

/// One kind of work, with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// `connect:N`: N clients connect by WebSocket, then all leave; again until enough CPU is spent. Only connecting
    /// is counted.
    Connect {
        /// Clients of one wave.
        clients: usize,
    },
    /// `upgrade:N`: as `connect`, but the clients begin with polling and upgrade, as a browser does by default.
    Upgrade {
        /// Clients of one wave.
        clients: usize,
    },
    /// `idle:N`: memory, and CPU at rest, of N connections with a browser's headers, one room, after an event each way.
    /// `idle-tls:N` and `idle-unix:N` are the same over other streams than plain TCP.
    Idle {
        /// Connections that are held.
        clients: usize,
        /// What they come over.
        over: Over,
    },
    /// `broadcast:RxF[@B][/S]`: an event to R receivers, F broadcasts in flight, B bytes (128), from S senders (1).
    /// `binary:…` is the same with an argument of bytes instead of text.
    Broadcast {
        /// Sockets in the room, the senders among them.
        receivers: usize,
        /// Broadcasts that are on their way at any time, of all senders together.
        in_flight: usize,
        /// Length of the event's one argument.
        bytes: usize,
        /// How many of the receivers share the sending.
        senders: usize,
        /// Whether the argument is bytes, which travel as an attachment, and not text.
        binary: bool,
    },
    /// `rooms:RxM`: R rooms of M sockets each, every socket in one of them; [`ROOMS_IN_FLIGHT`] emits to rooms at a time.
    Rooms {
        /// Rooms.
        rooms: usize,
        /// Sockets in each.
        members: usize,
    },
    /// `cluster:RxF`: as `broadcast`, of 128 B from one sender, over two servers on one Redis, with every other client on the
    /// second.
    Cluster {
        /// Sockets in the room, on both servers, the sender among them.
        receivers: usize,
        /// Broadcasts that are on their way at any time.
        in_flight: usize,
    },
    /// `cluster-rooms:RxM`: as `rooms`, over two servers on one Redis, each room with all its members on one of them.
    ClusterRooms {
        /// Rooms.
        rooms: usize,
        /// Sockets in each.
        members: usize,
    },
    /// `ack:CxF[@B]`: C connections each with F events whose acks are on their way; B bytes (128) there and back.
    Ack {
        /// Connections.
        clients: usize,
        /// Acks on their way to each.
        in_flight: usize,
        /// Length of the argument, which comes back.
        bytes: usize,
    },
    /// `single:CxF`: one of C sockets asks for an emit to another one, by its id; F on their way.
    Single {
        /// Connections.
        clients: usize,
        /// Emits on their way.
        in_flight: usize,
    },
    /// `churn:CxF`: C sockets join and leave rooms, each with F requests on their way.
    Churn {
        /// Connections.
        clients: usize,
        /// Joins and leaves on their way for each.
        in_flight: usize,
    },
    /// `mixed:N`: N connections in rooms of ten, of which one in twenty is active: it asks for an ack, then emits to its
    /// room, and so on.
    Mixed {
        /// Connections.
        clients: usize,
    },
    /// `storm:N`: N clients are connected, the server is started anew, and all come back at once.
    Storm {
        /// Connections.
        clients: usize,
    },
    /// `tail:N`: a broadcast to N every now and then, while others ask for acks.
    Tail {
        /// Sockets in the room.
        receivers: usize,
    },
    /// `waves:N`: N clients come and go, five times; what memory is left each time.
    Waves {
        /// Connections.
        clients: usize,
    },
}

/// What connections come over to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Plain TCP.
    Tcp,
    /// TLS 1.3, by a relay.
    Tls,
    /// A Unix socket, by a relay.
    Unix,
    /// Plain TCP, to two servers that share a Redis.
    Redis,
}

/// Sequence number and sender stand at the front of each broadcast's argument.
pub const SHORTEST: usize = 16;
/// Emits to rooms that are on their way in `rooms`.
pub const ROOMS_IN_FLIGHT: usize = 32;

/// What is measured, unless told otherwise.
pub const ALL: &[&str] = &[
    "connect:2000",
    "upgrade:1000",
    "broadcast:100x1",
    "broadcast:1000x1",
    "broadcast:10000x1",
    "broadcast:1000x8",
    "broadcast:1000x8/8",
    "broadcast:5000x4",
    "broadcast:100x32",
    "broadcast:1000x1@16384",
    "binary:1000x1",
    "binary:1000x8",
    "binary:1000x1@16384",
    "rooms:1000x10",
    "ack:100x1",
    "ack:50x16",
    "single:1000x64",
    "churn:1000x1",
    "mixed:10000",
    "storm:10000",
    "tail:10000",
    "idle:10000",
    "idle-tls:5000",
    "idle-unix:5000",
    "waves:10000",
    "cluster:200x1",
    "cluster:200x16",
    "cluster:2x64",
    "cluster-rooms:100x10",
];

impl Scenario {
    /// What was counted.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Connect { .. }
            | Self::Upgrade { .. }
            | Self::Idle { .. }
            | Self::Storm { .. }
            | Self::Waves { .. } => "connection",
            Self::Broadcast { .. }
            | Self::Rooms { .. }
            | Self::Single { .. }
            | Self::Tail { .. }
            | Self::Cluster { .. }
            | Self::ClusterRooms { .. } => "delivery",
            Self::Ack { .. } => "ack",
            Self::Churn { .. } => "join or leave",
            Self::Mixed { .. } => "ack or delivery",
        }
    }

    /// Whether each round wants a fresh server process. The others share one, so that just-in-time compilers are warm.
    pub fn wants_fresh_process(&self) -> bool {
        matches!(self, Self::Idle { .. } | Self::Waves { .. } | Self::Storm { .. })
    }

    /// What connections come over.
    pub fn over(&self) -> Over {
        match self {
            Self::Idle { over, .. } => *over,
            Self::Cluster { .. } | Self::ClusterRooms { .. } => Over::Redis,
            _ => Over::Tcp,
        }
    }

    /// How many clients in turn are on the same of two servers.
    pub fn together(&self) -> usize {
        if let Self::ClusterRooms { members, .. } = self { *members } else { 1 }
    }

    /// Rounds that suffice: memory differs little from round to round, and one takes a minute.
    pub fn most_rounds(&self) -> usize {
        if matches!(self, Self::Idle { .. } | Self::Waves { .. }) { 3 } else { usize::MAX }
    }

    /// One line for a table.
    pub fn describe(&self) -> String {
        match *self {
            Self::Connect { .. } => "connect, WebSocket only".into(),
            Self::Upgrade { .. } => "connect, polling then upgrade".into(),
            Self::Idle { clients, over } => {
                let over = match over {
                    Over::Tcp => "",
                    Over::Tls => " over TLS",
                    Over::Unix => " over a Unix socket",
                    Over::Redis => " over two servers",
                };
                format!("{clients} idle connections{over}")
            }
            Self::Broadcast { receivers, in_flight, bytes, senders, binary } => {
                let kind = if binary { "bytes" } else { "B" };
                let senders = if senders > 1 { format!(" from {senders} senders") } else { String::new() };
                format!("broadcast of {bytes} {kind} to {receivers}, {in_flight} in flight{senders}")
            }
            Self::Rooms { rooms, members } => {
                format!("emit to one of {rooms} rooms of {members}, {ROOMS_IN_FLIGHT} in flight")
            }
            Self::Cluster { receivers, in_flight } => {
                format!("two servers on Redis: broadcast to {receivers}, {in_flight} in flight")
            }
            Self::ClusterRooms { rooms, members } => format!(
                "two servers on Redis: emit to one of {rooms} rooms of {members} on one of them, {ROOMS_IN_FLIGHT} in flight"
            ),
            Self::Ack { clients, in_flight, bytes } => {
                format!("ack of {bytes} B, {clients} connections, {in_flight} in flight each")
            }
            Self::Single { clients, in_flight } => {
                format!("emit to one of {clients} sockets, {in_flight} in flight")
            }
            Self::Churn { clients, in_flight } => {
                format!("join and leave, {clients} connections, {in_flight} in flight each")
            }
            Self::Mixed { clients } => format!("{clients} connections, 5 % of them active"),
            Self::Storm { clients } => format!("{clients} clients at once after a restart"),
            Self::Tail { receivers } => format!("broadcast to {receivers} while others ask for acks"),
            Self::Waves { clients } => format!("five waves of {clients} come and go"),
        }
    }
}

impl FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let number =
            |text: &str| text.parse().with_context(|| format!("`{text}` in `{name}` is not a number"));
        let (kind, rest) = name.split_once(':').with_context(|| format!("`{name}` has no `:`"))?;
        let (rest, senders) = rest.split_once('/').unwrap_or((rest, "1"));
        let (size, bytes) = rest.split_once('@').unwrap_or((rest, "128"));
        let (count, in_flight) = size.split_once('x').unwrap_or((size, "1"));
        let (clients, in_flight, bytes, senders) =
            (number(count)?, number(in_flight)?, number(bytes)?, number(senders)?);
        ensure!(clients > 0 && in_flight > 0 && bytes >= SHORTEST, "`{name}`: a size is too small");
        let scenario = match kind {
            "connect" => Self::Connect { clients },
            "upgrade" => Self::Upgrade { clients },
            "idle" => Self::Idle { clients, over: Over::Tcp },
            "idle-tls" => Self::Idle { clients, over: Over::Tls },
            "idle-unix" => Self::Idle { clients, over: Over::Unix },
            "broadcast" | "binary" => {
                ensure!((1..=255).contains(&senders) && senders <= clients, "`{name}`: senders");
                ensure!(
                    in_flight % senders == 0,
                    "`{name}`: the senders must share what is in flight evenly"
                );
                let binary = kind == "binary";
                Self::Broadcast { receivers: clients, in_flight, bytes, senders, binary }
            }
            "rooms" => Self::Rooms { rooms: clients, members: in_flight },
            "cluster" => Self::Cluster { receivers: clients, in_flight },
            "cluster-rooms" => Self::ClusterRooms { rooms: clients, members: in_flight },
            "ack" => Self::Ack { clients, in_flight, bytes },
            "single" => {
                ensure!(in_flight <= clients, "`{name}`: more in flight than sockets");
                Self::Single { clients, in_flight }
            }
            "churn" => Self::Churn { clients, in_flight },
            "mixed" => {
                ensure!(clients % 20 == 0, "`{name}`: one in twenty is active, and rooms are of ten");
                Self::Mixed { clients }
            }
            "storm" => Self::Storm { clients },
            "tail" => Self::Tail { receivers: clients },
            "waves" => Self::Waves { clients },
            _ => bail!("`{kind}` is no scenario: they begin as {}", ALL.join(", ")),
        };
        // What the name says and the scenario does not take would be ignored in silence.
        ensure!(scenario.to_string() == name, "`{name}` is not understood; is `{scenario}` meant?");
        Ok(scenario)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |n| if n == 128 { String::new() } else { format!("@{n}") };
        match *self {
            Self::Connect { clients } => write!(f, "connect:{clients}"),
            Self::Upgrade { clients } => write!(f, "upgrade:{clients}"),
            Self::Idle { clients, over: Over::Tcp } => write!(f, "idle:{clients}"),
            Self::Idle { clients, over: Over::Tls } => write!(f, "idle-tls:{clients}"),
            Self::Cluster { receivers, in_flight } => write!(f, "cluster:{receivers}x{in_flight}"),
            Self::ClusterRooms { rooms, members } => write!(f, "cluster-rooms:{rooms}x{members}"),
            Self::Idle { clients, over: Over::Redis } => write!(f, "idle-redis:{clients}"),
            Self::Idle { clients, over: Over::Unix } => write!(f, "idle-unix:{clients}"),
            Self::Broadcast { receivers, in_flight, bytes: n, senders, binary } => {
                let kind = if binary { "binary" } else { "broadcast" };
                write!(f, "{kind}:{receivers}x{in_flight}{}", bytes(n))?;
                if senders > 1 { write!(f, "/{senders}") } else { Ok(()) }
            }
            Self::Rooms { rooms, members } => write!(f, "rooms:{rooms}x{members}"),
            Self::Ack { clients, in_flight, bytes: n } => write!(f, "ack:{clients}x{in_flight}{}", bytes(n)),
            Self::Single { clients, in_flight } => write!(f, "single:{clients}x{in_flight}"),
            Self::Churn { clients, in_flight } => write!(f, "churn:{clients}x{in_flight}"),
            Self::Mixed { clients } => write!(f, "mixed:{clients}"),
            Self::Storm { clients } => write!(f, "storm:{clients}"),
            Self::Tail { receivers } => write!(f, "tail:{receivers}"),
            Self::Waves { clients } => write!(f, "waves:{clients}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ALL {
            assert_eq!(name.parse::<Scenario>().unwrap().to_string(), *name);
        }
    }

    #[test]
    fn wrong_names_are_refused() {
        for name in [
            "broadcast",
            "broadcast:x",
            "broadcast:10x3/2",
            "ack:0",
            "ack:1x1@4",
            "mixed:30",
            "idle:5x2",
            "dance:3",
        ] {
            assert!(name.parse::<Scenario>().is_err(), "{name}");
        }
    }
}
