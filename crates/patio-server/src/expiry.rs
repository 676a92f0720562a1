//! When sockets expire: their connections are closed then, so that clients come back by themselves with a new token.
//!
//! Times come from tokens, from hooks' answers and from the operation `set`. One task looks once a second.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use patio::{Server, Socket};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::ops::perform::DISCONNECT;

/// The sockets of this server that expire. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiries(Arc<Mutex<State>>);

/// A socket: its namespace and its id.
type Name = (String, String);

#[derive(Debug, Default)]
struct State {
    times: HashMap<Name, u64>,
    /// The same, by seconds since 1970.
    order: BTreeSet<(u64, Name)>,
}

impl Expiries {
    /// The socket expires then, and not when it was to before. Its namespace forgets it by [`Expiries::forget`].
    pub(crate) fn set(&self, socket: &Socket, at: u64) {
        // Looked at under the lock: one that has gone was, or will be, forgotten.
        let mut state = self.0.lock();
        let name = name(socket);
        state.remove(&name);
        if socket.is_connected() {
            state.times.insert(name.clone(), at);
            state.order.insert((at, name));
        }
    }

    /// The socket has gone.
    pub(crate) fn forget(&self, socket: &Socket) {
        self.0.lock().remove(&name(socket));
    }

    /// Closes, for as long as it is polled, what has expired.
    pub(crate) async fn close(self, io: Server) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            for (nsp, id) in self.due(now()) {
                if let Some(socket) = io.of(&nsp).socket(&id) {
                    let reason =
                        json!({ "code": "expired", "message": "the time of this connection is over" });
                    // Not `disconnect`, after which clients stay away.
                    let _ = socket.emit(DISCONNECT, &reason);
                    socket.conn().close();
                }
            }
        }
    }

    fn due(&self, now: u64) -> Vec<Name> {
        let mut state = self.0.lock();
        let mut due = Vec::new();
        while state.order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = state.order.pop_first() else { break };
            state.times.remove(&name);
            due.push(name);
        }
        due
    }
}

impl State {
    fn remove(&mut self, name: &Name) {
        if let Some(at) = self.times.remove(name) {
            self.order.remove(&(at, name.clone()));
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn name(socket: &Socket) -> Name {
    (socket.namespace().to_owned(), socket.id().to_string())
}
