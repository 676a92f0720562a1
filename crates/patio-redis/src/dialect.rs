//! The versions of `@socket.io/redis-adapter` and `socket.io-redis` whose messages can be written.

use patio_proto::msgpack;

/// Whose messages are written. All are read, whatever is chosen, but for the requests of [`V5`](Self::V5): they mean
/// something else in all later versions, so they are dropped and counted there, and those of later versions here.
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
    /// `socket.io-redis` 5, of Socket.IO 2: all servers of the cluster must speak it. There are broadcasts, `count_sockets`
    /// and `all_rooms`; `except` leaves out sockets by their ids, as `socket.broadcast()` does; `sockets_join`,
    /// `sockets_leave` and `disconnect_sockets` are for sockets that `to` names by their ids. All else is unsupported: it is
    /// done on this server only. Ids are told from rooms by their look, 20 letters, digits, `-` and `_`, which
    /// `generate_id` must keep. Clients 2.x need `allow_eio3(true)`.
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
