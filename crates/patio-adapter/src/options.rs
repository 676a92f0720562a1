//! Whom an operation is for, and how it is done: Socket.IO's `BroadcastOptions`.
//!
//! Built by the operators of the server crate (`to`, `except`, `volatile`, …) or read from a message of another
//! server; read by [`Local`](crate::Local), which resolves the sockets, and by brokers, which pick a channel by it.

use std::time::Duration;

use crate::room::{IntoRooms, Room, RoomList};

/// How long acknowledgements and answers of other servers are awaited when the caller names no time. Node's
/// `requestsTimeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The sockets an operation is for: the members of `rooms` without the members of `except`, each once.
///
/// The default is every socket of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroadcastOptions {
    /// `None`: everyone in the namespace. `Some` of an empty list: nobody (in Node: everyone).
    pub rooms: Option<RoomList>,
    /// Members of these rooms are left out. A socket id is a room.
    pub except: RoomList,
    /// How it is sent.
    pub flags: Flags,
}

/// Modifiers of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Drop the packet for a receiver that cannot take it at once.
    pub volatile: bool,
    /// Only sockets of this server.
    pub local: bool,
    /// Whether the packet may be compressed; `None`: the server's default.
    pub compress: Option<bool>,
    /// How long answers are awaited; `None`: [`DEFAULT_TIMEOUT`].
    pub timeout: Option<Duration>,
    /// The caller wants one answer, not a list: an event with ack to one socket of another server. Travels to other
    /// servers.
    pub expect_single_response: bool,
}

impl BroadcastOptions {
    /// Everyone in the namespace.
    pub fn everyone() -> Self {
        Self::default()
    }

    /// The members of `rooms`; nobody when the list is empty.
    pub fn to(rooms: impl IntoRooms) -> Self {
        Self { rooms: Some(rooms.into_rooms()), ..Self::default() }
    }

    /// Adds rooms: the union of all that were named.
    pub fn add_rooms(&mut self, rooms: impl IntoRooms) {
        rooms.append_to(self.rooms.get_or_insert_default());
    }

    /// Leaves out the members of `rooms`.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        rooms.append_to(&mut self.except);
        self
    }

    /// Only sockets of this server.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Awaits answers for `timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// True when no socket can be meant: `to` of an empty list.
    pub fn is_nobody(&self) -> bool {
        self.rooms.as_ref().is_some_and(RoomList::is_empty)
    }

    /// The one room that is targeted, if it is exactly one: what picks a room's channel.
    pub fn single_room(&self) -> Option<&Room> {
        match self.rooms.as_deref() {
            Some([room]) => Some(room),
            _ => None,
        }
    }

    /// How long answers are awaited.
    pub fn timeout_or_default(&self) -> Duration {
        self.flags.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// Whether a socket is meant, given which rooms it is in. Its own id must count as one of them.
    pub fn includes(&self, is_in: impl Fn(&Room) -> bool) -> bool {
        let targeted = self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(&is_in));
        targeted && !self.except.iter().any(&is_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_a_union_and_except_wins() {
        let member_of = |rooms: &'static [&str]| move |room: &Room| rooms.contains(&room.as_str());
        let options = BroadcastOptions::to(["a", "b"]).except("x");
        assert!(options.includes(member_of(&["id", "a"])));
        assert!(options.includes(member_of(&["id", "a", "b"])));
        assert!(!options.includes(member_of(&["id", "a", "x"])));
        assert!(!options.includes(member_of(&["id"])));
        assert!(BroadcastOptions::everyone().includes(member_of(&["id"])));
    }

    #[test]
    fn an_empty_list_reaches_nobody() {
        let options = BroadcastOptions::to(Vec::<Room>::new());
        assert!(options.is_nobody());
        assert!(!options.includes(|_| true));
        assert!(!BroadcastOptions::everyone().is_nobody());
    }

    #[test]
    fn one_room_is_single() {
        assert_eq!(BroadcastOptions::to("a").single_room().unwrap(), "a");
        assert!(BroadcastOptions::to(["a", "b"]).single_room().is_none());
        assert!(BroadcastOptions::everyone().single_room().is_none());
    }
}
