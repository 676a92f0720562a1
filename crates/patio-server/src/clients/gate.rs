//! Who may connect: whoever brings a token that counts, as `auth: { token }`, and whom the backend lets in, if it wants to be
//! asked. What they say of rooms and data holds from the beginning, and the time they name is the end of the connection.

use std::sync::Arc;

use patio::{Refusal, Socket, extract::Auth};
use serde_json::{Map, Value as Json, json};

use super::{Clients, ConnectHook};
use crate::{
    auth::tokens::{Claims, Denial},
    hooks::{
        HookError, Message,
        bodies::{Admitted, Connect, Rejected},
    },
    ops::{operation::Change, perform::change_data, rooms},
};

/// What is known of a client that may connect, until it has.
#[derive(Clone, Debug)]
struct Admission {
    claims: Claims,
    ops: Vec<Json>,
}

/// Decides whether a client may enter a namespace, and notes as whom.
pub(super) async fn admit(
    clients: &Clients,
    socket: &Socket,
    auth: Option<Auth<Json>>,
) -> Result<(), Refusal> {
    let auth = auth.map(|Auth(auth)| auth).unwrap_or_default();
    let claims =
        by_token(clients, socket, &auth).await.inspect_err(|denial| clients.refused(denial.code()))?;
    let admission = match &clients.connect {
        Some(hook) => by_hook(clients, hook, socket, auth, claims).await?,
        None => Admission { claims, ops: Vec::new() },
    };
    let Admission { claims, .. } = &admission;
    // Here and not when it has connected: whoever has seen its client connect may send to its rooms.
    let user = claims.user.as_deref().map(rooms::of_user);
    drop(socket.join(user.into_iter().chain(claims.rooms.iter().cloned()).collect::<Vec<_>>()));
    change_data(socket, &Change { data: claims.data.clone(), expires_at: None });
    socket.extensions().insert(User(claims.user.clone()));
    socket.extensions().insert(admission);
    Ok(())
}

async fn by_token(clients: &Clients, socket: &Socket, auth: &Json) -> Result<Claims, Denial> {
    let Some(tokens) = &clients.tokens else { return Ok(Claims::default()) };
    let token = auth["token"].as_str();
    let token =
        token.ok_or_else(|| Denial::new("token_missing", "a token must be sent as `auth: { token }`"))?;
    let claims = tokens.read(token).await?;
    match claims.is_for(socket.namespace()) {
        true => Ok(claims),
        false => Err(Denial::new("token_namespace", "the token is not for this namespace")),
    }
}

/// Asks the backend. What it says counts before what the token says.
async fn by_hook(
    clients: &Clients,
    ConnectHook { url, headers }: &ConnectHook,
    socket: &Socket,
    auth: Json,
    claims: Claims,
) -> Result<Admission, Refusal> {
    let failed = || {
        clients.refused("hook_failed");
        Denial::new("hook_failed", "nobody can decide on this connection at the moment")
    };
    let handshake = socket.handshake();
    let header = |name: &String| Some((name.clone(), handshake.headers().get(name)?.into()));
    let query: Map<String, Json> =
        handshake.query().iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let body = Connect {
        sid: socket.id(),
        nsp: socket.namespace(),
        user: claims.user.as_deref(),
        auth,
        headers: headers.iter().filter_map(header).collect(),
        query: query.into(),
        address: handshake.address().map(|address| address.ip().to_string()).unwrap_or_default(),
        recovered: socket.recovered(),
    };
    let hooks = clients.hooks.as_ref().ok_or_else(failed)?;
    let (status, answer) = hooks.call(url, &Message::new(&body)).await.map_err(|_| failed())?;
    let broken = |error: HookError| {
        hooks.failed(url, &error);
        failed()
    };
    if !status.is_success() {
        let Rejected { message, data } = Rejected::read(answer).map_err(broken)?;
        clients.refused("refused");
        let data = data.unwrap_or_else(|| json!({ "code": "refused" }));
        return Err(Refusal::new(message).with_data(patio::Value::from(data)));
    }
    let Admitted { user, data, rooms, expires_at, ops } = Admitted::read(answer).map_err(broken)?;
    let mut claims =
        Claims { user: user.or(claims.user), expires_at: expires_at.or(claims.expires_at), ..claims };
    claims.data.extend(data);
    claims.rooms.extend(rooms);
    Ok(Admission { claims, ops })
}

/// A socket has connected: its time runs, and what the backend has asked for is done.
pub(super) fn enter(clients: &Arc<Clients>, socket: &Socket) {
    let Some(Admission { claims, ops }) = socket.extensions().remove::<Admission>() else { return };
    if let Some(at) = claims.expires_at {
        clients.expiries.set(socket, at);
    }
    clients.perform_later(ops);
}

/// Whose socket it is.
#[derive(Clone, Debug)]
struct User(Option<String>);

/// Whose socket it is, if that is known.
pub(super) fn user_of(socket: &Socket) -> Option<String> {
    socket.extensions().get::<User>().and_then(|User(user)| user)
}

/// A new token for a connection that is to go on: it must be of the same user.
pub(super) async fn refresh(clients: &Clients, socket: &Socket, token: &str) -> Result<Option<u64>, Denial> {
    let Some(tokens) = &clients.tokens else {
        return Err(Denial::new("token_key", "there are no tokens here"));
    };
    let claims = tokens.read(token).await?;
    if claims.user != user_of(socket) {
        return Err(Denial::new("token_user", "the token is of another user"));
    }
    if !claims.is_for(socket.namespace()) {
        return Err(Denial::new("token_namespace", "the token is not for this namespace"));
    }
    match claims.expires_at {
        Some(at) => clients.expiries.set(socket, at),
        None => clients.expiries.forget(socket),
    }
    Ok(claims.expires_at)
}
