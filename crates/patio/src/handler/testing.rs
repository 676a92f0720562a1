//! Sockets without clients, for tests of handlers and extractors.

use std::sync::Arc;

use patio_proto::payload::Payload;

use crate::{extract::StateMap, server::Server, socket::Socket};

/// A socket of a server with `states`, whose client sent `auth` as JSON.
pub(crate) fn socket(states: StateMap, auth: Option<serde_json::Value>) -> Socket {
    Socket::stub(Server(Arc::new(states)), auth.map(|auth| Payload::value(&auth).expect("JSON is JSON")))
}

/// The acks that the socket has sent since the last call, as `<id><JSON>`.
pub(crate) fn acks(socket: &Socket) -> Vec<String> {
    let text = |payload: &Payload| payload.json().map(|(text, _)| text.to_string()).unwrap_or_default();
    socket.acks().iter().map(|(id, payload)| format!("{id}{}", text(payload))).collect()
}
