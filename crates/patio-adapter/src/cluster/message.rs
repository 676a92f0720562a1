//! What servers say to each other, whatever the broker: the messages of Node's `ClusterAdapter`, and two of our own.
//!
//! Brokers turn these into bytes and back. Everything is decoded before it comes here; what cannot be decoded is
//! reported to [`Inbox::garbage`](super::broker::Inbox::garbage).

use std::fmt;

use compact_str::CompactString;

use crate::{BroadcastOptions, NodeId, Offset, Payload, Room, SocketSnapshot};

/// Names of events that servers must not send to servers: Node uses them itself, and an `error` that nobody handles ends a
/// Node server.
pub const SERVER_SIDE_RESERVED: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

/// Names one question, so that its answers find back.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(CompactString);

impl RequestId {
    /// The id `id`, as it was read from a message.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(CompactString::new(id))
    }

    /// 16 random lower-case hex characters, as Node's cluster adapters choose them.
    pub fn random() -> Self {
        Self(super::random_id())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message between servers of a namespace. The numbers are those of Node's `ClusterAdapter`.
#[derive(Clone, Debug)]
pub enum Message {
    /// 1: I am new, who is there?
    InitialHeartbeat,
    /// 2: I am here.
    Heartbeat,
    /// 3: an event for sockets; with a request, their acks are wanted.
    Broadcast {
        /// `["name", …arguments]`.
        payload: Payload,
        /// For whom.
        options: BroadcastOptions,
        /// Answered by one [`ClientCount`](Self::ClientCount), also of 0, and one [`Ack`](Self::Ack) per socket.
        request: Option<RequestId>,
    },
    /// 4: sockets join rooms.
    Join {
        /// Which sockets.
        options: BroadcastOptions,
        /// Which rooms.
        rooms: Vec<Room>,
    },
    /// 5: sockets leave rooms.
    Leave {
        /// Which sockets.
        options: BroadcastOptions,
        /// Which rooms.
        rooms: Vec<Room>,
    },
    /// 6: sockets are disconnected.
    Disconnect {
        /// Which sockets.
        options: BroadcastOptions,
        /// Whether their connections end too.
        close: bool,
    },
    /// 7: which sockets have you?
    FetchSockets {
        /// Answered by [`Sockets`](Self::Sockets).
        request: RequestId,
        /// Which sockets.
        options: BroadcastOptions,
    },
    /// 8: these sockets.
    Sockets {
        /// The question.
        request: RequestId,
        /// The sockets.
        sockets: Vec<SocketSnapshot>,
    },
    /// 9: an event for servers.
    ServerSideEmit {
        /// `["name", …arguments]`.
        payload: Payload,
        /// Answered by [`ServerSideAnswer`](Self::ServerSideAnswer).
        request: Option<RequestId>,
    },
    /// 10: a server's answer to such an event.
    ServerSideAnswer {
        /// The question.
        request: RequestId,
        /// An array; on Node's wire its first element.
        value: Payload,
    },
    /// 11: that many sockets have been asked.
    ClientCount {
        /// The question.
        request: RequestId,
        /// How many acks may follow.
        count: usize,
    },
    /// 12: a socket's ack.
    Ack {
        /// The question.
        request: RequestId,
        /// The arguments of the ack, an array; on Node's wire its first element.
        value: Payload,
    },
    /// 13: I am leaving.
    AdapterClose,
    /// How many sockets have you? Only for brokers that [support](super::Broker::supports) it.
    CountSockets {
        /// Answered by [`Count`](Self::Count).
        request: RequestId,
        /// Which sockets.
        options: BroadcastOptions,
    },
    /// That many sockets.
    Count {
        /// The question.
        request: RequestId,
        /// The number.
        count: usize,
    },
    /// Which rooms have you? Only for brokers that [support](super::Broker::supports) it.
    AllRooms {
        /// Answered by [`Rooms`](Self::Rooms).
        request: RequestId,
    },
    /// These rooms.
    Rooms {
        /// The question.
        request: RequestId,
        /// The rooms.
        rooms: Vec<Room>,
    },
}

impl Message {
    /// True for what only changes or reaches sockets, and asks for no answer: what a broker may loop back.
    pub fn is_command(&self) -> bool {
        matches!(
            self,
            Self::Broadcast { request: None, .. }
                | Self::Join { .. }
                | Self::Leave { .. }
                | Self::Disconnect { .. }
        )
    }
}

/// A message with where it came from.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Who sent it.
    pub sender: Sender,
    /// Its place in the recorded history, if the broker records.
    pub offset: Option<Offset>,
    /// What it says.
    pub message: Message,
}

/// Who sent a message, and the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The server. `None`: the protocol does not tell, or an emitter, which is no server.
    pub node: Option<NodeId>,
    /// For the broker: on which of its media the message came, so that the answer takes the same.
    pub via: u8,
}
