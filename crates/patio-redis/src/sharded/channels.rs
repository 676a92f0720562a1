//! The channels of one namespace in sharded pub/sub. Names are not escaped; each may be on another server of a cluster.

use bytes::Bytes;
use patio_adapter::{BroadcastOptions, NodeId, Room};

use super::SubscriptionMode;

/// The names, with Node's default prefix in the examples.
#[derive(Debug)]
pub(super) struct Channels {
    /// `socket.io#/nsp#`: what is for all servers.
    pub(super) common: Bytes,
    /// `socket.io#/nsp#uid#`: answers to this server.
    pub(super) own: Bytes,
    /// `socket.io-patio#/nsp#`: where servers like this one ask each other what Node's protocol has not.
    pub(super) patio: Bytes,
    mode: SubscriptionMode,
}

impl Channels {
    pub(super) fn new(prefix: &str, namespace: &str, node: &NodeId, mode: SubscriptionMode) -> Self {
        let common = format!("{prefix}#{namespace}#");
        Self {
            own: format!("{common}{node}#").into(),
            common: common.into(),
            patio: format!("{prefix}-patio#{namespace}#").into(),
            mode,
        }
    }

    /// Where another server listens for answers.
    pub(super) fn answers_of(&self, node: &NodeId) -> Bytes {
        self.below(node.as_str())
    }

    /// Where a broadcast without acks goes.
    pub(super) fn broadcast(&self, options: &BroadcastOptions) -> Bytes {
        options.single_room().and_then(|room| self.of_room(room)).unwrap_or_else(|| self.common.clone())
    }

    /// The channel of a room, if it has one of its own.
    pub(super) fn of_room(&self, room: &Room) -> Option<Bytes> {
        match self.mode {
            SubscriptionMode::Static => None,
            SubscriptionMode::Dynamic => (!looks_like_an_id(room)).then(|| self.below(room)),
            SubscriptionMode::DynamicPrivate => Some(self.below(room)),
        }
    }

    /// The channel that it subscribes to for a room that it holds. Not where it hears answers anyway: that would end with the
    /// room.
    pub(super) fn of_held(&self, room: &Room) -> Option<Bytes> {
        self.of_room(room).filter(|channel| *channel != self.own)
    }

    fn below(&self, name: &str) -> Bytes {
        [&self.common[..], name.as_bytes(), b"#"].concat().into()
    }
}

/// By this Node tells, when it sends, the rooms of sockets from others: 20 units of UTF-16. What is not so has a channel of
/// its own, also the id of a socket, as those of older clients in namespaces; Node's own servers forget those.
fn looks_like_an_id(room: &str) -> bool {
    room.encode_utf16().count() == 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_those_of_node() {
        let channels = |mode| Channels::new("socket.io", "/", &NodeId::new("0123456789abcdef"), mode);
        let of = |mode, room: &str| channels(mode).broadcast(&BroadcastOptions::to(room));
        let id = "0123456789abcdefghij";
        use SubscriptionMode::{Dynamic, DynamicPrivate, Static};
        assert_eq!(of(Static, "a"), "socket.io#/#");
        assert_eq!(of(Dynamic, "a#b"), "socket.io#/#a#b#");
        assert_eq!(of(Dynamic, id), "socket.io#/#");
        assert_eq!(of(Dynamic, "/chat#0123456789abcdefghij"), "socket.io#/#/chat#0123456789abcdefghij#");
        assert_eq!(of(DynamicPrivate, id), "socket.io#/#0123456789abcdefghij#");
        let channels = channels(Dynamic);
        assert_eq!(channels.own, "socket.io#/#0123456789abcdef#");
        assert_eq!(channels.of_held(&"a".into()).unwrap(), "socket.io#/#a#");
        assert_eq!(channels.of_held(&"0123456789abcdef".into()), None, "a room called as this server");
        assert_eq!(channels.broadcast(&BroadcastOptions::to(["a", "b"])), channels.common);
        assert_eq!(channels.broadcast(&BroadcastOptions::everyone()), channels.common);
    }
}
