//! Names of rooms, and those that the server keeps itself: a socket's id, and `user:<id>` of those whose user is known.

use patio::Room;
use serde_json::Value as Json;

use super::{
    error::{Code, Error},
    fields,
};

/// What the rooms of users begin with.
const USER: &str = "user:";

/// The longest name of a room, in characters.
pub(crate) const MAX_NAME: usize = 512;

/// The room of a user.
pub(crate) fn of_user(id: &str) -> Room {
    Room::from(format!("{USER}{id}"))
}

/// Whose room it is, if it is a user's.
pub(crate) fn user_of(room: &str) -> Option<&str> {
    room.strip_prefix(USER)
}

/// A room that something is sent to, or whose sockets are meant: any.
pub(crate) fn any(value: Json) -> Result<Room, Error> {
    let name = fields::text(value)?;
    match name.chars().count() {
        0..=MAX_NAME => Ok(Room::from(name)),
        _ => Err(Error::new(Code::InvalidField, format!("is longer than {MAX_NAME} characters"))),
    }
}

/// A room that sockets enter or leave: none of those that the server keeps itself, or whoever may name a room could read
/// what is for one user or one socket.
pub(crate) fn open(value: Json) -> Result<Room, Error> {
    let room = any(value)?;
    check_open(&room)?;
    Ok(room)
}

/// As [`open`], for a name.
pub(crate) fn check_open(name: &str) -> Result<(), Error> {
    let refuse = |why: &str| {
        Err(Error::new(Code::ReservedRoom, format!("{why}, which only the server enters and leaves")))
    };
    if name.starts_with(USER) {
        return refuse("is the room of a user");
    }
    if is_like_an_id(name) {
        return refuse("looks like the id of a socket");
    }
    Ok(())
}

/// Ids have 20 characters of URL-safe base-64, those of clients 1.x and 2.x in namespaces `/nsp#` before them.
pub(crate) fn is_like_an_id(name: &str) -> bool {
    let id = match name.rsplit_once('#') {
        Some((nsp, id)) if nsp.starts_with('/') => id,
        _ => name,
    };
    id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_keeps_is_not_entered() {
        for name in ["user:1", "user:", "abcdefghij0123456_-9", "/chat#abcdefghij0123456789"] {
            assert_eq!(open(name.into()).unwrap_err().code, Code::ReservedRoom, "{name}");
            assert!(any(name.into()).is_ok());
        }
        for name in [
            "",
            "users:1",
            "team:7",
            "abcdefghij012345678",
            "abcdefghij0123456789a",
            "a#abcdefghij012345678é",
        ] {
            assert_eq!(open(name.into()).unwrap(), name);
        }
        assert!(any("x".repeat(MAX_NAME + 1).into()).is_err());
        assert_eq!((&*of_user("42"), user_of("user:42"), user_of("a")), ("user:42", Some("42"), None));
    }
}
