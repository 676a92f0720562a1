//! The versions of Node's adapter whose messages can be written.

use patio_proto::msgpack;

/// Whose messages are written. Broadcasts of all are read, whatever is chosen, and requests of all but
/// [`V5`](Self::V5), which shares no cluster with any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `@socket.io/redis-adapter` 8.
    #[default]
    V8,
    /// `@socket.io/redis-adapter` 7.2: dates and `undefined` in the MessagePack of its time.
    V7,
    /// `@socket.io/redis-adapter` 7.0 and 7.1. There are no broadcasts with acks: servers of 7.0 would end at one, those of
    /// 7.1 never answer. Bytes in `server_side_emit` become JSON, as in Node.
    V7_1,
    /// `socket.io-redis` 6, which knows no `server_side_emit` either.
    V6,
    /// `socket.io-redis` 5, for Socket.IO 2: every server of the cluster must speak it. It knows broadcasts,
    /// `count_sockets` and `all_rooms`; `sockets_join`, `sockets_leave` and `disconnect_sockets` of sockets that `to` names by
    /// their ids; `except` of ids, as `socket.broadcast()` has it. All else is unsupported. Ids are told from rooms by
    /// their look, which `generate_id` must not change: 20 letters, digits, `-` and `_`.
    V5,
}

impl Dialect {
    pub(crate) const fn msgpack(self) -> msgpack::Dialect {
        match self {
            Self::V8 => msgpack::Dialect::Notepack3,
            Self::V7 | Self::V7_1 | Self::V6 | Self::V5 => msgpack::Dialect::Notepack2,
        }
    }

    /// Whether requests may be in MessagePack, as a broadcast with acks is.
    pub(crate) const fn has_msgpack_requests(self) -> bool {
        matches!(self, Self::V8 | Self::V7)
    }

    pub(crate) const fn has_server_side_emit(self) -> bool {
        !matches!(self, Self::V6 | Self::V5)
    }
}
