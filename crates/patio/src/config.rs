//! Every option of a server, with Node's names and defaults where Node has them.
//!
//! Filled by the [builder](crate::ServerBuilder), read everywhere else, never changed after `build()`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::{HeaderMap, request::Parts};
use patio_proto::{
    decode,
    encode::Parser,
    engine::{Timing, Transport},
};

use crate::{
    engine::ConnectionError,
    http::{compression, cookie::Cookie, cors::Cors},
};

/// The verdict of `allow_request`: `Err` is the message that the client is told.
pub(crate) type AllowRequest = Arc<dyn Fn(&Parts) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
pub(crate) type GenerateId = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;
pub(crate) type HeadersHook = Arc<dyn Fn(&mut HeaderMap, &Parts) + Send + Sync>;
pub(crate) type ConnectionErrorHook = Arc<dyn Fn(&ConnectionError) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) path: String,
    pub(crate) add_trailing_slash: bool,
    pub(crate) transports: Vec<Transport>,
    pub(crate) allow_upgrades: bool,
    pub(crate) timing: Timing,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_http_buffer_size: usize,
    pub(crate) allow_eio3: bool,
    pub(crate) parser: Parser,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) cors: Option<Cors>,
    /// Poll answers from this many bytes on are compressed; `None`: never.
    pub(crate) http_compression: Option<usize>,
    /// WebSocket messages from this many bytes on are compressed; `None`: never.
    pub(crate) per_message_deflate: Option<usize>,
    pub(crate) serve_client: Option<PathBuf>,
    pub(crate) allow_request: Option<AllowRequest>,
    pub(crate) generate_id: Option<GenerateId>,
    pub(crate) initial_headers: Option<HeadersHook>,
    pub(crate) headers: Option<HeadersHook>,
    pub(crate) connection_error: Option<ConnectionErrorHook>,
    pub(crate) recovery: Option<ConnectionStateRecovery>,
    pub(crate) cleanup_empty_child_namespaces: bool,
    pub(crate) ack_timeout: Duration,
    pub(crate) limits: Limits,
}

/// The longest time that is kept. JavaScript's timers count 2^31 milliseconds, 24 days, and clients wait for
/// `ping_interval + ping_timeout`: with more, theirs would end at once.
const LONGEST: Duration = Duration::from_secs(10 * 24 * 3600);

impl Config {
    /// Makes times that are as good as none so short that they can be added to the clock.
    pub(crate) fn bound_times(&mut self) {
        let Self { timing, connect_timeout, limits, .. } = self;
        for time in [
            &mut timing.ping_interval,
            &mut timing.ping_timeout,
            &mut timing.upgrade_timeout,
            connect_timeout,
            &mut limits.attachment_timeout,
        ] {
            *time = LONGEST.min(*time);
        }
    }

    /// Whether a request's path is the engine's. As in Node the path is a prefix, with its slash unless that is off.
    pub(crate) fn is_for_engine(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| !self.add_trailing_slash || rest.starts_with('/'))
    }
}

/// Options of [`ServerBuilder::connection_state_recovery`](crate::ServerBuilder::connection_state_recovery).
#[derive(Clone, Copy, Debug)]
pub struct ConnectionStateRecovery {
    /// How long a client may be away. Default: 120 s. `maxDisconnectionDuration` in Socket.IO.
    pub max_disconnection: Duration,
    /// Whether a client that comes back passes the namespace's middlewares unasked. Default: true. `skipMiddlewares`
    /// in Socket.IO. A client whose state was kept by a Node server does not: what Node keeps does not say of which
    /// namespace it is, so that it could be that of another.
    pub skip_middlewares: bool,
}

impl Default for ConnectionStateRecovery {
    fn default() -> Self {
        Self { max_disconnection: Duration::from_secs(120), skip_middlewares: true }
    }
}

/// What a peer may use at most. Each is crossed by a test.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Packets in the body of one POST.
    pub(crate) packets_per_payload: usize,
    /// Attachments, nesting and name of one Socket.IO packet.
    pub(crate) packet: decode::Limits,
    /// Fields of a request's head, and the bytes of their names and values.
    pub(crate) headers: usize,
    pub(crate) header_bytes: usize,
    /// Namespaces that one connection may be in.
    pub(crate) namespaces: usize,
    /// Handlers that run at once for one connection, and the bytes of events that may wait for one to end.
    pub(crate) handlers: usize,
    pub(crate) parked_bytes: usize,
    /// What may wait to be written to one connection.
    pub(crate) outbound_bytes: usize,
    pub(crate) outbound_packets: usize,
    /// From a packet that announces attachments to the last of them.
    pub(crate) attachment_timeout: Duration,
    /// Connections of this server.
    pub(crate) connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io".into(),
            add_trailing_slash: true,
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            timing: Timing::default(),
            connect_timeout: Duration::from_secs(45),
            max_http_buffer_size: 1_000_000,
            allow_eio3: false,
            parser: Parser::Json,
            cookie: None,
            cors: None,
            http_compression: Some(compression::DEFAULT_THRESHOLD),
            per_message_deflate: None,
            serve_client: None,
            allow_request: None,
            generate_id: None,
            initial_headers: None,
            headers: None,
            connection_error: None,
            recovery: None,
            cleanup_empty_child_namespaces: false,
            // Long enough for a phone that changes networks, short enough that nothing waits for ever.
            ack_timeout: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Official clients send what they buffered while offline in one payload; ten thousand tiny packets is abuse.
            packets_per_payload: 4_096,
            packet: decode::Limits { max_attachments: 10, ..decode::Limits::default() },
            headers: 100,
            header_bytes: 16 * 1024,
            namespaces: 100,
            handlers: 100,
            parked_bytes: 1_000_000,
            // A slow phone on a busy room: minutes of chat, or some seconds of video previews.
            outbound_bytes: 16 * 1024 * 1024,
            outbound_packets: 16_384,
            attachment_timeout: Duration::from_secs(30),
            connections: usize::MAX,
        }
    }
}
