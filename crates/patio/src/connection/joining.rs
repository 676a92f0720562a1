//! Joining a namespace: CONNECT, its middlewares, the state that a client wants back, and the answer.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
};

use futures_util::FutureExt;
use patio_adapter::{Replayed, Restored, Room};
use patio_proto::{
    Text,
    engine::{CloseReason, Protocol},
    packet::{Kind, Packet},
    payload::Payload,
};

use super::{
    Connection, Driver, Member,
    running::{Done, run_all},
};
use crate::{
    engine::session::Session,
    handler::{Call, HandlerError, erased},
    http::query::Query,
    hub::Hub,
    refusal::Refusal,
    socket::{Socket, setup},
};

/// Joining a namespace.
impl Driver<'_> {
    pub(super) fn connect(&mut self, nsp: Text, auth: Option<Payload>) {
        let engine = Arc::clone(self.engine());
        // The end of a former socket of this namespace may be known, but not be dealt with.
        self.commands();
        {
            let mut state = self.session.app.state.lock();
            match state.find(&nsp) {
                None => {}
                Some(Member::Left(_)) => state.remove(&nsp),
                Some(_) => {
                    drop(state);
                    return self.invalid_state();
                }
            }
            if state.namespaces.len() >= engine.config.limits.namespaces {
                state.namespaces.retain(|member| !matches!(member, Member::Left(_)));
            }
            if state.namespaces.len() >= engine.config.limits.namespaces {
                drop(state);
                return self.refuse_as_object(&nsp, &Refusal::new("Too many namespaces"));
            }
            state.namespaces.push(Member::Connecting(nsp.clone()));
        }
        // A name without its slash, which MessagePack can carry, is that of no namespace.
        let enter =
            || nsp.starts_with('/').then(|| engine.shared.enter(&engine, &nsp, auth.as_ref())).flatten();
        let Some(hub) = engine.counters.guard(enter).flatten() else {
            self.session.app.state.lock().remove(&nsp);
            return self.refuse_as_object(&nsp, &Refusal::new("Invalid namespace"));
        };
        let returning = self.returning(auth.as_ref());
        self.admit(hub, auth, returning);
    }

    /// Gives the client a socket: the one that it had, if it says so and that is known, else one for the middlewares.
    fn admit(&mut self, hub: Arc<Hub>, auth: Option<Payload>, returning: Option<(String, String)>) {
        let engine = Arc::clone(self.engine());
        let declared = hub.declared();
        if returning.is_none() && declared.middlewares.is_empty() {
            let socket =
                Socket::new(new_id(self.session, hub.name()), hub.clone(), Arc::clone(self.session), auth);
            return self.connected(socket);
        }
        let middlewares = declared.middlewares.clone();
        drop(declared);
        let skip = engine.config.recovery.is_some_and(|recovery| recovery.skip_middlewares);
        let session = Arc::clone(self.session);
        self.start_flow(async move {
            let restored = match returning {
                Some((pid, offset)) => {
                    let restore = async { hub.adapter().restore(&pid, &offset).await };
                    session.engine().counters.guard_async(restore).await.flatten()
                }
                None => None,
            };
            // The former connection may still stand: then it is nobody's state to take.
            let restored = restored.filter(|restored| hub.socket(&restored.session.sid).is_none());
            let id = restored.as_ref().map(|restored| restored.session.sid.clone());
            let id = id.unwrap_or_else(|| new_id(&session, hub.name()));
            let socket = Socket::new(id, hub, session, auth);
            if let Some(restored) = &restored {
                socket.restore_data(restored.session.data.clone());
            }
            let verdict = if skip && restored.as_ref().is_some_and(|restored| restored.vouched) {
                Ok(())
            } else {
                AssertUnwindSafe(ask(middlewares, &socket)).catch_unwind().await.unwrap_or_else(|panic| {
                    socket.server().handler_failed(&socket, None, &HandlerError::panicked(panic));
                    Err(Refusal::new("Internal server error"))
                })
            };
            Done::Connect { socket, verdict, restored }
        });
    }

    /// The private id and the offset of a client that wants its state back.
    fn returning(&mut self, auth: Option<&Payload>) -> Option<(String, String)> {
        #[derive(serde::Deserialize)]
        struct Returning {
            pid: String,
            offset: String,
        }

        // Older clients compute their ids, and so cannot have another.
        self.engine().config.recovery.filter(|_| self.session.protocol() == Protocol::V4)?;
        let Returning { pid, offset } = auth?.read_value().ok()?;
        if self.inbox.returns == MAX_RETURNS {
            return None;
        }
        self.inbox.returns += 1;
        Some((pid, offset))
    }

    pub(super) fn verdict(
        &mut self,
        socket: Socket,
        verdict: Result<(), Refusal>,
        restored: Option<Restored>,
    ) {
        let accepted = match verdict {
            Ok(()) if !self.session.is_closed() => {
                return match restored {
                    Some(restored) => self.rejoin(socket, restored),
                    None => self.connected(socket),
                };
            }
            Ok(()) => true,
            Err(refusal) => {
                let nsp = socket.hub().nsp();
                self.session.app.state.lock().remove(&nsp);
                self.refuse(&nsp, &refusal);
                false
            }
        };
        // The adapter may have given its state away for good: the client has not got it, and may come again. Not if it may
        // be that of another namespace: what is kept here is this one's.
        if let Some(Restored { session, vouched, .. }) = restored
            && (vouched || accepted)
        {
            socket.hub().persist(session);
        }
        self.unconnected(&socket);
    }

    /// A socket that did not make it leaves nothing behind.
    fn unconnected(&mut self, socket: &Socket) {
        socket.hub().connecting.fetch_sub(1, Ordering::Relaxed);
        socket.clear();
        let engine = self.engine();
        engine.shared.clean_up(engine, socket.hub());
    }

    /// A client that came back gets its id, its rooms and its data.
    fn rejoin(&mut self, socket: Socket, restored: Restored) {
        let hub = Arc::clone(socket.hub());
        let own = socket.id().clone();
        socket.join(restored.session.rooms.iter().filter(|room| **room != own).cloned().collect::<Vec<_>>());
        socket.set_pid(restored.session.pid.clone());
        // Between the look at the history and the rooms is a gap: from here on it hears everything, and the history
        // is read once more for what came in between.
        socket.hold();
        if !hub.insert(&socket, true) {
            return self.begin_anew(&socket);
        }
        self.session.app.state.lock().set(Member::Restoring(socket.clone()));
        self.start_flow(async move {
            let replay = async { hub.adapter().replay(&restored.cursor, &hub.rooms_of(&socket)).await };
            let replayed = socket.session().engine().counters.guard_async(replay).await.flatten();
            Done::Replayed { socket, restored, replayed }
        });
    }

    pub(super) fn replayed(&mut self, socket: Socket, restored: Restored, replayed: Option<Replayed>) {
        // Its connection, or somebody else, may have ended it meanwhile.
        if !socket.is_connected() {
            socket.hub().connecting.fetch_sub(1, Ordering::Relaxed);
            let engine = self.engine();
            return engine.shared.clean_up(engine, socket.hub());
        }
        let Some(replayed) = replayed.filter(|replayed| self.fits(&restored, replayed)) else {
            return self.begin_anew(&socket);
        };
        self.joined(&socket);
        for (payload, offset) in restored.missed.into_iter().chain(replayed.missed) {
            socket.deliver_packet(Kind::Event {
                id: None,
                payload: payload.with_appended_str(offset.as_str()),
            });
        }
        self.welcome(&socket);
        socket.release(&replayed.cursor);
        self.set_up(socket);
    }

    /// Whether what a client missed leaves half of its queue free: with a full one it would be too slow at once, and would
    /// come back again and again.
    fn fits(&self, restored: &Restored, replayed: &Replayed) -> bool {
        let limits = &self.engine().config.limits;
        let missed = || restored.missed.iter().chain(&replayed.missed);
        missed().count() <= limits.outbound_packets / 2
            && missed().map(|(payload, _)| payload.size()).sum::<usize>() <= limits.outbound_bytes / 2
    }

    /// A client cannot have its state back after all.
    fn begin_anew(&mut self, socket: &Socket) {
        let (hub, auth) = (Arc::clone(socket.hub()), socket.auth_payload());
        socket.withdraw();
        self.session.app.state.lock().set(Member::Connecting(hub.nsp()));
        self.admit(hub, auth, None);
    }

    fn connected(&mut self, socket: Socket) {
        if self.engine().config.recovery.is_some() && self.session.protocol() == Protocol::V4 {
            socket.set_pid(self.engine().new_id());
        }
        if !socket.hub().insert(&socket, false) {
            // The computed id of protocol 3 is taken.
            self.session.app.state.lock().remove(socket.namespace());
            self.unconnected(&socket);
            return self.session.close(CloseReason::ForcedClose);
        }
        self.joined(&socket);
        self.welcome(&socket);
        self.set_up(socket);
    }

    /// The socket is one of the connection's from now on.
    fn joined(&mut self, socket: &Socket) {
        socket.hub().connecting.fetch_sub(1, Ordering::Relaxed);
        self.session.app.state.lock().set(Member::Connected(socket.clone()));
        if self.inbox.connect_by.take().is_some() {
            self.set_deadline();
        }
    }

    /// Answers the client's CONNECT.
    fn welcome(&self, socket: &Socket) {
        let data = match self.session.protocol() {
            Protocol::V4 => {
                Payload::value(&Connected { sid: socket.id(), pid: socket.pid().as_deref() }).ok()
            }
            Protocol::V3 => None,
        };
        socket.deliver_packet(Kind::Connect(data));
        // In a write of its own: clients that look at one message at a time, as the protocol's own test suite does,
        // would miss what the connect handlers send behind it.
        self.session.write_now();
    }

    /// Runs the connect handlers.
    fn set_up(&mut self, socket: Socket) {
        let handlers = socket.hub().declared().connect.clone();
        if handlers.is_empty() {
            return;
        }
        socket.set_setup(setup::RUNNING);
        self.start_flow(async move {
            run_all(handlers, Call::connect(socket.clone())).await;
            Done::SetUp(socket)
        });
    }

    /// Answers with what a middleware said, in the form of the client's protocol.
    fn refuse(&mut self, nsp: &Text, refusal: &Refusal) {
        match self.session.protocol() {
            Protocol::V4 => self.refuse_as_object(nsp, refusal),
            Protocol::V3 => self.refuse_with(nsp, refusal.to_payload_v3()),
        }
    }

    /// Answers with what the server itself says: an object in both protocols.
    fn refuse_as_object(&mut self, nsp: &Text, refusal: &Refusal) {
        self.refuse_with(nsp, refusal.to_payload());
    }

    fn refuse_with(&mut self, nsp: &Text, data: Payload) {
        self.engine().counters.refused_connects.add(1);
        let packet = Packet::new(nsp.clone(), Kind::ConnectError(data));
        let parser = self.engine().config.parser;
        let encoded = patio_proto::encode::Encoded::packet_with(parser, &packet);
        self.session.send(&Arc::new(encoded), false);
    }

    /// Whether a client that ends so may come back to its state.
    pub(super) fn recoverable(&self, reason: CloseReason) -> bool {
        self.engine().config.recovery.is_some()
            && !matches!(reason, CloseReason::ParseError | CloseReason::SlowClient)
    }
}

/// How often one connection may ask for a former state. A client asks once for each of its namespaces; each time the
/// history of packets is searched, which must not be had for a few bytes again and again.
const MAX_RETURNS: u8 = 16;

/// The data of the CONNECT packet that answers a client.
#[derive(serde::Serialize)]
struct Connected<'a> {
    sid: &'a Room,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a str>,
}

/// The id of a new socket. Clients of protocol 3 compute it themselves.
fn new_id(session: &Session<Connection>, nsp: &str) -> Room {
    match session.protocol() {
        Protocol::V4 => Room::new(session.engine().new_socket_id()),
        Protocol::V3 if nsp == "/" => Room::from(session.sid()),
        Protocol::V3 => Room::from(format!("{nsp}#{}", session.sid())),
    }
}

/// The query behind a namespace of protocol 3, as `auth`.
pub(super) fn query_payload(query: &str) -> Option<Payload> {
    let query = Query::parse(query);
    let object: serde_json::Map<_, _> =
        query.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Payload::value(&object).ok()
}

async fn ask(middlewares: Vec<erased::Middleware>, socket: &Socket) -> Result<(), Refusal> {
    for middleware in middlewares {
        middleware.call(Call::connect(socket.clone()))?.await?;
    }
    Ok(())
}
