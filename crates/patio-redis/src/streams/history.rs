//! Connection state recovery: sessions as values in Redis, and what clients missed as entries of the stream.

use std::time::Duration;

use bytes::Bytes;
use patio_adapter::{
    AdapterError, BroadcastOptions, Offset, Payload, Replayed, Restored, Room, SessionRecord,
    cluster::Message,
};
use patio_proto::{
    msgpack::{self, read_value, write_value},
    value::{Object, Value},
};

use super::tail::position;
use crate::{
    client::{CommandError, Entry, Publisher},
    wire::{self, Garbage, MAX_DEPTH, cluster},
};

/// How many entries one command reads.
const PAGE: usize = 500;

/// The most bytes that a client is brought: beyond, it begins anew.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The history of one namespace.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) stream: Bytes,
    pub(super) namespace: String,
    pub(super) session_key_prefix: String,
    pub(super) max_disconnection: Duration,
}

impl History {
    /// The key of a session, from the private id that a client names: any text.
    pub(super) fn key(&self, pid: &str) -> String {
        format!("{}{pid}", self.session_key_prefix)
    }

    /// Takes the session of a client, if what came after its last event is still there.
    pub(super) async fn restore(
        &self,
        publisher: &Publisher,
        pid: &str,
        offset: &str,
    ) -> Result<Option<Restored>, AdapterError> {
        // First of all: who asks for what is not an offset must not end somebody's session.
        let Some(offset) = offset_of(offset) else { return Ok(None) };
        if !is_pid(pid) {
            return Ok(None);
        }
        // The last event that the client got was one of this namespace: the stream has those of others, too.
        let id = offset.as_str();
        let last = publisher.range(&self.stream, id, id, 1).await?;
        let is_own = |entry: &Entry| entry.field("nsp").is_some_and(|nsp| nsp == self.namespace.as_bytes());
        if !last.first().is_some_and(is_own) {
            return Ok(None);
        }
        let Some(session) = publisher.take(&self.key(pid)).await? else { return Ok(None) };
        let (session, namespace) =
            read_session(&session).map_err(|error| AdapterError::failed("reading a session", error))?;
        // Rooms and data of one namespace are nothing to another, whose middlewares a restored client passes by.
        if session.pid != pid || namespace.is_some_and(|namespace| namespace != self.namespace) {
            return Ok(None);
        }
        let replayed = self.after(publisher, &offset, &session.rooms).await?;
        Ok(replayed.map(|Replayed { missed, cursor }| Restored { session, missed, cursor }))
    }

    /// What sockets in these rooms would have got after `cursor`.
    pub(super) async fn replay(
        &self,
        publisher: &Publisher,
        cursor: &Offset,
        rooms: &[Room],
    ) -> Result<Option<Replayed>, AdapterError> {
        if !self.has(publisher, cursor).await? {
            return Ok(None);
        }
        self.after(publisher, cursor, rooms).await
    }

    /// Whether this entry has not left the stream: then nothing after it has.
    async fn has(&self, publisher: &Publisher, offset: &Offset) -> Result<bool, CommandError> {
        let id = offset.as_str();
        Ok(!publisher.range(&self.stream, id, id, 1).await?.is_empty())
    }

    async fn after(
        &self,
        publisher: &Publisher,
        offset: &Offset,
        rooms: &[Room],
    ) -> Result<Option<Replayed>, AdapterError> {
        let (mut missed, mut cursor, mut bytes) = (Vec::new(), offset.clone(), 0);
        loop {
            let (millis, n) = cursor.position();
            // Not `(id`, which servers before 6.2 do not know.
            let start = match n.checked_add(1) {
                Some(n) => format!("{millis}-{n}"),
                None => format!("{}-0", millis.saturating_add(1)),
            };
            let page = publisher.range(&self.stream, &start, "+", PAGE).await?;
            let is_last = page.len() < PAGE;
            for entry in page {
                let Some(offset) = offset_of(&entry.id) else { continue };
                if let Some((payload, options)) = self.broadcast(&entry)
                    && options.includes(|room| rooms.contains(room))
                {
                    bytes += payload.size();
                    if bytes > MAX_BYTES {
                        return Ok(None);
                    }
                    missed.push((payload, offset.clone()));
                }
                cursor = offset;
            }
            if is_last {
                return Ok(Some(Replayed { missed, cursor }));
            }
        }
    }

    /// The event of an entry, if it is one of this namespace that is brought later: without ack, and not volatile.
    fn broadcast(&self, entry: &Entry) -> Option<(Payload, BroadcastOptions)> {
        if entry.field("nsp")? != self.namespace.as_bytes() || entry.field("type")? != "3" {
            return None;
        }
        // What cannot be understood has been counted when it came.
        let read = cluster::read_fields(None, "3", entry.field("data"), |_| false).ok()?;
        match read.message? {
            Message::Broadcast { payload, options, request: None } if !options.flags.volatile => {
                Some((payload, options))
            }
            _ => None,
        }
    }
}

/// The place of an entry. `None`: it is none, but whatever a client says.
pub(super) fn offset_of(id: &str) -> Option<Offset> {
    position(id).map(|position| Offset::new(id, position))
}

/// Whether it can be a private id: those of Node and of ours have 20 of these characters.
fn is_pid(pid: &str) -> bool {
    (1..=64).contains(&pid.len())
        && pid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A session in Node's form, MessagePack in base-64, with one member more: the namespace, which Node does not look at.
pub(super) fn write_session(session: &SessionRecord, namespace: &str) -> String {
    let rooms: Value = session.rooms.iter().map(Room::as_str).collect();
    let value = Value::Object(Object::from([
        ("sid", session.sid.as_str().into()),
        ("pid", session.pid.as_str().into()),
        ("rooms", rooms),
        ("data", session.data.clone().into()),
        ("nsp", namespace.into()),
    ]));
    let mut out = Vec::new();
    write_value(&mut out, &value, msgpack::Dialect::MsgpackJs);
    cluster::to_base64(&out)
}

/// A session, and its namespace if Patio has written it.
fn read_session(text: &[u8]) -> Result<(SessionRecord, Option<String>), Garbage> {
    let value = read_value(&cluster::from_base64(&String::from_utf8_lossy(text))?, MAX_DEPTH)?;
    let text = |name: &'static str| value[name].as_str().ok_or(Garbage::Field(name));
    let data = match &value["data"] {
        Value::Null | Value::Undefined => serde_json::json!({}),
        data => serde_json::from_str(wire::stringify(data).map_err(|_| Garbage::Field("data"))?.get())?,
    };
    let namespace = value["nsp"].as_str().map(str::to_owned);
    let session = SessionRecord {
        sid: text("sid")?.into(),
        pid: text("pid")?.to_owned(),
        rooms: wire::rooms(&value["rooms"]).ok_or(Garbage::Field("rooms"))?,
        data,
    };
    Ok((session, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionRecord {
        SessionRecord {
            sid: "0123456789abcdefghij".into(),
            pid: "pid".to_owned(),
            rooms: vec!["0123456789abcdefghij".into(), "42".into()],
            data: serde_json::json!({ "u": "B" }),
        }
    }

    #[test]
    fn a_session_is_that_of_node() {
        let written = write_session(&session(), "/");
        let bytes = cluster::from_base64(&written).unwrap();
        assert_eq!(bytes[..6], [0x85, 0xa3, b's', b'i', b'd', 0xb4]);
        assert_eq!(read_session(written.as_bytes()).unwrap(), (session(), Some("/".to_owned())));
    }

    #[test]
    fn what_is_no_session_is_refused() {
        for text in ["", "gA==", "%", "kA==", "gaNzaWQB"] {
            assert!(read_session(text.as_bytes()).is_err(), "{text}");
        }
    }
}
