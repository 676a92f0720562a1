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
    /// `idle:N`: memory of N connections with a browser's headers, one room, after an event each way.
    Idle {
        /// Connections that are held.
        clients: usize,
    },
    /// `broadcast:RxF[@B][/S]`: an event to R receivers, F broadcasts in flight, B bytes (128), from S senders (1).
    Broadcast {
        /// Sockets in the room, the senders among them.
        receivers: usize,
        /// Broadcasts that are on their way at any time, of all senders together.
        in_flight: usize,
        /// Length of the event's one argument, a text.
        bytes: usize,
        /// How many of the receivers share the sending.
        senders: usize,
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
}

/// Sequence number and sender stand at the front of each broadcast's argument.
pub const SHORTEST: usize = 16;
/// Broadcasts of one sender that may be on their way: each receiver keeps a bit for each.
pub const MOST_IN_FLIGHT: usize = 32;

/// What `--quick` measures, unless told otherwise: the write path and what it costs to hold a connection.
pub const QUICK: &[&str] =
    &["connect:2000", "idle:10000", "broadcast:1000x1", "broadcast:1000x8", "broadcast:1000x8/8"];

/// What the full run measures, unless told otherwise.
pub const ALL: &[&str] = &[
    "connect:2000",
    "idle:10000",
    "broadcast:1000x1",
    "broadcast:1000x8",
    "broadcast:1000x8/8",
    "broadcast:5000x4",
    "broadcast:100x32",
    "broadcast:1000x1@16384",
    "ack:100x1",
    "ack:50x16",
];

impl Scenario {
    /// What the cost is divided by.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Connect { .. } | Self::Idle { .. } => "connection",
            Self::Broadcast { .. } => "delivery",
            Self::Ack { .. } => "ack",
        }
    }

    /// Whether the figure is memory, and each round therefore wants a fresh server process.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Idle { .. })
    }

    /// One line for a table.
    pub fn describe(&self) -> String {
        match *self {
            Self::Connect { .. } => "connect, WebSocket only".into(),
            Self::Idle { clients } => format!("memory of {clients} idle connections"),
            Self::Broadcast { receivers, in_flight, bytes, senders: 1 } => {
                format!("broadcast of {bytes} B to {receivers}, {in_flight} in flight")
            }
            Self::Broadcast { receivers, in_flight, bytes, senders } => {
                format!("broadcast of {bytes} B to {receivers}, {in_flight} in flight from {senders} senders")
            }
            Self::Ack { clients, in_flight, bytes } => {
                format!("ack of {bytes} B, {clients} connections, {in_flight} in flight each")
            }
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
        let (count, in_flight, bytes, senders) =
            (number(count)?, number(in_flight)?, number(bytes)?, number(senders)?);
        ensure!(count > 0 && in_flight > 0 && bytes >= SHORTEST, "`{name}`: a size is too small");
        Ok(match kind {
            "connect" => Self::Connect { clients: count },
            "idle" => Self::Idle { clients: count },
            "broadcast" => {
                ensure!((1..=255).contains(&senders) && senders <= count, "`{name}`: senders");
                ensure!(
                    in_flight % senders == 0,
                    "`{name}`: the senders must share what is in flight evenly"
                );
                ensure!(
                    in_flight / senders <= MOST_IN_FLIGHT,
                    "`{name}`: {MOST_IN_FLIGHT} in flight is most"
                );
                Self::Broadcast { receivers: count, in_flight, bytes, senders }
            }
            "ack" => Self::Ack { clients: count, in_flight, bytes },
            _ => bail!("`{kind}` is no scenario: connect, idle, broadcast, ack"),
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |n| if n == 128 { String::new() } else { format!("@{n}") };
        match *self {
            Self::Connect { clients } => write!(f, "connect:{clients}"),
            Self::Idle { clients } => write!(f, "idle:{clients}"),
            Self::Broadcast { receivers, in_flight, bytes: n, senders } => {
                write!(f, "broadcast:{receivers}x{in_flight}{}", bytes(n))?;
                if senders > 1 { write!(f, "/{senders}") } else { Ok(()) }
            }
            Self::Ack { clients, in_flight, bytes: n } => write!(f, "ack:{clients}x{in_flight}{}", bytes(n)),
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
        for name in
            ["broadcast", "broadcast:x", "broadcast:10x3/2", "ack:0", "ack:1@4", "broadcast:9x33", "dance:3"]
        {
            assert!(name.parse::<Scenario>().is_err(), "{name}");
        }
    }
}
