//! What hooks say, and how their answers are read: strictly.

use patio::{Room, Value, extract::Args};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::HookError;
use crate::{
    auth::tokens::user,
    ops::{Error, binary, fields::Fields, rooms},
};

/// Who may connect?
#[derive(Serialize)]
#[serde(tag = "type", rename = "connect")]
pub(crate) struct Connect<'a> {
    pub(crate) sid: &'a str,
    pub(crate) nsp: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) auth: Json,
    /// Those that were chosen, by their names in small letters.
    pub(crate) headers: Map<String, Json>,
    pub(crate) query: Json,
    pub(crate) address: String,
    pub(crate) recovered: bool,
}

/// A client has sent this.
#[derive(Serialize)]
#[serde(tag = "type", rename = "event")]
pub(crate) struct Event<'a> {
    pub(crate) sid: &'a str,
    pub(crate) nsp: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) data: Json,
    pub(crate) event: &'a str,
    pub(crate) args: Json,
    /// Whether the client waits for an answer.
    pub(crate) ack: bool,
}

/// A client has gone.
#[derive(Serialize)]
pub(crate) struct Gone {
    pub(crate) sid: String,
    pub(crate) nsp: String,
    pub(crate) user: Option<String>,
    pub(crate) data: Json,
    pub(crate) reason: String,
}

/// Several have.
#[derive(Serialize)]
#[serde(tag = "type", rename = "disconnect")]
pub(crate) struct Disconnect {
    pub(crate) events: Vec<Gone>,
}

/// What becomes of a client that may connect.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) user: Option<String>,
    pub(crate) data: Map<String, Json>,
    pub(crate) rooms: Vec<Room>,
    pub(crate) expires_at: Option<u64>,
    pub(crate) ops: Vec<Json>,
}

/// What is said to one that may not.
#[derive(Debug, PartialEq)]
pub(crate) struct Rejected {
    pub(crate) message: String,
    pub(crate) data: Option<Json>,
}

/// What an event comes to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answered {
    pub(crate) ack: Args,
    pub(crate) ops: Vec<Json>,
}

impl Admitted {
    pub(crate) fn read(answer: Json) -> Result<Self, HookError> {
        let read = || {
            let Some(mut fields) = fields_of(answer)? else { return Ok(Self::default()) };
            let admitted = Self {
                user: fields.with("user", user)?,
                data: fields.object("data")?.unwrap_or_default(),
                rooms: fields.list("rooms", rooms::open)?.unwrap_or_default(),
                expires_at: fields.number("expires_at")?,
                ops: fields.list("ops", Ok)?.unwrap_or_default(),
            };
            fields.finish()?;
            Ok(admitted)
        };
        read().map_err(invalid)
    }
}

impl Rejected {
    pub(crate) fn read(answer: Json) -> Result<Self, HookError> {
        let read = || {
            let mut fields = Fields::forgiving(answer)?;
            let rejected = Self { message: fields.need("message", Fields::text)?, data: fields.take("data") };
            fields.finish()?;
            Ok(rejected)
        };
        read().map_err(invalid)
    }
}

impl Answered {
    pub(crate) fn read(answer: Json) -> Result<Self, HookError> {
        let read = || {
            let Some(mut fields) = fields_of(answer)? else { return Ok(Self::default()) };
            let ack = fields.list("ack", binary::from_json)?.unwrap_or_default();
            let ops = fields.list("ops", Ok)?.unwrap_or_default();
            fields.finish()?;
            Ok(Self { ack: Args(ack), ops })
        };
        read().map_err(invalid)
    }
}

/// No body is an empty object.
fn fields_of(answer: Json) -> Result<Option<Fields>, Error> {
    match answer {
        Json::Null => Ok(None),
        answer => Fields::forgiving(answer).map(Some),
    }
}

fn invalid(error: Error) -> HookError {
    HookError::Invalid(error.to_string())
}

/// Arguments as hooks say them.
pub(crate) fn arguments(values: &[Value]) -> Json {
    values.iter().map(binary::to_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_read_strictly() {
        let admitted = json!({ "user": "1", "data": { "a": 1 }, "rooms": ["r"], "expires_at": 7, "ops": [{ "op": "x" }] });
        let admitted = Admitted::read(admitted).unwrap();
        assert_eq!(
            (admitted.user.as_deref(), admitted.expires_at, admitted.ops.len()),
            (Some("1"), Some(7), 1)
        );
        assert_eq!(Admitted::read(Json::Null).unwrap(), Admitted::default());
        let answered = Answered::read(json!({ "ack": [1, { "$base64": "AA==" }] })).unwrap();
        assert_eq!(answered.ack.0[1], Value::Binary(vec![0].into()));
        let rejected = Rejected::read(json!({ "message": "no", "data": { "why": 1 } })).unwrap();
        assert_eq!(rejected.data.unwrap()["why"], 1);
        let message = |error: HookError| error.to_string();
        for (error, field) in [
            (Admitted::read(json!([])).map_err(message).err(), "must be an object"),
            (
                Admitted::read(json!({ "usr": "1" })).map_err(message).err(),
                "usr: is no field here; did you mean `user`?",
            ),
            (
                Admitted::read(json!({ "rooms": ["user:1"] })).map_err(message).err(),
                "rooms[0]: is the room of a user",
            ),
            (Answered::read(json!({ "ack": {} })).map_err(message).err(), "ack: must be a list"),
            (Rejected::read(json!({})).map_err(message).err(), "message: is missing"),
        ] {
            let error = error.unwrap();
            assert!(error.contains(field), "{error}");
        }
    }
}
