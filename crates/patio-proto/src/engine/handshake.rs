//! The data of the `open` packet: what the server tells a client in the handshake.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a server sends: `{"sid":"…","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// Id of the session: a secret of this client.
    pub sid: &'a str,
    /// Names of the transports that the client may upgrade to.
    pub upgrades: &'a [&'a str],
    /// Time between two pings; sent in whole milliseconds.
    pub ping_interval: Duration,
    /// Time that an answer to a ping may take; sent in whole milliseconds.
    pub ping_timeout: Duration,
    /// Most bytes of one payload or message that the server accepts.
    pub max_payload: usize,
}

impl Open<'_> {
    /// The JSON text, its keys in Node's order. With the digit `0` in front it is the whole packet.
    pub fn to_json(&self) -> String {
        let wire = Wire {
            sid: self.sid,
            upgrades: self.upgrades,
            ping_interval: millis(self.ping_interval),
            ping_timeout: millis(self.ping_timeout),
            max_payload: Some(self.max_payload),
        };
        // Strings and integers under string keys: there is nothing in it that JSON cannot say.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

/// What a client has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Id of the session, for the query parameter `sid`.
    pub sid: String,
    /// Names of the transports that the client may upgrade to.
    pub upgrades: Vec<String>,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// Time that an answer to a ping may take.
    pub ping_timeout: Duration,
    /// Most bytes of one payload or message that the server accepts, if it says so: servers before 4.5 do not.
    pub max_payload: Option<usize>,
}

impl Opened {
    /// Reads the data of an `open` packet. `None`: it is not a handshake.
    pub fn from_json(json: &str) -> Option<Self> {
        let wire: Wire<String, Vec<String>> = serde_json::from_str(json).ok()?;
        Some(Self {
            sid: wire.sid,
            upgrades: wire.upgrades,
            ping_interval: Duration::from_millis(wire.ping_interval),
            ping_timeout: Duration::from_millis(wire.ping_timeout),
            max_payload: wire.max_payload,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<Sid, Upgrades> {
    sid: Sid,
    upgrades: Upgrades,
    ping_interval: u64,
    ping_timeout: u64,
    #[serde(default)]
    max_payload: Option<usize>,
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
