//! What a backend can ask for: one JSON object, read strictly. The same in requests, hooks' answers and on the command line.

use std::time::Duration;

use patio::{Room, extract::Args};
use serde_json::{Map, Value as Json};

use super::{
    binary,
    error::{Code, Error},
    fields::{self, Fields},
    rooms,
};

/// The operations that there are.
const NAMES: [&str; 5] = ["emit", "join", "leave", "disconnect", "set"];

/// Events that begin so are this server's own.
pub(crate) const OWN_EVENTS: &str = "patio:";

/// The longest that a client may be waited for.
const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest idempotency key, in characters.
const MAX_KEY: usize = 128;

/// An operation in its namespace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    pub(crate) nsp: String,
    pub(crate) action: Action,
    /// A repeat with the same key gets the first one's answer.
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Emit(Emit),
    Join { to: Audience, rooms: Vec<Room> },
    Leave { to: Audience, rooms: Vec<Room> },
    Disconnect { to: Audience, reason: Option<Reason> },
    Set { to: Audience, change: Change },
}

/// An event for clients.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Emit {
    pub(crate) to: Audience,
    pub(crate) except: Vec<Room>,
    pub(crate) event: String,
    pub(crate) args: Args,
    pub(crate) volatile: bool,
    /// How long answers are waited for, if any are wanted.
    pub(crate) ack: Option<Duration>,
}

/// Whom something is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Everyone,
    /// The sockets in these rooms. None: nobody.
    Rooms(Vec<Room>),
}

/// Why clients are disconnected. They hear it before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What becomes of sockets' data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Set, or where it is null removed, one level deep.
    pub(crate) data: Map<String, Json>,
    /// When they expire, in seconds since 1970.
    pub(crate) expires_at: Option<u64>,
}

impl Operation {
    /// Errors name the field.
    pub(crate) fn read(value: Json) -> Result<Self, Error> {
        let mut fields = Fields::of(value)?;
        let name = fields.need("op", Fields::text)?;
        let nsp = match fields.text("nsp")? {
            None => "/".to_owned(),
            Some(nsp) if nsp.starts_with('/') => nsp,
            Some(_) => return Err(Error::of(Code::InvalidField, "nsp", "must begin with a slash")),
        };
        let idempotency_key = fields.with("idempotency_key", key)?;
        let action = match name.as_str() {
            "emit" => Action::Emit(emit(&mut fields)?),
            "join" => Action::Join { to: meant(&mut fields)?, rooms: entered(&mut fields)? },
            "leave" => Action::Leave { to: meant(&mut fields)?, rooms: entered(&mut fields)? },
            "disconnect" => {
                Action::Disconnect { to: meant(&mut fields)?, reason: fields.with("reason", reason)? }
            }
            "set" => Action::Set { to: meant(&mut fields)?, change: change(&mut fields)? },
            other => return Err(unknown(other)),
        };
        fields.finish()?;
        Ok(Self { nsp, action, idempotency_key })
    }
}

fn unknown(name: &str) -> Error {
    let message = match fields::nearest(name, &NAMES) {
        Some(known) => format!("there is no operation of this name; did you mean `{known}`?"),
        None => format!("there is no operation of this name; there are {}", NAMES.join(", ")),
    };
    Error::of(Code::UnknownOp, "op", message)
}

fn key(value: Json) -> Result<String, Error> {
    let key = fields::text(value)?;
    match key.chars().count() {
        1..=MAX_KEY => Ok(key),
        _ => Err(Error::new(Code::InvalidField, format!("must have 1 to {MAX_KEY} characters"))),
    }
}

fn emit(fields: &mut Fields) -> Result<Emit, Error> {
    let to = fields.list("to", rooms::any)?.map_or(Audience::Everyone, Audience::Rooms);
    let except = fields.list("except", rooms::any)?.unwrap_or_default();
    let event = fields.need("event", |fields, name| fields.with(name, event))?;
    let args = fields.list("args", binary::from_json)?.unwrap_or_default();
    let volatile = fields.flag("volatile")?;
    let ack = fields.with("ack", ack)?;
    if volatile && ack.is_some() {
        return Err(Error::of(Code::InvalidField, "ack", "cannot be asked for a volatile event"));
    }
    Ok(Emit { to, except, event, args: Args(args), volatile, ack })
}

fn event(value: Json) -> Result<String, Error> {
    let event = fields::text(value)?;
    if patio::RESERVED_EVENTS.contains(&event.as_str()) {
        return Err(Error::new(Code::ReservedEvent, "is a name that belongs to Socket.IO"));
    }
    if event.starts_with(OWN_EVENTS) {
        return Err(Error::new(Code::ReservedEvent, "is a name that belongs to this server"));
    }
    Ok(event)
}

fn ack(value: Json) -> Result<Duration, Error> {
    let mut fields = Fields::of(value)?;
    let millis = fields.need("timeout_ms", Fields::number)?;
    fields.finish()?;
    let timeout = Duration::from_millis(millis);
    match timeout {
        Duration::ZERO => Err(Error::of(Code::InvalidField, "timeout_ms", "must be positive")),
        _ if timeout > MAX_ACK_TIMEOUT => {
            let message = format!("must be at most {}", MAX_ACK_TIMEOUT.as_millis());
            Err(Error::of(Code::InvalidField, "timeout_ms", message))
        }
        _ => Ok(timeout),
    }
}

/// Whom a change is for: rooms, or all of them if that is said. A slip does not become everyone.
fn meant(fields: &mut Fields) -> Result<Audience, Error> {
    match (fields.list("to", rooms::any)?, fields.flag("all")?) {
        (Some(rooms), false) => Ok(Audience::Rooms(rooms)),
        (None, true) => Ok(Audience::Everyone),
        (Some(_), true) => Err(Error::of(Code::InvalidField, "all", "says another thing than `to`")),
        (None, false) => {
            Err(Error::of(Code::MissingField, "to", "is missing; `\"all\": true` means everyone"))
        }
    }
}

fn entered(fields: &mut Fields) -> Result<Vec<Room>, Error> {
    fields.need("rooms", |fields, name| fields.list(name, rooms::open))
}

fn reason(value: Json) -> Result<Reason, Error> {
    let mut fields = Fields::of(value)?;
    let code = fields.need("code", Fields::text)?;
    let message = fields.text("message")?.unwrap_or_default();
    fields.finish()?;
    Ok(Reason { code, message })
}

fn change(fields: &mut Fields) -> Result<Change, Error> {
    let data = fields.object("data")?;
    let expires_at = fields.number("expires_at")?;
    if data.is_none() && expires_at.is_none() {
        return Err(Error::of(Code::MissingField, "data", "is missing, and so is `expires_at`"));
    }
    Ok(Change { data: data.unwrap_or_default(), expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use patio::Value;
    use serde_json::json;

    #[test]
    fn all_that_can_be_asked_for() {
        let read = |value| Operation::read(value).unwrap();
        let Operation { nsp, action: Action::Emit(emit), idempotency_key } = read(json!({
            "op": "emit", "nsp": "/chat", "to": ["room1"], "except": ["abcdefghij0123456789"], "event": "name",
            "args": [1, { "$base64": "AA==" }], "ack": { "timeout_ms": 2000 }, "idempotency_key": "k",
        })) else {
            panic!()
        };
        assert_eq!((nsp.as_str(), idempotency_key.as_deref()), ("/chat", Some("k")));
        assert_eq!(emit.to, Audience::Rooms(vec!["room1".into()]));
        assert_eq!(emit.args.0[1], Value::Binary(vec![0].into()));
        assert_eq!(emit.ack, Some(Duration::from_secs(2)));
        let everyone = read(json!({ "op": "emit", "event": "e" }));
        assert!(matches!(everyone.action, Action::Emit(Emit { to: Audience::Everyone, .. })));
        let nobody = read(json!({ "op": "emit", "event": "e", "to": [] }));
        assert!(
            matches!(nobody.action, Action::Emit(Emit { to: Audience::Rooms(rooms), .. }) if rooms.is_empty())
        );
        let joined = read(json!({ "op": "join", "to": ["user:42"], "rooms": ["team:7"] }));
        let to = Audience::Rooms(vec!["user:42".into()]);
        assert_eq!(joined.action, Action::Join { to, rooms: vec!["team:7".into()] });
        let all = read(json!({ "op": "disconnect", "all": true, "reason": { "code": "bye" } }));
        let reason = Some(Reason { code: "bye".into(), message: String::new() });
        assert_eq!(all.action, Action::Disconnect { to: Audience::Everyone, reason });
        let set =
            read(json!({ "op": "set", "to": ["a"], "data": { "b": null }, "expires_at": 1_700_000_000 }));
        assert!(matches!(set.action, Action::Set { change, .. } if change.expires_at == Some(1_700_000_000)));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        for (value, code, expected) in [
            (json!([]), Code::InvalidField, "must be an object, not a list"),
            (json!({}), Code::MissingField, "op: is missing"),
            (
                json!({ "op": "emti" }),
                Code::UnknownOp,
                "op: there is no operation of this name; did you mean `emit`?",
            ),
            (
                json!({ "op": "emit", "event": "e", "nsp": "chat" }),
                Code::InvalidField,
                "nsp: must begin with a slash",
            ),
            (json!({ "op": "emit" }), Code::MissingField, "event: is missing"),
            (
                json!({ "op": "emit", "event": "e", "to": null }),
                Code::InvalidField,
                "to: must be a list, not null",
            ),
            (
                json!({ "op": "emit", "event": "disconnect" }),
                Code::ReservedEvent,
                "event: is a name that belongs to Socket.IO",
            ),
            (
                json!({ "op": "emit", "event": "patio:x" }),
                Code::ReservedEvent,
                "event: is a name that belongs to this server",
            ),
            (
                json!({ "op": "emit", "event": "e", "args": { } }),
                Code::InvalidField,
                "args: must be a list, not an object",
            ),
            (
                json!({ "op": "emit", "event": "e", "args": [1, { "$base64": 1 }] }),
                Code::InvalidField,
                "args[1].$base64: must be text",
            ),
            (
                json!({ "op": "emit", "event": "e", "ack": {} }),
                Code::MissingField,
                "ack.timeout_ms: is missing",
            ),
            (
                json!({ "op": "emit", "event": "e", "ack": { "timeout_ms": 0 } }),
                Code::InvalidField,
                "ack.timeout_ms: must be positive",
            ),
            (
                json!({ "op": "emit", "event": "e", "ack": { "timeout_ms": 60_001 } }),
                Code::InvalidField,
                "ack.timeout_ms: must be at most 60000",
            ),
            (
                json!({ "op": "emit", "event": "e", "ack": { "timeout_ms": 1 }, "volatile": true }),
                Code::InvalidField,
                "ack: cannot be asked for a volatile event",
            ),
            (
                json!({ "op": "emit", "event": "e", "rooms": [] }),
                Code::UnknownField,
                "rooms: is no field here",
            ),
            (
                json!({ "op": "join", "rooms": ["a"] }),
                Code::MissingField,
                "to: is missing; `\"all\": true` means everyone",
            ),
            (
                json!({ "op": "join", "to": ["a"], "all": true, "rooms": [] }),
                Code::InvalidField,
                "all: says another thing than `to`",
            ),
            (json!({ "op": "join", "to": ["a"] }), Code::MissingField, "rooms: is missing"),
            (
                json!({ "op": "leave", "to": ["a"], "rooms": ["user:1"] }),
                Code::ReservedRoom,
                "rooms[0]: is the room of a user, which only the server enters and leaves",
            ),
            (
                json!({ "op": "disconnect", "to": ["a"], "reason": {} }),
                Code::MissingField,
                "reason.code: is missing",
            ),
            (
                json!({ "op": "set", "to": ["a"] }),
                Code::MissingField,
                "data: is missing, and so is `expires_at`",
            ),
            (
                json!({ "op": "set", "to": ["a"], "data": [] }),
                Code::InvalidField,
                "data: must be an object, not a list",
            ),
            (
                json!({ "op": "emit", "event": "e", "idempotency_key": "" }),
                Code::InvalidField,
                "idempotency_key: must have 1 to 128 characters",
            ),
        ] {
            let error = Operation::read(value.clone()).unwrap_err();
            assert_eq!(error.code, code, "{value}");
            assert!(error.to_string().starts_with(expected), "{value}: {error}");
        }
    }
}
