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

use super::{
    lane::{Histories, Turn},
    tail::position,
};
use crate::{
    client::Entry,
    wire::{self, Garbage, MAX_DEPTH, cluster},
};

/// How many entries one command reads: few at first, for they may be of any size.
const FIRST_PAGE: usize = 10;
const PAGE: usize = 50;

/// How many bytes one command should bring, by the size of those before.
const PAGE_BYTES: usize = 1024 * 1024;

/// The most that is read for one client, also of what is not for it. Beyond, it begins anew.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_PAGES: usize = 1_000;

/// The history of one namespace.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) stream: Bytes,
    pub(super) namespace: String,
    pub(super) session_key_prefix: String,
    pub(super) max_disconnection: Duration,
    pub(super) max_message_bytes: usize,
}

impl History {
    /// The key of a session, from the private id that a client names: any text.
    pub(super) fn key(&self, pid: &str) -> String {
        format!("{}{pid}", self.session_key_prefix)
    }

    /// Takes the session of a client, if what came after its last event is still there, and not too much.
    pub(super) async fn restore(
        &self,
        histories: &Histories,
        pid: &str,
        offset: &str,
    ) -> Result<Option<Restored>, AdapterError> {
        // First of all: who asks for what is not an offset must not end somebody's session.
        let Some(offset) = offset_of(offset) else { return Ok(None) };
        if !is_pid(pid) {
            return Ok(None);
        }
        let turn = histories.turn().await?;
        // The last event that the client got was one of this namespace: the stream has those of others, too.
        let id = offset.as_str();
        let last = turn.range(&self.stream, id, id, 1).await?;
        let is_own = |entry: &Entry| entry.field("nsp").is_some_and(|nsp| nsp == self.namespace.as_bytes());
        if !last.first().is_some_and(is_own) {
            return Ok(None);
        }
        let key = self.key(pid);
        let Some(kept) = turn.kept(&key).await? else { return Ok(None) };
        let (session, namespace) =
            read_session(&kept).map_err(|error| AdapterError::failed("reading a session", error))?;
        // Rooms and data of one namespace are nothing to another, whose middlewares a restored client passes by.
        let vouched = namespace.as_ref() == Some(&self.namespace);
        if session.pid != pid || namespace.is_some() && !vouched {
            return Ok(None);
        }
        let Some(Replayed { missed, cursor }) = self.after(&turn, offset, &session.rooms).await? else {
            return Ok(None);
        };
        // Last of all: a session whose history is not to be had is left to expire. Whoever takes it is the only one, and
        // what was read is for these rooms.
        if turn.take(&key).await? != Some(kept) {
            return Ok(None);
        }
        Ok(Some(Restored { session, missed, cursor, vouched }))
    }

    /// What sockets in these rooms would have got after `cursor`.
    pub(super) async fn replay(
        &self,
        histories: &Histories,
        cursor: &Offset,
        rooms: &[Room],
    ) -> Result<Option<Replayed>, AdapterError> {
        self.after(&histories.turn().await?, cursor.clone(), rooms).await
    }

    /// What came after an entry. `None`: it has left the stream, and perhaps others after it, or it is too much.
    async fn after(
        &self,
        turn: &Turn<'_>,
        mut cursor: Offset,
        rooms: &[Room],
    ) -> Result<Option<Replayed>, AdapterError> {
        let (mut missed, mut scanned) = (Vec::new(), Scanned::default());
        while let Some(count) = scanned.next_page() {
            // From the entry itself on: as long as it is there, nothing after it has left. Not `(id`, either, which servers
            // before 6.2 do not know.
            let page = turn.range(&self.stream, cursor.as_str(), "+", count).await?;
            scanned.add(&page);
            let is_last = page.len() < count;
            let mut page = page.into_iter().filter_map(|entry| Some((offset_of(&entry.id)?, entry)));
            if page.next().is_none_or(|(first, _)| first.position() != cursor.position()) {
                return Ok(None);
            }
            for (offset, entry) in page {
                if let Some((payload, options)) = self.broadcast(&entry)
                    && options.includes(|room| rooms.contains(room))
                {
                    missed.push((payload, offset.clone()));
                }
                cursor = offset;
            }
            if is_last {
                return Ok(Some(Replayed { missed, cursor }));
            }
        }
        tracing::debug!(?scanned, "a client has missed too much");
        Ok(None)
    }

    /// The event of an entry, if it is one of this namespace that is brought later: without ack, and not volatile.
    fn broadcast(&self, entry: &Entry) -> Option<(Payload, BroadcastOptions)> {
        if entry.field("nsp")? != self.namespace.as_bytes() || entry.field("type")? != "3" {
            return None;
        }
        // What is too large or cannot be understood has been counted when it came.
        let data = entry.field("data").filter(|data| data.len() <= self.max_message_bytes);
        let read = cluster::read_fields(None, "3", data, |_| false).ok()?;
        match read.message? {
            Message::Broadcast { payload, options, request: None } if !options.flags.volatile => {
                Some((payload, options))
            }
            _ => None,
        }
    }
}

/// What was read for one client.
#[derive(Debug, Default)]
struct Scanned {
    pages: usize,
    entries: usize,
    bytes: usize,
}

impl Scanned {
    /// How many entries the next page may have, at least two: the first is known. `None`: it has been enough.
    fn next_page(&self) -> Option<usize> {
        if self.pages == MAX_PAGES || self.bytes > MAX_BYTES {
            return None;
        }
        let average = self.bytes.checked_div(self.entries);
        Some(average.map_or(FIRST_PAGE, |bytes| (PAGE_BYTES / bytes.max(1)).clamp(2, PAGE)))
    }

    fn add(&mut self, page: &[Entry]) {
        self.pages += 1;
        self.entries += page.len();
        self.bytes += page.iter().map(Entry::size).sum::<usize>();
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
    fn pages_are_smaller_where_entries_are_large_and_end_somewhere() {
        let page = |entries: usize, bytes: usize| -> Vec<Entry> {
            let entry = Entry { id: String::new(), fields: vec![("data".into(), vec![0; bytes - 4].into())] };
            vec![entry; entries]
        };
        let mut scanned = Scanned::default();
        assert_eq!(scanned.next_page(), Some(FIRST_PAGE));
        scanned.add(&page(10, 100));
        assert_eq!(scanned.next_page(), Some(PAGE));
        scanned.add(&page(10, PAGE_BYTES));
        assert_eq!(scanned.next_page(), Some(2));
        (0..6).for_each(|_| scanned.add(&page(10, PAGE_BYTES)));
        assert_eq!(scanned.next_page(), None, "many bytes");
        let mut scanned = Scanned::default();
        (0..MAX_PAGES).for_each(|_| scanned.add(&page(2, 10)));
        assert_eq!(scanned.next_page(), None, "many pages");
    }

    #[test]
    fn what_is_no_session_is_refused() {
        for text in ["", "gA==", "%", "kA==", "gaNzaWQB"] {
            assert!(read_session(text.as_bytes()).is_err(), "{text}");
        }
    }
}
