//! Does what operations say, on this server and through its adapter on all others.

use std::sync::Arc;

use futures_util::FutureExt;
use patio::{AdapterError, BroadcastOperator, EmitError, NamespaceHandle, Server, Socket, Value};
use patio_redis::Store;
use serde_json::{Value as Json, json};

use super::{
    binary,
    error::{Code, Error},
    operation::{Action, Audience, Change, Emit, Operation},
    remembered::Remembered,
};
use crate::expiry::Expiries;

/// The event that tells clients why they are disconnected, before they are.
pub(crate) const DISCONNECT: &str = "patio:disconnect";

/// What servers like this one tell each other: Node's protocols have nothing for it.
const SET: &str = "patio:set";

/// Does operations.
#[derive(Clone)]
pub(crate) struct Operations(Arc<Inner>);

struct Inner {
    io: Server,
    expiries: Expiries,
    remembered: Remembered,
}

impl Operations {
    /// Those on the namespaces that `io` has now.
    /// Answers are shared by a store, if there is one.
    pub(crate) fn new(io: Server, expiries: Expiries, store: Option<Store>) -> Self {
        for name in io.namespaces() {
            let namespace = io.of(&name);
            let (this, expiries) = (namespace.clone(), expiries.clone());
            namespace.on_server_side(SET, move |payload, _| match payload.read_args::<(Json,)>(1) {
                Ok((told,)) => match read_set(told) {
                    Ok((to, change)) => set_here(&this, &expiries, &to, &change),
                    Err(error) => tracing::warn!(%error, "another server's change of data is not understood"),
                },
                Err(error) => tracing::warn!(%error, "another server's change of data is not understood"),
            });
        }
        Self(Arc::new(Inner { io, expiries, remembered: Remembered::shared_by(store) }))
    }

    /// Does it once: a repeat with the same idempotency key gets the first answer.
    pub(crate) async fn perform(&self, operation: Operation) -> Result<Json, Error> {
        let Operation { nsp, action, idempotency_key } = operation;
        let namespace = self.namespace(&nsp)?;
        match idempotency_key {
            None => self.act(&namespace, action).await,
            Some(key) => self.0.remembered.once(&key, self.act(&namespace, action)).await,
        }
    }

    /// Reads and does it.
    pub(crate) async fn perform_json(&self, value: Json) -> Result<Json, Error> {
        self.perform(Operation::read(value)?).await
    }

    /// The names of those that there are.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let mut names = self.0.io.namespaces();
        names.sort_unstable();
        names
    }

    /// A namespace that this server has.
    pub(crate) fn namespace(&self, name: &str) -> Result<NamespaceHandle, Error> {
        match self.0.io.namespaces().iter().any(|known| known == name) {
            true => Ok(self.0.io.of(name)),
            false => Err(Error::of(Code::UnknownNamespace, "nsp", "this server has no such namespace")),
        }
    }

    async fn act(&self, namespace: &NamespaceHandle, action: Action) -> Result<Json, Error> {
        match action {
            Action::Emit(emit) => return self::emit(namespace, emit).await,
            Action::Join { to, rooms } => sockets(namespace, &to).sockets_join(rooms)?,
            Action::Leave { to, rooms } => sockets(namespace, &to).sockets_leave(rooms)?,
            Action::Disconnect { to, reason } => {
                if let Some(reason) = reason {
                    sockets(namespace, &to).emit(DISCONNECT, &reason)?;
                }
                sockets(namespace, &to).disconnect_sockets(false)?;
            }
            Action::Set { to, change } => {
                set_here(namespace, &self.0.expiries, &to, &change);
                namespace.server_side_emit(SET, &write_set(&to, &change))?;
            }
        }
        Ok(json!({ "ok": true }))
    }
}

/// The sockets that are meant.
pub(crate) fn sockets(namespace: &NamespaceHandle, to: &Audience) -> BroadcastOperator {
    match to {
        Audience::Everyone => namespace.operator(),
        Audience::Rooms(rooms) => namespace.to(rooms.clone()),
    }
}

async fn emit(
    namespace: &NamespaceHandle,
    Emit { to, except, event, args, volatile, ack }: Emit,
) -> Result<Json, Error> {
    let chosen = sockets(namespace, &to).except(except);
    let Some(timeout) = ack else {
        let chosen = if volatile { chosen.volatile() } else { chosen };
        chosen.emit(&event, &args)?;
        return Ok(json!({ "ok": true }));
    };
    match chosen.timeout(timeout).emit_with_ack::<Value>(&event, &args).all().await {
        Ok(answers) => Ok(acks(&answers, 0)),
        Err(partial) if partial.failed.is_some() => {
            Err(partial.failed.expect("it has just been seen").into())
        }
        Err(partial) => {
            let missing = partial.missing.sockets.len() + partial.missing.others + partial.missing.servers;
            Ok(acks(&partial.answers, missing + partial.invalid))
        }
    }
}

fn acks(answers: &[Value], missing: usize) -> Json {
    json!({ "ok": true, "acks": answers.iter().map(binary::to_json).collect::<Json>(), "missing": missing })
}

/// Changes the data of sockets of this server.
fn set_here(namespace: &NamespaceHandle, expiries: &Expiries, to: &Audience, change: &Change) {
    for socket in sockets_here(namespace, to) {
        change_data(&socket, change);
        if let Some(at) = change.expires_at {
            expiries.set(&socket, at);
        }
    }
}

/// Merges one level deep; null removes.
pub(crate) fn change_data(socket: &Socket, change: &Change) {
    for (key, value) in &change.data {
        if value.is_null() {
            socket.remove_data(key);
        } else {
            // JSON is always written.
            let _ = socket.set_data(key, value);
        }
    }
}

fn sockets_here(namespace: &NamespaceHandle, to: &Audience) -> Vec<Socket> {
    match to {
        Audience::Everyone => namespace.sockets(),
        Audience::Rooms(_) => {
            // This server's own are there at once.
            let fetched = sockets(namespace, to).local().fetch_sockets().now_or_never();
            let ids = fetched.and_then(Result::ok).map(|fetched| fetched.sockets).unwrap_or_default();
            ids.iter().filter_map(|snapshot| namespace.socket(&snapshot.id)).collect()
        }
    }
}

/// A change of data as servers tell it each other: the operation itself.
fn write_set(to: &Audience, Change { data, expires_at }: &Change) -> Json {
    let mut told = json!({ "op": "set", "data": data });
    if let Some(at) = expires_at {
        told["expires_at"] = (*at).into();
    }
    match to {
        Audience::Everyone => told["all"] = true.into(),
        Audience::Rooms(rooms) => told["to"] = rooms.iter().map(|room| room.as_str()).collect(),
    }
    told
}

fn read_set(told: Json) -> Result<(Audience, Change), Error> {
    match Operation::read(told)?.action {
        Action::Set { to, change } => Ok((to, change)),
        _ => Err(Error::of(Code::UnknownOp, "op", "must be set")),
    }
}

impl From<AdapterError> for Error {
    fn from(error: AdapterError) -> Self {
        Self::new(Code::Unavailable, format!("done on this server, but not on the others: {error}"))
    }
}

impl From<EmitError> for Error {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Adapter(error) => error.into(),
            EmitError::Reserved(_) => Self::of(Code::ReservedEvent, "event", error.to_string()),
            error => Self::of(Code::InvalidField, "args", error.to_string()),
        }
    }
}
