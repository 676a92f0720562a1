//! The channels of one namespace.
//!
//! Names are not escaped: a room `a#b` makes `socket.io#/#a#b#`. Only the pattern is, so that a namespace with `*` or
//! brackets subscribes to itself.

use bytes::Bytes;
use patio_adapter::{BroadcastOptions, NodeId};

use crate::client::Subscription;

/// What the names begin with, unless told otherwise.
pub(crate) const DEFAULT_KEY: &str = "socket.io";

/// The names, with Node's default key in the examples.
#[derive(Debug)]
pub(crate) struct Channels {
    /// `socket.io#/nsp#`: broadcasts to all, or to several rooms. With a room and another `#`: to that room.
    broadcasts: Bytes,
    /// `socket.io#/nsp#*`, escaped.
    pattern: Bytes,
    /// `socket.io-request#/nsp#`
    pub(crate) requests: Bytes,
    /// `socket.io-response#/nsp#`
    pub(crate) responses: Bytes,
    /// `socket.io-response#/nsp#uid#`: for this server alone.
    own_responses: Bytes,
    /// `socket.io-patio#/nsp#`: where servers like this one ask each other what Node's protocol has not.
    pub(crate) patio_requests: Bytes,
    response_prefix: String,
}

/// What came on a channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A broadcast, to this room alone if there is one.
    Broadcast(Option<&'a [u8]>),
    Request,
    PatioRequest,
    Response,
}

impl Channels {
    pub(crate) fn new(key: &str, namespace: &str, node: &NodeId) -> Self {
        let broadcasts = format!("{key}#{namespace}#");
        let response_prefix = format!("{key}-response#{namespace}#");
        Self {
            pattern: (escape(&broadcasts) + "*").into(),
            broadcasts: broadcasts.into(),
            requests: format!("{key}-request#{namespace}#").into(),
            responses: response_prefix.clone().into(),
            own_responses: format!("{response_prefix}{node}#").into(),
            patio_requests: format!("{key}-patio#{namespace}#").into(),
            response_prefix,
        }
    }

    /// Where a broadcast goes: exactly one room has a channel of its own, whatever else is chosen.
    pub(crate) fn broadcast(&self, options: &BroadcastOptions) -> Bytes {
        match options.single_room() {
            Some(room) => [&self.broadcasts, room.as_bytes(), b"#"].concat().into(),
            None => self.broadcasts.clone(),
        }
    }

    /// Where another server alone listens for responses.
    pub(crate) fn responses_of(&self, node: &NodeId) -> Bytes {
        format!("{}{node}#", self.response_prefix).into()
    }

    /// What a server subscribes to.
    pub(crate) fn subscriptions(&self) -> [Subscription<'_>; 5] {
        [
            Subscription::pattern(&self.pattern),
            Subscription::channel(&self.requests),
            Subscription::channel(&self.responses),
            Subscription::channel(&self.own_responses),
            Subscription::channel(&self.patio_requests),
        ]
    }

    /// What a message on `channel` is. As in Node, of what follows the prefix the last character is cut off, whatever it
    /// is, and no room is left of `##`.
    pub(crate) fn kind<'a>(&self, channel: &'a [u8]) -> Option<Kind<'a>> {
        if let Some(rest) = channel.strip_prefix(&self.broadcasts[..]) {
            let room = rest.split_last().map(|(_, room)| room).filter(|room| !room.is_empty());
            return Some(Kind::Broadcast(room));
        }
        match channel {
            _ if channel == self.requests => Some(Kind::Request),
            _ if channel == self.responses || channel == self.own_responses => Some(Kind::Response),
            _ if channel == self.patio_requests => Some(Kind::PatioRequest),
            _ => None,
        }
    }
}

/// The text as a pattern of Redis that fits only itself.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_those_of_node() {
        let channels = Channels::new("socket.io", "/a[1]*", &NodeId::new("AbC-_9"));
        let subscriptions =
            channels.subscriptions().map(|subscription| std::str::from_utf8(subscription.name).unwrap());
        assert_eq!(
            subscriptions,
            [
                r"socket.io#/a\[1\]\*#*",
                "socket.io-request#/a[1]*#",
                "socket.io-response#/a[1]*#",
                "socket.io-response#/a[1]*#AbC-_9#",
                "socket.io-patio#/a[1]*#",
            ]
        );
        assert_eq!(channels.responses_of(&NodeId::new("AbC-_9")), channels.own_responses);
    }

    #[test]
    fn a_room_stands_in_the_channel() {
        let channels = Channels::new("key", "/", &NodeId::new("n"));
        for (room, kind) in
            [("a", Some(&b"a"[..])), ("a#b", Some(b"a#b")), ("é", Some("é".as_bytes())), ("", None)]
        {
            let channel = channels.broadcast(&BroadcastOptions::to(room));
            assert_eq!(channels.kind(&channel), Some(Kind::Broadcast(kind)));
        }
        assert_eq!(channels.kind(b"key#/#"), Some(Kind::Broadcast(None)));
        assert_eq!(channels.kind(b"key#/#ab"), Some(Kind::Broadcast(Some(b"a"))));
        assert_eq!(channels.kind(b"key-request#/#"), Some(Kind::Request));
        assert_eq!(channels.kind(b"key-response#/#n#"), Some(Kind::Response));
        assert_eq!(channels.kind(b"key-response#/#m#"), None);
    }
}
