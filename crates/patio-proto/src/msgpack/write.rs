//! Writes MessagePack as the encoders of Node do.

use std::fmt::Debug;

use rmp::encode;

use crate::value::{Value, number};

/// Whose MessagePack to write: encoders differ in `undefined` and dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// notepack 2: socket.io-msgpack-parser, socket.io-redis, redis-adapter up to 7, socket.io-emitter.
    Notepack2,
    /// notepack 3: redis-adapter 8, the sharded adapter, redis-emitter 5. Members that are `undefined` are left out.
    Notepack3,
    /// @msgpack/msgpack: the streams adapter and emitter. `undefined` is nil everywhere.
    MsgpackJs,
}

/// Beyond it, JavaScript has no exact integers: 2^53.
const EXACT: u64 = 1 << 53;

/// Appends `value` to `out`.
///
/// Integers take the fewest bytes; those that a JavaScript number cannot hold exactly are doubles.
pub fn write_value(out: &mut Vec<u8>, value: &Value, dialect: Dialect) {
    match value {
        Value::Null => done(encode::write_nil(out)),
        Value::Undefined => match dialect {
            Dialect::Notepack2 => out.extend_from_slice(&[0xd4, 0, 0]),
            Dialect::Notepack3 | Dialect::MsgpackJs => done(encode::write_nil(out)),
        },
        Value::Bool(value) => done(encode::write_bool(out, *value)),
        Value::Int(value) if value.unsigned_abs() <= EXACT => done(encode::write_sint(out, *value)),
        Value::Int(value) => done(encode::write_f64(out, *value as f64)),
        Value::Uint(value) => unsigned(out, *value),
        Value::Float(value) => match number::integer(*value) {
            Some(value) => done(encode::write_sint(out, value)),
            None => done(encode::write_f64(out, *value)),
        },
        Value::String(value) => string(out, value),
        Value::Binary(value) => done(encode::write_bin(out, value)),
        Value::Date(millis) => date(out, *millis, dialect),
        Value::Array(values) => {
            array(out, values.len());
            values.iter().for_each(|value| write_value(out, value, dialect));
        }
        Value::Object(object) => {
            let keep = |value: &Value| dialect != Dialect::Notepack3 || !matches!(value, Value::Undefined);
            map(out, object.iter().filter(|(_, value)| keep(value)).count());
            for (key, value) in object.iter().filter(|(_, value)| keep(value)) {
                string(out, key);
                write_value(out, value, dialect);
            }
        }
    }
}

pub(super) fn unsigned(out: &mut Vec<u8>, value: u64) {
    if value <= EXACT {
        done(encode::write_uint(out, value));
    } else {
        done(encode::write_f64(out, value as f64));
    }
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    done(encode::write_str(out, text));
}

pub(super) fn array(out: &mut Vec<u8>, len: usize) {
    done(encode::write_array_len(out, length(len)));
}

pub(super) fn map(out: &mut Vec<u8>, len: usize) {
    done(encode::write_map_len(out, length(len)));
}

fn date(out: &mut Vec<u8>, millis: i64, dialect: Dialect) {
    if dialect == Dialect::Notepack2 {
        out.extend_from_slice(&[0xd7, 0]);
        out.extend_from_slice(&millis.to_be_bytes());
        return;
    }
    let seconds = millis.div_euclid(1000);
    let nanos = millis.rem_euclid(1000) as u32 * 1_000_000;
    match (u64::try_from(seconds), u32::try_from(seconds)) {
        (_, Ok(seconds)) if nanos == 0 => {
            out.extend_from_slice(&[0xd6, 0xff]);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        (Ok(seconds), _) if seconds < 1 << 34 => {
            out.extend_from_slice(&[0xd7, 0xff]);
            out.extend_from_slice(&(u64::from(nanos) << 34 | seconds).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[0xc7, 12, 0xff]);
            out.extend_from_slice(&nanos.to_be_bytes());
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

/// Lengths on the wire have 32 bits. What is longer fits no message.
fn length(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 elements")
}

/// Memory takes everything.
fn done<T, E: Debug>(written: Result<T, E>) {
    written.expect("writing to memory succeeds");
}
