//! The channels of one namespace of [`PubSub`](crate::PubSub).
//!
//! Names are not escaped: a room `a#b` makes `socket.io#/#a#b#`. Only the pattern is, so that a namespace with `*` or
//! brackets subscribes to itself.

use bytes::Bytes;
use patio_adapter::{BroadcastOptions, NodeId};
use patio_proto::sid::Sid;

use crate::client::Subscription;

/// The names, with Node's default key in the examples.
#[derive(Debug)]
pub(crate) struct Channels {
    /// `socket.io#/nsp#`: broadcasts to all, or to several rooms. With a room and another `#`: to that room.
    broadcasts: Bytes,
    rooms: Rooms,
    /// `socket.io-request#/nsp#`
    pub(crate) requests: Bytes,
    /// `socket.io-response#/nsp#`
    pub(crate) responses: Bytes,
    /// `socket.io-response#/nsp#uid#`: for this server alone.
    pub(crate) own_responses: Bytes,
    /// `socket.io-patio#/nsp#`: where servers like this one ask each other what Node's protocol has not.
    pub(crate) patio_requests: Bytes,
    response_prefix: String,
}

/// How a server hears what is for rooms.
#[derive(Debug)]
enum Rooms {
    /// With all that is for others: `socket.io#/nsp#*`, escaped.
    All(Bytes),
    /// Each by its own channel, but those of ids that begin with the server's tag by one pattern,
    /// `socket.io#/nsp#TAG????????????????#`, escaped.
    Held { tag: String, ids: Option<Bytes> },
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
    /// With a tag of ids only the rooms are heard that are held here.
    pub(crate) fn new(key: &str, namespace: &str, node: &NodeId, tag: Option<String>) -> Self {
        let broadcasts = format!("{key}#{namespace}#");
        let rooms = match tag {
            None => Rooms::All((escape(&broadcasts) + "*").into()),
            Some(tag) => {
                let rest = Sid::LEN.saturating_sub(tag.len());
                let ids = || (escape(&broadcasts) + &escape(&tag) + &"?".repeat(rest) + "#").into();
                Rooms::Held { ids: (!tag.is_empty()).then(ids), tag }
            }
        };
        let response_prefix = format!("{key}-response#{namespace}#");
        Self {
            rooms,
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
            Some(room) => self.of_room(room),
            None => self.broadcasts.clone(),
        }
    }

    /// Where another server alone listens for responses.
    pub(crate) fn responses_of(&self, node: &NodeId) -> Bytes {
        format!("{}{node}#", self.response_prefix).into()
    }

    /// What a server subscribes to, whatever rooms it holds.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription<'_>> {
        let common = [&self.requests, &self.responses, &self.own_responses, &self.patio_requests];
        let mut subscriptions = Vec::from(common.map(|name| Subscription::channel(name)));
        match &self.rooms {
            Rooms::All(pattern) => subscriptions.push(Subscription::pattern(pattern)),
            Rooms::Held { ids, .. } => {
                subscriptions.push(Subscription::channel(&self.broadcasts));
                subscriptions.extend(ids.iter().map(|pattern| Subscription::pattern(pattern)));
            }
        }
        subscriptions
    }

    /// The channel that it subscribes to for a room that it holds, if the others do not bring what is for it.
    pub(crate) fn of_held(&self, room: &str) -> Option<Bytes> {
        match &self.rooms {
            Rooms::Held { tag, ids } if ids.is_none() || room.len() != Sid::LEN || !room.starts_with(tag) => {
                Some(self.of_room(room))
            }
            _ => None,
        }
    }

    fn of_room(&self, room: &str) -> Bytes {
        [&self.broadcasts, room.as_bytes(), b"#"].concat().into()
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

    const fn channel(name: &str) -> Subscription<'_> {
        Subscription::channel(name.as_bytes())
    }

    const fn pattern(name: &str) -> Subscription<'_> {
        Subscription::pattern(name.as_bytes())
    }

    #[test]
    fn are_those_of_node() {
        let channels = Channels::new("socket.io", "/a[1]*", &NodeId::new("AbC-_9"), None);
        assert_eq!(
            channels.subscriptions(),
            [
                channel("socket.io-request#/a[1]*#"),
                channel("socket.io-response#/a[1]*#"),
                channel("socket.io-response#/a[1]*#AbC-_9#"),
                channel("socket.io-patio#/a[1]*#"),
                pattern(r"socket.io#/a\[1\]\*#*"),
            ]
        );
        assert_eq!(channels.responses_of(&NodeId::new("AbC-_9")), channels.own_responses);
        assert_eq!(channels.of_held("a"), None);
    }

    #[test]
    fn rooms_that_are_held_have_channels_and_ids_a_pattern() {
        let channels = Channels::new("key", "/[", &NodeId::new("n"), Some("a-_Z".into()));
        let rooms = [channel("key#/[#"), pattern(r"key#/\[#a-_Z????????????????#")];
        assert_eq!(channels.subscriptions()[4..], rooms);
        assert_eq!(channels.of_held("a-_Z0123456789abcdef"), None);
        for room in ["", "a", "a-_Z", "a-_Z0123456789abcde", "a-_Z0123456789abcdefg", "b-_Z0123456789abcdef"]
        {
            assert_eq!(channels.of_held(room), Some(format!("key#/[#{room}#").into()));
        }
        // In bytes, as Redis counts.
        assert_eq!(channels.of_held("a-_Z0123456789abcdé"), None);
        let untagged = Channels::new("key", "/", &NodeId::new("n"), Some(String::new()));
        assert_eq!(untagged.subscriptions()[4..], [channel("key#/#")]);
        assert_eq!(untagged.of_held("a-_Z0123456789abcdef"), Some("key#/#a-_Z0123456789abcdef#".into()));
    }

    #[test]
    fn a_room_stands_in_the_channel() {
        let channels = Channels::new("key", "/", &NodeId::new("n"), None);
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
