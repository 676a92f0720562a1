//! What clients see of this server: who may connect ([`gate`]) and what becomes of what they send ([`events`]).

mod events;
mod gate;

use std::sync::Arc;

use patio::{Namespace, Socket};

use crate::{auth::tokens::Tokens, expiry::Expiries, rules::Rules};

/// What both need.
#[derive(Debug)]
pub(crate) struct Clients {
    /// Whose tokens count. None: everybody may connect.
    pub(crate) tokens: Option<Tokens>,
    pub(crate) rules: Rules,
    pub(crate) expiries: Expiries,
}

/// The handlers of a namespace.
pub(crate) fn namespace(clients: &Arc<Clients>) -> Namespace {
    let (at_gate, at_connect, at_event, at_end) =
        (clients.clone(), clients.clone(), clients.clone(), clients.clone());
    Namespace::new()
        .middleware(async move |socket: Socket, auth| gate::admit(&at_gate, &socket, auth))
        .on_connect(async move |socket: Socket| gate::enter(&at_connect, &socket))
        .fallback(async move |socket: Socket, event, ack, payload| {
            events::arrived(&at_event, &socket, event, ack, payload);
        })
        .on_disconnect(async move |socket: Socket| at_end.expiries.forget(&socket))
}
