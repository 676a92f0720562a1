//! Who may connect: whoever brings a token that counts, as `auth: { token }`. What it says of rooms and data holds from the
//! beginning, and its end is the end of the connection.

use patio::{Refusal, Socket, extract::Auth};
use serde_json::Value as Json;

use super::Clients;
use crate::{
    auth::tokens::{Claims, Denial},
    ops::{operation::Change, perform::change_data, rooms},
};

/// Decides whether a client may enter a namespace, and notes as whom.
pub(super) fn admit(clients: &Clients, socket: &Socket, auth: Option<Auth<Json>>) -> Result<(), Refusal> {
    let Some(tokens) = &clients.tokens else { return Ok(()) };
    let token = auth.as_ref().and_then(|Auth(auth)| auth["token"].as_str());
    let token =
        token.ok_or_else(|| Denial::new("token_missing", "a token must be sent as `auth: { token }`"))?;
    let claims = tokens.read(token)?;
    if claims.namespaces.as_ref().is_some_and(|names| !names.iter().any(|name| name == socket.namespace())) {
        return Err(Denial::new("token_namespace", "the token is not for this namespace").into());
    }
    socket.extensions().insert(claims);
    Ok(())
}

/// Puts a new socket where its token says.
pub(super) fn enter(clients: &Clients, socket: &Socket) {
    let Some(claims) = socket.extensions().get::<Claims>() else { return };
    let user = claims.user.as_deref().map(rooms::of_user);
    // Nothing waits for it: what is emitted on this server from now on arrives.
    drop(socket.join(user.into_iter().chain(claims.rooms).collect::<Vec<_>>()));
    change_data(socket, &Change { data: claims.data, expires_at: None });
    if let Some(at) = claims.expires_at {
        clients.expiries.set(socket, at);
    }
}

/// A new token for a connection that is to go on: it must be of the same user.
pub(super) fn refresh(clients: &Clients, socket: &Socket, token: &str) -> Result<Option<u64>, Denial> {
    let Some(tokens) = &clients.tokens else {
        return Err(Denial::new("token_key", "there are no tokens here"));
    };
    let claims = tokens.read(token)?;
    let former = socket.extensions().get::<Claims>().and_then(|claims| claims.user);
    if claims.user != former {
        return Err(Denial::new("token_user", "the token is of another user"));
    }
    if claims.namespaces.as_ref().is_some_and(|names| !names.iter().any(|name| name == socket.namespace())) {
        return Err(Denial::new("token_namespace", "the token is not for this namespace"));
    }
    match claims.expires_at {
        Some(at) => clients.expiries.set(socket, at),
        None => clients.expiries.forget(socket),
    }
    Ok(claims.expires_at)
}
