//! What a client sent when it joined the namespace.

use patio_proto::{
    payload::ArgsError,
    value::{Object, Value},
};
use serde::de::DeserializeOwned;

use super::FromParts;
use crate::handler::Call;

/// What the client gave as `auth`: `socket.handshake.auth` in Socket.IO.
///
/// A client that gave none is read as `{}`, as in Socket.IO; with `Option<Auth<T>>` it is `None`. Clients of Socket.IO 1
/// and 2 have no `auth`: they send a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned> FromParts for Auth<T> {
    type Rejection = ArgsError;

    fn from_parts(call: &mut Call) -> Result<Self, ArgsError> {
        match call.socket.auth_payload() {
            Some(auth) => auth.read_value(),
            None => Value::Object(Object::new()).read(),
        }
        .map(Self)
    }
}

/// `None` if the client gave none; what it gave must be readable.
impl<T: DeserializeOwned> FromParts for Option<Auth<T>> {
    type Rejection = ArgsError;

    fn from_parts(call: &mut Call) -> Result<Self, ArgsError> {
        call.socket.auth_payload().map(|auth| auth.read_value().map(Auth)).transpose()
    }
}
