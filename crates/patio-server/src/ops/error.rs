//! What is answered to who asks for something that cannot be done: `{"error":{"code","message","field"}}`.

use std::fmt;

use serde::Serialize;

/// Why something was refused. Documented in `docs/api.md`: a word here is a promise to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The text is no JSON.
    InvalidJson,
    /// There is no operation of this name.
    UnknownOp,
    /// The object has a member that means nothing.
    UnknownField,
    /// A member that must be there is not.
    MissingField,
    /// A member is not what it should be.
    InvalidField,
    /// Rooms that the server keeps itself: sockets' ids and `user:…`.
    ReservedRoom,
    /// Names of events that belong to Socket.IO or to this server.
    ReservedEvent,
    /// This server has no such namespace.
    UnknownNamespace,
    /// More operations in one request than are allowed.
    TooManyOperations,
    /// The body is too large.
    PayloadTooLarge,
    /// No key, or one that nobody knows.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// There is nothing at this path.
    NotFound,
    /// Not by this method.
    MethodNotAllowed,
    /// It was done here, but the other servers cannot be reached.
    Unavailable,
}

impl Code {
    /// Its HTTP status.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::InvalidJson => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::PayloadTooLarge => 413,
            Self::UnknownOp
            | Self::UnknownField
            | Self::MissingField
            | Self::InvalidField
            | Self::ReservedRoom
            | Self::ReservedEvent
            | Self::UnknownNamespace
            | Self::TooManyOperations => 422,
            Self::Unavailable => 503,
        }
    }
}

/// A refusal, with the field that is to blame, as a path: `ops[1].to[0]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Error {
    pub(crate) code: Code,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// One that a field is to blame for.
    pub(crate) fn of(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: Some(field.into()) }
    }

    /// The same, for a field that stands in another place.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.field = Some(match self.field {
            Some(field) if field.starts_with('[') => format!("{outer}{field}"),
            Some(field) => format!("{outer}.{field}"),
            None => outer.to_owned(),
        });
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs rely on them.
    #[test]
    fn every_code_is_documented_with_its_status() {
        let documented = include_str!("../../../../docs/api.md");
        for code in [
            Code::InvalidJson,
            Code::UnknownOp,
            Code::UnknownField,
            Code::MissingField,
            Code::InvalidField,
            Code::ReservedRoom,
            Code::ReservedEvent,
            Code::UnknownNamespace,
            Code::TooManyOperations,
            Code::PayloadTooLarge,
            Code::Unauthorized,
            Code::Forbidden,
            Code::NotFound,
            Code::MethodNotAllowed,
            Code::Unavailable,
        ] {
            let word = serde_json::to_value(code).unwrap();
            let row = format!("| `{}` | {} |", word.as_str().unwrap(), code.status());
            assert!(documented.contains(&row), "{row}");
        }
    }

    #[test]
    fn says_where_it_is() {
        assert_eq!(serde_json::to_value(Code::TooManyOperations).unwrap(), "too_many_operations");
        let error = Error::of(Code::InvalidField, "[0]", "is no name").within("to").within("ops[2]");
        assert_eq!(error.to_string(), "ops[2].to[0]: is no name");
    }
}
