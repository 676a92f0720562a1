//! Names of rooms, and what `to`, `except` and `join` accept as rooms.
//!
//! Rooms come from the user (`socket.join("lobby")`) and from other servers (`opts.rooms`), and go to the room index
//! of the server crate and into cluster messages. A socket id is a room too: every socket is in the room named by
//! its id. Node's numeric rooms are kept as their decimal text.

use std::{borrow::Borrow, fmt, ops::Deref};

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// The name of a room, or the id of a socket. Up to 24 bytes are kept inline, so a socket id (20 characters) or a
/// usual room name never allocates. Hashes, compares and borrows as `str`.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(CompactString);

/// A short list of rooms: two are kept inline.
pub type RoomList = SmallVec<[Room; 2]>;

impl Room {
    /// The room called `name`.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(CompactString::new(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Room {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Room {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

// Sound for hashed maps: CompactString hashes as its str.
impl Borrow<str> for Room {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Room {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Room {
    fn from(name: String) -> Self {
        Self(CompactString::from(name))
    }
}

impl From<&String> for Room {
    fn from(name: &String) -> Self {
        Self::new(name)
    }
}

impl From<&Room> for Room {
    fn from(room: &Room) -> Self {
        room.clone()
    }
}

impl From<Room> for String {
    fn from(room: Room) -> Self {
        room.0.into_string()
    }
}

impl PartialEq<str> for Room {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Room {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Room {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl serde::de::Visitor<'_> for Name {
            type Value = Room;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a room name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Room, E> {
                Ok(Room::new(name))
            }

            fn visit_u64<E>(self, name: u64) -> Result<Room, E> {
                Ok(Room::from(name.to_string()))
            }

            fn visit_i64<E>(self, name: i64) -> Result<Room, E> {
                Ok(Room::from(name.to_string()))
            }

            fn visit_f64<E>(self, name: f64) -> Result<Room, E> {
                Ok(Room::from(name.to_string()))
            }
        }

        deserializer.deserialize_any(Name)
    }
}

/// One room or several: what `to`, `in_room`, `except`, `join` and `leave` take.
///
/// `io.to("a")`, `io.to(&socket_id)`, `io.to(["a", "b"])`, `io.to(vec_of_strings)`, `io.to(&rooms[..])`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a room nor a list of rooms",
    note = "a room is a `&str`, `String` or `Room`; several are an array, a slice or a `Vec` of those"
)]
pub trait IntoRooms {
    /// Appends the rooms to `rooms`, in order.
    fn append_to(self, rooms: &mut RoomList);

    /// The rooms as a list.
    fn into_rooms(self) -> RoomList
    where
        Self: Sized,
    {
        let mut rooms = RoomList::new();
        self.append_to(&mut rooms);
        rooms
    }
}

/// Types that name one room.
macro_rules! one_room {
    ($($name:ty),*) => {$(
        impl IntoRooms for $name {
            fn append_to(self, rooms: &mut RoomList) {
                rooms.push(Room::from(self));
            }
        }
    )*};
}

one_room!(&str, String, &String, Room, &Room);

impl IntoRooms for &&str {
    fn append_to(self, rooms: &mut RoomList) {
        rooms.push(Room::from(*self));
    }
}

impl<R: AsRef<str>, const N: usize> IntoRooms for [R; N] {
    fn append_to(self, rooms: &mut RoomList) {
        self.as_slice().append_to(rooms);
    }
}

impl<R: AsRef<str>, const N: usize> IntoRooms for &[R; N] {
    fn append_to(self, rooms: &mut RoomList) {
        self.as_slice().append_to(rooms);
    }
}

impl<R: AsRef<str>> IntoRooms for &[R] {
    fn append_to(self, rooms: &mut RoomList) {
        rooms.extend(self.iter().map(Room::new));
    }
}

impl<R: AsRef<str>> IntoRooms for Vec<R> {
    fn append_to(self, rooms: &mut RoomList) {
        self.as_slice().append_to(rooms);
    }
}

impl<R: AsRef<str>> IntoRooms for &Vec<R> {
    fn append_to(self, rooms: &mut RoomList) {
        self.as_slice().append_to(rooms);
    }
}

impl IntoRooms for RoomList {
    fn append_to(self, rooms: &mut RoomList) {
        rooms.extend(self);
    }
}

impl IntoRooms for &RoomList {
    fn append_to(self, rooms: &mut RoomList) {
        rooms.extend(self.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_names_rooms_is_accepted() {
        let id = Room::from("0123456789abcdefghij");
        let names = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!("a".into_rooms().as_slice(), ["a"]);
        assert_eq!(String::from("a").into_rooms().as_slice(), ["a"]);
        assert_eq!((&names[0]).into_rooms().as_slice(), ["a"]);
        assert_eq!((&id).into_rooms().as_slice(), [id.as_str()]);
        assert_eq!(id.clone().into_rooms().as_slice(), [id.as_str()]);
        assert_eq!(["a", "b"].into_rooms().as_slice(), ["a", "b"]);
        assert_eq!((&["a", "b"]).into_rooms().as_slice(), ["a", "b"]);
        assert_eq!((&names).into_rooms().as_slice(), ["a", "b"]);
        assert_eq!(names[..].into_rooms().as_slice(), ["a", "b"]);
        assert_eq!(names.into_rooms().as_slice(), ["a", "b"]);
        assert!(Vec::<&str>::new().into_rooms().is_empty());
    }

    #[test]
    fn a_room_is_found_by_its_name() {
        let rooms = std::collections::HashSet::from([Room::from("lobby")]);
        assert!(rooms.contains("lobby"));
        assert!(size_of::<Room>() <= 24);
    }

    #[test]
    fn a_numeric_room_of_node_becomes_text() {
        let rooms: Vec<Room> = serde_json::from_str(r#"["a",42,-1,1.5]"#).unwrap();
        assert_eq!(rooms, ["a", "42", "-1", "1.5"]);
    }
}
