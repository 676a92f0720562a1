//! The chat of the page: people with names, in rooms. The page's side, with the events and their shapes, is the
//! comment on top of `../page/app.js`; whoever changes one changes the other.
//!
//! Who somebody is and where lives in `socket.data`, because that is what the other servers of a cluster can see:
//! the list of a room's members is asked for (`fetch_sockets`) and has no second copy here.

use std::time::{SystemTime, UNIX_EPOCH};

use patio::{EmitError, Namespace, Reply, Server, Socket, extract::Data};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Characters of a name, of a room's name, and of a message.
const NAME_MOST: usize = 32;
const ROOM_MOST: usize = 64;
const TEXT_MOST: usize = 2_000;

/// People in one room: whoever enters gets the whole list and is announced to everybody on it.
const MEMBERS_MOST: usize = 200;

/// The key of `socket.data` under which a [`Seat`] is.
const SEAT: &str = "chat";

/// Its handlers.
pub(crate) fn namespace() -> Namespace {
    Namespace::new()
        .on("enter", enter)
        .on("say", say)
        .on("leave", async |socket: Socket| -> Result<Reply<Answer>, EmitError> {
            stand_up(&socket)?;
            Ok(Reply(Answer::yes()))
        })
        .on("rtt", async || {})
        .on_disconnect(async |socket: Socket| stand_up(&socket))
}

/// Into a room, and out of the one before. Refused if the name is taken there.
async fn enter(socket: Socket, io: Server, Data(wish): Data<Seat>) -> Result<Reply<Answer>, EmitError> {
    let seat = match wish.checked() {
        Ok(seat) => seat,
        Err(fault) => return Ok(Reply(fault.into())),
    };
    let members = members(&io, &seat).await?;
    let mut others = members.iter().filter(|member| *socket.id() != *member.id);
    if members.len() >= MEMBERS_MOST {
        return Ok(Reply(Fault::new("room", "This room is full.").into()));
    }
    if others.any(|other| other.name.to_lowercase() == seat.name.to_lowercase()) {
        let message = format!("Somebody in this room is already called {}. Choose another name.", seat.name);
        return Ok(Reply(Fault::new("name", message).into()));
    }
    if !socket.is_connected() {
        return Ok(Reply(Answer::yes())); // it ended while we asked: nobody would announce that it left
    }
    stand_up(&socket)?;
    let me = Member { id: socket.id().to_string(), name: seat.name.clone() };
    socket.join(seat.channel());
    socket.to(seat.channel()).emit("entered", &me)?;
    socket.set_data(SEAT, &seat).expect("two strings can be serialised");
    // Asked once more: those who came in since the first time announced themselves before we could hear it.
    Ok(Reply(Answer { members: Some(self::members(&io, &seat).await?), ..Answer::yes() }))
}

/// To everybody in the room, the sender too, so that all see one order.
async fn say(socket: Socket, io: Server, Data(text): Data<String>) -> Result<Reply<Answer>, EmitError> {
    let Some(seat) = Seat::of(&socket.data()) else {
        return Ok(Reply(Fault::new("text", "You are in no room.").into()));
    };
    if let Err(fault) = length("text", "A message", &text, TEXT_MOST) {
        return Ok(Reply(fault.into()));
    }
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    io.to(seat.channel()).emit("said", &Said { id: socket.id().to_string(), name: seat.name, text, at })?;
    Ok(Reply(Answer::yes()))
}

/// Out of the room it is in, if any, which the others there are told.
fn stand_up(socket: &Socket) -> Result<(), EmitError> {
    let Some(seat) = Seat::of(&socket.data()) else { return Ok(()) };
    socket.set_data(SEAT, &()).expect("nothing can be serialised");
    socket.leave(seat.channel());
    socket.to(seat.channel()).emit("left", &Member { id: socket.id().to_string(), name: seat.name })
}

/// Who is in the room of this seat, on any server of the cluster that answers in time.
async fn members(io: &Server, seat: &Seat) -> Result<Vec<Member>, EmitError> {
    let fetched = io.in_room(seat.channel()).fetch_sockets().await?;
    let sockets = fetched.sockets.into_iter();
    Ok(sockets
        .filter_map(|socket| Some(Member { name: Seat::of(&socket.data)?.name, id: socket.id.to_string() }))
        .collect())
}

/// What `enter` asks for, and what `socket.data` says of somebody who is in a room.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
struct Seat {
    #[serde(default)]
    name: String,
    #[serde(default)]
    room: String,
}

impl Seat {
    fn of(data: &Value) -> Option<Self> {
        Self::deserialize(data.get(SEAT)?).ok()
    }

    fn checked(self) -> Result<Self, Fault> {
        let seat = Self { name: self.name.trim().to_owned(), room: self.room.trim().to_owned() };
        length("name", "A name", &seat.name, NAME_MOST)?;
        length("room", "The name of a room", &seat.room, ROOM_MOST)?;
        for (field, text) in [("name", &seat.name), ("room", &seat.room)] {
            if text.chars().any(char::is_control) {
                return Err(Fault::new(field, "Line breaks and other control characters cannot be in it."));
            }
        }
        Ok(seat)
    }

    /// The Socket.IO room. Every socket is also in a room named by its id: the prefix keeps people out of those.
    fn channel(&self) -> String {
        format!("{SEAT}/{}", self.room)
    }
}

/// At least one character that is not blank, and at most so many.
fn length(field: &'static str, what: &str, text: &str, most: usize) -> Result<(), Fault> {
    match text.chars().count() {
        _ if text.trim().is_empty() => {
            Err(Fault::new(field, format!("{what} needs at least one character.")))
        }
        count if count > most => {
            Err(Fault::new(field, format!("{what} has at most {most} characters; this one has {count}.")))
        }
        _ => Ok(()),
    }
}

/// An entry of the list of members, and what a room is told when somebody comes or goes.
#[derive(Debug, Serialize)]
struct Member {
    id: String,
    name: String,
}

/// What a room is told when somebody speaks. `at` is in milliseconds since the epoch.
#[derive(Debug, Serialize)]
struct Said {
    id: String,
    name: String,
    text: String,
    at: u64,
}

/// The ack of every request of the page but `rtt`.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Member>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Fault>,
}

impl Answer {
    fn yes() -> Self {
        Self { ok: true, members: None, error: None }
    }
}

/// Why not, in words for the person, and the field of the form that they are about.
#[derive(Debug, Serialize, PartialEq)]
struct Fault {
    field: &'static str,
    message: String,
}

impl Fault {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self { ok: false, members: None, error: Some(fault) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, room: &str) -> Result<(String, String), &'static str> {
        let seat = Seat { name: name.to_owned(), room: room.to_owned() };
        seat.checked().map(|seat| (seat.name, seat.room)).map_err(|fault| fault.field)
    }

    #[test]
    fn names_and_rooms_are_trimmed_and_bounded() {
        assert_eq!(checked(" Ada ", "\tlobby\n"), Ok(("Ada".to_owned(), "lobby".to_owned())));
        assert_eq!(checked("  ", "lobby"), Err("name"));
        assert_eq!(checked("Ada", ""), Err("room"));
        assert!(checked(&"é".repeat(32), &"é".repeat(64)).is_ok(), "characters are counted, not bytes");
        assert_eq!(checked(&"x".repeat(33), "lobby"), Err("name"));
        assert_eq!(checked("Ada", &"x".repeat(65)), Err("room"));
        assert_eq!(checked("A\u{0}da", "lobby"), Err("name"));
        assert_eq!(checked("Ada", "lob\nby"), Err("room"));
    }

    #[test]
    fn a_room_cannot_be_somebodys_own() {
        let seat = Seat { name: "Ada".to_owned(), room: "x3KdwMf84JelwjkpAAAA".to_owned() };
        assert_eq!(seat.channel(), "chat/x3KdwMf84JelwjkpAAAA");
    }

    #[test]
    fn answers_have_the_shape_that_the_page_reads() {
        let text = |answer: Answer| serde_json::to_string(&answer).unwrap();
        assert_eq!(text(Answer::yes()), r#"{"ok":true}"#);
        let fault = length("text", "A message", "", TEXT_MOST).unwrap_err();
        assert_eq!(
            text(fault.into()),
            r#"{"ok":false,"error":{"field":"text","message":"A message needs at least one character."}}"#
        );
        let members = Some(vec![Member { id: "a".to_owned(), name: "Ada".to_owned() }]);
        assert_eq!(
            text(Answer { members, ..Answer::yes() }),
            r#"{"ok":true,"members":[{"id":"a","name":"Ada"}]}"#
        );
    }
}
