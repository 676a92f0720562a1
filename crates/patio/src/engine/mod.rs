//! Engine.IO on tokio: sessions over long-polling and WebSocket, for both protocol revisions on one port.
//!
//! A request enters by [`request`]; it opens a session, or belongs to one. Each session has one
//! [driver](driver), which calls the layer above ([`Application`]); what that layer sends waits in the session's
//! [queue](outbound) until the [turn](flush) ends. Heartbeats and time limits are looked at by [`timers`].

mod control;
#[cfg_attr(not(feature = "deflate"), path = "no_deflate.rs")]
mod deflate;
pub(crate) mod driver;
#[cfg(test)]
mod echo;
pub(crate) mod flush;
mod handshake;
mod outbound;
mod registry;
pub(crate) mod request;
pub(crate) mod session;
mod timers;
pub(crate) mod transport;

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use hashbrown::HashMap;
use patio_proto::{
    encode::Encoded,
    engine::{CloseReason, DecodeError, Message, Packet, Protocol},
    sid::Sid,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use self::{driver::Driver, flush::Flusher, outbound::Bounds, session::Session, timers::Timers};
pub use self::{handshake::Handshake, request::ConnectionError};
use crate::{
    config::Config,
    counters::Counters,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

/// What stands above a session: Socket.IO, or a plain Engine.IO application. One value of it belongs to each session.
///
/// Everything from [`Self::opened`] on is called by the session's driver, one call at a time and in the order of the
/// packets.
pub(crate) trait Application: Send + Sync + Sized + 'static {
    /// What the server has for all its sessions.
    type Shared: Send + Sync;

    /// What only the driver touches: decoders, handlers that run.
    type Inbox: Default + Send + Unpin;

    /// What belongs to a new session; `request` are the extensions of the request that opens it.
    fn new(engine: &Arc<Engine<Self>>, request: &::http::Extensions) -> Self;

    /// Greets the client of a session that begins with a WebSocket, before there is a driver: with the open packet.
    fn greet(session: &Arc<Session<Self>>, open: Encoded) {
        session.send(&Arc::new(open), false);
    }

    /// The packet in a message of the session's WebSocket.
    fn packet(protocol: Protocol, message: Message) -> Result<Packet, DecodeError> {
        match message {
            Message::Text(text) => Packet::decode_text(protocol, text),
            Message::Binary(bytes) => Packet::decode_binary(protocol, bytes),
        }
    }

    /// The session is open.
    fn opened(session: &Arc<Session<Self>>, inbox: &mut Self::Inbox);

    /// A message came.
    fn message(session: &Arc<Session<Self>>, inbox: &mut Self::Inbox, message: Message);

    /// Whether more messages can be taken now.
    fn wants_more(inbox: &Self::Inbox) -> bool;

    /// Runs what runs. Ready when nothing does.
    fn poll(session: &Arc<Session<Self>>, inbox: &mut Self::Inbox, cx: &mut Context<'_>) -> Poll<()>;

    /// The deadline that the layer set has passed.
    fn due(session: &Arc<Session<Self>>, inbox: &mut Self::Inbox);

    /// The session has ended.
    fn closed(session: &Arc<Session<Self>>, inbox: &mut Self::Inbox, reason: CloseReason);

    /// The runtime is going away: leave everything, run nothing.
    fn abandoned(session: &Arc<Session<Self>>, inbox: &mut Self::Inbox);
}

/// How long handlers may go on when the server closes.
const CLOSE: Duration = Duration::from_secs(10);

/// All sessions of one server.
pub(crate) struct Engine<A: Application> {
    pub(crate) config: Config,
    /// Shared with the namespaces.
    pub(crate) counters: Arc<Counters>,
    pub(crate) shared: A::Shared,
    /// Every task of this server; `close()` waits until they have ended.
    pub(crate) tasks: TaskTracker,
    sessions: Mutex<registry::Sessions<A>>,
    flusher: Flusher,
    timers: Timers,
    bounds: Bounds,
    /// The low bits of ids: two ids of one process are never equal, whatever the random numbers are.
    ids: AtomicU32,
    /// What the ids of this server's sockets begin with.
    id_tag: [u8; 3],
    /// Sessions and upgrades on their way, against the limit of connections.
    open: AtomicUsize,
    closing: AtomicBool,
    /// Sessions that are gone and whose handlers still run, by their address, so that the end of the server can wake
    /// their drivers.
    lingering: Mutex<HashMap<usize, Weak<Session<A>>>>,
    /// The handlers that still run are dropped.
    over: AtomicBool,
}

impl<A: Application> Engine<A> {
    pub(crate) fn new(mut config: Config, shared: A::Shared) -> Self {
        config.bound_times();
        Self {
            counters: Arc::default(),
            shared,
            tasks: TaskTracker::new(),
            sessions: Mutex::new(registry::Sessions::default()),
            flusher: Flusher::default(),
            timers: Timers::new(&config.timing),
            bounds: Bounds { bytes: config.limits.outbound_bytes, packets: config.limits.outbound_packets },
            ids: AtomicU32::new(0),
            id_tag: random(),
            open: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            lingering: Mutex::default(),
            over: AtomicBool::new(false),
            config,
        }
    }

    /// Starts what runs beside the sessions, on the runtime of the first request.
    fn start(&self) {
        self.flusher.start();
        self.timers.start();
    }

    /// An id that cannot be guessed: 96 random bits, and a counter.
    pub(crate) fn new_id(&self) -> String {
        Sid::numbered(random(), self.ids.fetch_add(1, Ordering::Relaxed)).to_string()
    }

    /// The id of a socket that cannot be guessed: this server's tag, and 96 random bits. By the tag an adapter hears of all
    /// sockets of this server with one subscription.
    pub(crate) fn new_socket_id(&self) -> Sid {
        Sid::tagged(self.id_tag, random())
    }

    /// The 4 characters with which the ids of this server's sockets begin.
    pub(crate) fn id_tag(&self) -> String {
        Sid::tag_text(self.id_tag)
    }

    /// Whether new sessions are refused.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Refuses new sessions from now on.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Remembers a session that is gone and whose handlers still run.
    fn linger(&self, session: &Arc<Session<A>>) {
        self.lingering.lock().insert(Arc::as_ptr(session).addr(), Arc::downgrade(session));
    }

    /// Its handlers have ended: what is remembered would keep its memory.
    fn unlinger(&self, session: &Arc<Session<A>>) {
        self.lingering.lock().remove(&Arc::as_ptr(session).addr());
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Closes all sessions, and waits for what still runs for them, but no longer than [`CLOSE`].
    pub(crate) async fn close(&self) {
        self.begin_close();
        for session in self.sessions() {
            session.close(CloseReason::ServerShuttingDown);
            // One that was saying farewell already is not waited for.
            session.wake();
        }
        let dropped = self.finish(Instant::now() + CLOSE).await;
        if dropped > 0 {
            tracing::warn!(connections = dropped, "handlers were still running when the server closed");
        }
    }

    /// Waits until every connection has ended and its handlers too; at `deadline` those that still run are dropped.
    /// How many these were.
    async fn finish(&self, deadline: Instant) -> usize {
        self.tasks.close();
        if timeout_at(deadline, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        self.over.store(true, Ordering::Release);
        let lingering = std::mem::take(&mut *self.lingering.lock());
        let dropped = lingering.values().filter_map(Weak::upgrade).inspect(|session| session.wake()).count();
        // Their tasks end at their next poll; a connection's farewell has a limit of its own.
        self.tasks.wait().await;
        dropped
    }

    /// The number of sessions: `io.engine.clientsCount`.
    pub(crate) fn clients_count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// How many deadlines the timers know.
    pub(crate) fn listed_timers(&self) -> usize {
        self.timers.listed()
    }

    /// All sessions, for a shutdown.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session<A>>> {
        self.sessions.lock().iter().cloned().collect()
    }

    fn find(&self, sid: &str) -> Option<Arc<Session<A>>> {
        // One that is gone has its place until its driver has cleaned up.
        self.sessions.lock().get(sid).filter(|session| !session.is_gone())
    }

    /// Lists a session and starts its driver.
    /// False: two handshakes were given the same id at once, and the other was first.
    fn adopt(&self, session: Arc<Session<A>>, stream: Option<Box<transport::websocket::Stream>>) -> bool {
        if !self.sessions.lock().insert(Arc::clone(&session)) {
            session.close(CloseReason::ForcedClose);
            session.disconnect();
            return false;
        }
        self.counters.opened.add(1);
        self.tasks.spawn(Driver::new(Arc::clone(&session), stream).opened());
        if self.is_closing() {
            // It was admitted before, and nobody else would end it.
            session.close(CloseReason::ServerShuttingDown);
        }
        true
    }

    fn forget(&self, session: &Session<A>) {
        if self.sessions.lock().remove(session) {
            self.counters.closed.add(1);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Bytes of the operating system. Without them ids could be guessed: better no server than that.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}
