//! Reads a JSON object member by member, strictly: what is wrong is named, and what is left over is an error.

use serde_json::{Map, Value as Json};

use super::error::{Code, Error};

/// The members of an object that have not been read yet.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Json>,
    /// What has been asked for: what else is there may be a slip of one of these.
    known: Vec<&'static str>,
}

impl Fields {
    pub(crate) fn of(value: Json) -> Result<Self, Error> {
        match value {
            Json::Object(members) => Ok(Self { members, known: Vec::new() }),
            other => Err(Error::new(Code::InvalidField, format!("must be an object, not {}", kind(&other)))),
        }
    }

    /// The same, where `null` is as if it were absent: in what frameworks make of objects with empty members.
    pub(crate) fn forgiving(value: Json) -> Result<Self, Error> {
        let mut fields = Self::of(value)?;
        fields.members.retain(|_, value| !value.is_null());
        Ok(fields)
    }

    /// A member, whatever it is. `null` is a value, and mostly a wrong one: an absent `to` means everyone, and a variable that
    /// is empty by mistake must not.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Json> {
        self.known.push(name);
        self.members.remove(name)
    }

    /// A member that must be there.
    pub(crate) fn need<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        read(self, name)?.ok_or_else(|| Error::of(Code::MissingField, name, "is missing"))
    }

    /// A member that `read` understands.
    pub(crate) fn with<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Json) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.take(name).map(|value| read(value).map_err(|error| error.within(name))).transpose()
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        self.with(name, text)
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, Error> {
        let flag = self.with(name, |value| value.as_bool().ok_or_else(|| wrong("true or false", &value)))?;
        Ok(flag.unwrap_or(false))
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Error> {
        self.with(name, |value| {
            // 2.0 is a whole number, too. Beyond 2^53 not every reader has exact ones.
            let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
            let number = value.as_u64().or_else(|| value.as_f64().and_then(whole));
            let number = number.filter(|number| *number < 1 << 53);
            number.ok_or_else(|| wrong("a whole number that is not negative", &value))
        })
    }

    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        element: impl Fn(Json) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        self.with(name, |value| list(value, element))
    }

    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Json>>, Error> {
        self.with(name, |value| match value {
            Json::Object(members) => Ok(members),
            other => Err(wrong("an object", &other)),
        })
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Some(name) = self.members.keys().next() else { return Ok(()) };
        let message = match nearest(name, &self.known) {
            Some(known) => format!("is no field here; did you mean `{known}`?"),
            None => format!("is no field here; there are {}", quoted(&self.known)),
        };
        Err(Error::of(Code::UnknownField, name.clone(), message))
    }
}

pub(crate) fn text(value: Json) -> Result<String, Error> {
    match value {
        Json::String(text) => Ok(text),
        other => Err(wrong("text", &other)),
    }
}

fn list<T>(value: Json, element: impl Fn(Json) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let Json::Array(values) = value else { return Err(wrong("a list", &value)) };
    let read = |(n, value)| element(value).map_err(|error: Error| error.within(&format!("[{n}]")));
    values.into_iter().enumerate().map(read).collect()
}

/// A value is of another kind than it must be.
pub(crate) fn wrong(expected: &str, value: &Json) -> Error {
    Error::new(Code::InvalidField, format!("must be {expected}, not {}", kind(value)))
}

/// What JSON calls it.
fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// The known name that is most like `name`, if one is like it.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &&'a str| (strsim::damerau_levenshtein(name, known), *known);
    let (distance, known) = known.iter().map(likeness).min()?;
    (distance <= 1 + known.len() / 4).then_some(known)
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(read: impl FnOnce(&mut Fields) -> Result<(), Error>, value: Json) -> String {
        Fields::of(value)
            .and_then(|mut fields| {
                read(&mut fields)?;
                fields.finish()
            })
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn whole_numbers_may_have_a_point() {
        for (value, number) in [
            (json!(2), Some(2)),
            (json!(2.0), Some(2)),
            (json!(2.5), None),
            (json!(-1.0), None),
            (json!(1e300), None),
            (json!(1u64 << 53), None),
        ] {
            let read = Fields::of(json!({ "n": value })).unwrap().number("n");
            assert_eq!(read.ok().flatten(), number, "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let read = |fields: &mut Fields| {
            fields.need("event", Fields::text)?;
            fields.list("to", text)?;
            fields.flag("volatile")?;
            fields.number("limit")?;
            Ok(())
        };
        for (value, expected) in [
            (json!([]), "must be an object, not a list"),
            (json!({}), "event: is missing"),
            (json!({ "event": null }), "event: must be text, not null"),
            (json!({ "event": "a", "to": null }), "to: must be a list, not null"),
            (json!({ "event": 1 }), "event: must be text, not a number"),
            (json!({ "event": "a", "to": "b" }), "to: must be a list, not text"),
            (json!({ "event": "a", "to": ["b", 1] }), "to[1]: must be text, not a number"),
            (json!({ "event": "a", "volatile": 1 }), "volatile: must be true or false, not a number"),
            (
                json!({ "event": "a", "limit": -1 }),
                "limit: must be a whole number that is not negative, not a number",
            ),
            (json!({ "event": "a", "volatil": true }), "volatil: is no field here; did you mean `volatile`?"),
            (
                json!({ "event": "a", "something": 1 }),
                "something: is no field here; there are `event`, `to`, `volatile`, `limit`",
            ),
        ] {
            assert_eq!(error(read, value.clone()), expected, "{value}");
        }
    }
}
