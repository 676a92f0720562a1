//! Whom a message is for: `{rooms, except, flags}`, as all of Node's adapters and emitters write it.

use std::time::Duration;

use patio_adapter::{BroadcastOptions, Flags, Room, RoomList};
use patio_proto::{msgpack::Raw, value::Value};
use rmp::encode;
use serde::Serialize;

use super::{Garbage, string};

/// The two lists, for requests in JSON. An empty list of rooms means everyone: nobody is never sent.
#[derive(Serialize)]
pub(super) struct Lists<'a> {
    rooms: &'a [Room],
    except: &'a [Room],
}

impl<'a> From<&'a BroadcastOptions> for Lists<'a> {
    fn from(options: &'a BroadcastOptions) -> Self {
        Self { rooms: options.rooms.as_deref().unwrap_or_default(), except: &options.except }
    }
}

/// All of it, for JSON.
#[derive(Serialize)]
pub(super) struct Whole<'a> {
    #[serde(flatten)]
    lists: Lists<'a>,
    flags: SetFlags,
}

impl<'a> From<&'a BroadcastOptions> for Whole<'a> {
    fn from(options: &'a BroadcastOptions) -> Self {
        Self { lists: options.into(), flags: options.flags.into() }
    }
}

/// Only flags that are set are written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SetFlags {
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volatile: Option<bool>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect_single_response: Option<bool>,
}

impl From<Flags> for SetFlags {
    fn from(flags: Flags) -> Self {
        let Flags { volatile, local: _, compress, timeout, expect_single_response } = flags;
        Self {
            compress,
            volatile: volatile.then_some(true),
            timeout: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            expect_single_response: expect_single_response.then_some(true),
        }
    }
}

/// Appends all of it in MessagePack: every broadcast has it, so without a tree.
pub(super) fn write(out: &mut Vec<u8>, options: &BroadcastOptions) {
    fn written<T, E: std::fmt::Debug>(result: Result<T, E>) {
        result.expect("memory takes everything");
    }
    let rooms = |out: &mut Vec<u8>, rooms: &[Room]| {
        written(encode::write_array_len(out, rooms.len().try_into().unwrap_or(u32::MAX)));
        rooms.iter().for_each(|room| string(out, room));
    };
    let Lists { rooms: chosen, except } = options.into();
    let SetFlags { compress, volatile, timeout, expect_single_response } = options.flags.into();
    written(encode::write_map_len(out, 3));
    string(out, "rooms");
    rooms(out, chosen);
    string(out, "except");
    rooms(out, except);
    string(out, "flags");
    let booleans =
        [("compress", compress), ("volatile", volatile), ("expectSingleResponse", expect_single_response)];
    let set = booleans.iter().filter_map(|(name, flag)| Some((name, (*flag)?)));
    let len = set.clone().count() + usize::from(timeout.is_some());
    written(encode::write_map_len(out, len as u32));
    for (name, flag) in set {
        string(out, name);
        written(encode::write_bool(out, flag));
    }
    if let Some(timeout) = timeout {
        string(out, "timeout");
        written(encode::write_uint(out, timeout));
    }
}

/// As [`from_value`], without a tree for what nearly all broadcasts have: names of rooms and no flags.
pub(super) fn read(options: Raw<'_>) -> Result<BroadcastOptions, Garbage> {
    let usual = || {
        let names = |list: Raw<'_>| -> Option<RoomList> {
            list.elements()?.map(|name| Some(Room::new(name.as_str()?))).collect()
        };
        let (mut rooms, mut except, mut flags) = (None, None, None);
        for (name, value) in options.members()? {
            match &*name {
                "rooms" => rooms = Some(names(value)?),
                "except" => except = Some(names(value)?),
                "flags" => flags = Some(value),
                _ => {}
            }
        }
        let (rooms, except) = (rooms?, except?);
        let rooms = (!rooms.is_empty()).then_some(rooms);
        flags?.is_empty_map().then_some(BroadcastOptions { rooms, except, flags: Flags::default() })
    };
    match usual() {
        Some(options) => Ok(options),
        None => from_value(&options.to_value()?),
    }
}

/// Reads it from whatever a peer sent.
///
/// What is absent, nil or `""` (Python's emitter) is empty, and no rooms are everyone. A list of things that are no names of
/// rooms is a list of nobody, never of everyone.
pub(super) fn from_value(value: &Value) -> Result<BroadcastOptions, Garbage> {
    if value.as_object().is_none() {
        return Err(Garbage::Field("opts"));
    }
    let rooms = match list(&value["rooms"]) {
        Some(Listed { rooms, empty: false }) => Some(rooms),
        Some(_) => None,
        None => return Err(Garbage::Field("opts.rooms")),
    };
    let except = list(&value["except"]).ok_or(Garbage::Field("opts.except"))?.rooms;
    let flags = &value["flags"];
    let is_set = |name: &str| flags[name].as_bool() == Some(true);
    let millis = flags["timeout"].as_u64();
    let flags = Flags {
        volatile: is_set("volatile"),
        local: false,
        compress: flags["compress"].as_bool(),
        timeout: millis.map(Duration::from_millis),
        expect_single_response: is_set("expectSingleResponse"),
    };
    Ok(BroadcastOptions { rooms, except, flags })
}

/// The names of rooms in a list; numbers are their decimal text. `None`: it is no list.
pub(crate) fn rooms(value: &Value) -> Option<Vec<Room>> {
    value.as_array().map(|values| values.iter().filter_map(room).collect())
}

pub(super) fn room(value: &Value) -> Option<Room> {
    match value {
        Value::String(name) => Some(Room::from(name)),
        Value::Int(number) => Some(Room::from(number.to_string())),
        Value::Uint(number) => Some(Room::from(number.to_string())),
        Value::Float(number) => Some(Room::from(number.to_string())),
        _ => None,
    }
}

struct Listed {
    rooms: RoomList,
    /// Whether nothing at all was named.
    empty: bool,
}

fn list(value: &Value) -> Option<Listed> {
    match value {
        Value::Array(values) => {
            Some(Listed { rooms: values.iter().filter_map(room).collect(), empty: values.is_empty() })
        }
        Value::String(text) if !text.is_empty() => None,
        Value::Null | Value::Undefined | Value::String(_) => {
            Some(Listed { rooms: RoomList::new(), empty: true })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BroadcastOptions, Garbage> {
        from_value(&serde_json::from_str::<Value>(json).unwrap())
    }

    #[test]
    fn what_is_absent_is_empty() {
        for json in [
            "{}",
            r#"{"rooms":[],"except":[],"flags":{}}"#,
            r#"{"rooms":null,"except":null,"flags":null}"#,
            r#"{"rooms":"","except":"","flags":""}"#,
        ] {
            assert_eq!(read(json).unwrap(), BroadcastOptions::everyone(), "{json}");
        }
    }

    #[test]
    fn what_names_no_room_is_never_everyone() {
        for json in [r#"{"rooms":[null]}"#, r#"{"rooms":[{},[],true]}"#, r#"{"rooms":[["a"]]}"#] {
            assert!(read(json).unwrap().is_nobody(), "{json}");
        }
        for json in [r#"{"rooms":"a"}"#, r#"{"rooms":{}}"#, r#"{"rooms":1}"#, r#"{"except":"a"}"#, "[]", "1"]
        {
            assert!(read(json).is_err(), "{json}");
        }
        assert_eq!(read(r#"{"rooms":[42,"a",null,1.5]}"#).unwrap(), BroadcastOptions::to(["42", "a", "1.5"]));
    }

    #[test]
    fn is_read_as_it_was_written() {
        let mut options = BroadcastOptions::to(["a", ""]).except("b").timeout(Duration::from_millis(100));
        options.flags.volatile = true;
        options.flags.compress = Some(false);
        options.flags.expect_single_response = true;
        for options in [options, BroadcastOptions::to(["a", ""]).except("b"), BroadcastOptions::everyone()] {
            let mut bytes = Vec::new();
            write(&mut bytes, &options);
            assert_eq!(super::read(Raw::new(&bytes.into(), 3)).unwrap(), options);
            assert_eq!(read(&serde_json::to_string(&Whole::from(&options)).unwrap()).unwrap(), options);
        }
    }
}
