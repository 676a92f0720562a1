//! What clients see of this server: who may connect ([`gate`]) and what becomes of what they send ([`events`]).

mod events;
mod gate;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use patio::{DisconnectReason, Namespace, Socket};
use serde_json::Value as Json;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{
    auth::tokens::Tokens,
    expiry::Expiries,
    hooks::{Batches, HookUrl, Hooks, bodies::Gone},
    ops::Operations,
    rules::{Rate, Rules},
};

/// How long a server that ends waits for its last calls of the backend.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// What all of it needs.
pub(crate) struct Clients {
    /// Whose tokens count. None: everybody may connect, unless the backend is asked.
    pub(crate) tokens: Option<Tokens>,
    pub(crate) rules: Rules,
    /// How many events, and how many bytes of them, one socket may send in a second.
    pub(crate) rates: (Option<Rate>, Option<Rate>),
    pub(crate) expiries: Expiries,
    pub(crate) hooks: Option<Hooks>,
    /// The backend is asked who may connect.
    pub(crate) connect: Option<ConnectHook>,
    /// The backend is told who has gone, until the server has ended.
    pub(crate) gone: Mutex<Option<Batches>>,
    /// How often clients were refused something, by the codes that they read.
    pub(crate) refusals: Mutex<BTreeMap<&'static str, u64>>,
    /// What is waited for when the server ends.
    pub(crate) tasks: TaskTracker,
    /// What does the operations of hooks' answers: there once the server is.
    pub(crate) operations: OnceLock<Operations>,
}

/// Where the backend is asked who may connect, and which headers it sees.
#[derive(Clone, Debug)]
pub(crate) struct ConnectHook {
    pub(crate) url: HookUrl,
    pub(crate) headers: Vec<String>,
}

impl Clients {
    fn refused(&self, code: &'static str) {
        *self.refusals.lock().entry(code).or_default() += 1;
    }

    /// Does operations one after the other.
    async fn perform(&self, ops: Vec<Json>) {
        let Some(operations) = self.operations.get() else { return };
        for op in ops {
            if let Err(error) = operations.perform_json(op).await {
                tracing::warn!(%error, "an operation of a hook's answer cannot be done");
            }
        }
    }

    /// The same, without waiting for it.
    fn perform_later(self: &Arc<Self>, ops: Vec<Json>) {
        if !ops.is_empty() {
            let this = self.clone();
            self.tasks.spawn(async move { this.perform(ops).await });
        }
    }

    /// Waits until the backend has heard everything, for a while. Nothing more is told afterwards.
    pub(crate) async fn told_all(&self) {
        drop(self.gone.lock().take());
        self.tasks.close();
        if timeout(LAST_CALLS, self.tasks.wait()).await.is_err() {
            tracing::warn!(calls = self.tasks.len(), "the backend was not told everything in time");
        }
    }

    fn left(&self, socket: &Socket, reason: DisconnectReason) {
        self.expiries.forget(socket);
        if let Some(gone) = &*self.gone.lock() {
            gone.push(Gone {
                sid: socket.id().to_string(),
                nsp: socket.namespace().to_owned(),
                user: gate::user_of(socket),
                data: socket.data(),
                reason: reason.to_string(),
            });
        }
    }
}

/// The handlers of a namespace.
pub(crate) fn namespace(clients: &Arc<Clients>) -> Namespace {
    let (at_gate, at_connect, at_event, at_end) =
        (clients.clone(), clients.clone(), clients.clone(), clients.clone());
    Namespace::new()
        .middleware(async move |socket: Socket, auth| gate::admit(&at_gate, &socket, auth).await)
        .on_connect(async move |socket: Socket| gate::enter(&at_connect, &socket))
        .fallback(async move |socket: Socket, event, ack, payload| {
            events::arrived(&at_event, &socket, event, ack, payload).await;
        })
        .on_disconnect(async move |socket: Socket, reason: DisconnectReason| at_end.left(&socket, reason))
}
