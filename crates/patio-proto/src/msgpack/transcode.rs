//! From JSON text to MessagePack in one pass, without a tree between them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::write;
use crate::value::{Value, number};

/// Appends the one value in `text` to `out`. It has no placeholders. Errors: it is not JSON; `out` holds a part then.
pub(crate) fn write_json(out: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    Transcode(out).deserialize(&mut json)?;
    json.end()
}

/// Writes what it reads.
struct Transcode<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Transcode<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.scalar(&Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(&Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(&Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(&number::integer(value).map_or(Value::Float(value), Value::Int))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write::string(self.0, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let head = self.0.len();
        self.0.push(0);
        let mut len = 0;
        while seq.next_element_seed(Transcode(self.0))?.is_some() {
            len += 1;
        }
        fill_head(self.0, head, write::array, len);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let head = self.0.len();
        self.0.push(0);
        let mut len = 0;
        while map.next_key_seed(Transcode(self.0))?.is_some() {
            map.next_value_seed(Transcode(self.0))?;
            len += 1;
        }
        fill_head(self.0, head, write::map, len);
        Ok(())
    }
}

impl Transcode<'_> {
    fn scalar<E>(self, value: &Value) -> Result<(), E> {
        // Scalars of JSON are the same in all dialects.
        write::write_value(self.0, value, write::Dialect::Notepack2);
        Ok(())
    }
}

/// Writes the head of a container in place of the byte that was left for it. Up to 15 elements need no more.
fn fill_head(out: &mut Vec<u8>, at: usize, head: fn(&mut Vec<u8>, usize), len: usize) {
    let mut bytes = Vec::with_capacity(5);
    head(&mut bytes, len);
    match bytes[..] {
        [byte] => out[at] = byte,
        _ => _ = out.splice(at..=at, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_a_tree_would_give() {
        let long: Vec<u32> = (0..70_000).collect();
        let long = serde_json::to_string(&long).unwrap();
        let wide = format!("{{{}}}", (0..20).map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(","));
        for text in [
            r#"["a",1,-1,1.5,2.0,1e300,true,null,"\u00e9\n",{"a":{"b":[[],{}]},"c":""}]"#,
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            &format!("[{}]", vec!["0"; 16].join(",")),
            &wide,
            &long,
        ] {
            let mut direct = Vec::new();
            write_json(&mut direct, text).unwrap();
            let mut by_tree = Vec::new();
            let tree = Value::from_json(text, &[]).unwrap();
            write::write_value(&mut by_tree, &tree, write::Dialect::Notepack3);
            assert!(direct == by_tree, "{text:.60}");
        }
        assert!(write_json(&mut Vec::new(), "[1").is_err());
        assert!(write_json(&mut Vec::new(), "1 2").is_err());
    }
}
