//! A running namespace on this server: its sockets and rooms, its handlers, its adapter.
//!
//! Operators ask the adapter, the adapter asks back ([`Local`], in `local.rs`) for what concerns this server. Nothing
//! is written and no user code runs while the index is locked: receivers are resolved first, then queued for.

mod local;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use futures_core::future::BoxFuture;
use patio_adapter::{Adapter, AdapterError, AdapterFactory, BroadcastOptions, Local, Room, SessionRecord};
use patio_proto::{
    Text,
    encode::{Encoded, Parser},
    packet::Packet,
};

use tokio::sync::watch;

use crate::{
    connection::Connection,
    counters::Counters,
    engine::Engine,
    namespace::Namespace,
    rooms::{RoomEvent, Rooms},
    socket::Socket,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// A running namespace.
pub(crate) struct Hub {
    name: Text,
    id_tag: String,
    parser: Parser,
    /// Whether sockets may be restored, so that what is sent to one of them is recorded.
    records: bool,
    /// The server's: for panics of listeners.
    counters: Arc<Counters>,
    declared: ArcSwap<Namespace>,
    rooms: Mutex<Rooms<Socket>>,
    /// Locked inside `rooms`, so that it has the order of the changes.
    news: Mutex<News>,
    adapter: OnceLock<Arc<dyn Adapter>>,
    /// Whether the adapter was told to join the cluster.
    initialised: AtomicBool,
    /// Whether other servers reach it.
    membership: watch::Sender<Membership>,
    /// Ack ids, of single sockets and of broadcasts alike, so that one encoding serves all receivers.
    ack_ids: AtomicU64,
    /// Whether it was made by a dynamic namespace.
    pub(crate) dynamic: bool,
    /// Sockets that are connecting: a child namespace is not removed under them.
    pub(crate) connecting: AtomicUsize,
}

/// Changes of rooms that adapter and listeners have not been told.
#[derive(Default)]
struct News {
    events: Vec<RoomEvent>,
    /// Some thread tells them at this moment, and will tell what is added meanwhile.
    telling: bool,
}

/// Where a namespace stands with the same namespace on other servers.
#[derive(Clone, Copy, Debug)]
enum Membership {
    Awaited,
    Joined,
    /// The adapter could not start.
    Refused,
}

impl Hub {
    pub(crate) fn new(
        engine: &Engine<Connection>,
        name: Text,
        declared: Namespace,
        dynamic: bool,
        factory: &dyn AdapterFactory,
    ) -> Arc<Self> {
        let hub = Arc::new(Self {
            name,
            id_tag: engine.id_tag(),
            parser: engine.config.parser,
            records: engine.config.recovery.is_some(),
            counters: Arc::clone(&engine.counters),
            declared: ArcSwap::from_pointee(declared),
            rooms: Mutex::default(),
            news: Mutex::default(),
            adapter: OnceLock::new(),
            initialised: AtomicBool::new(false),
            membership: watch::Sender::new(Membership::Awaited),
            ack_ids: AtomicU64::new(0),
            dynamic,
            connecting: AtomicUsize::new(0),
        });
        let local: Arc<dyn Local> = Arc::clone(&hub) as Arc<dyn Local>;
        let adapter = factory.create(&hub.name, Arc::downgrade(&local));
        // Set here and nowhere else.
        let _ = hub.adapter.set(adapter);
        hub
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn nsp(&self) -> Text {
        self.name.clone()
    }

    pub(crate) fn records(&self) -> bool {
        self.records
    }

    pub(crate) fn adapter(&self) -> &Arc<dyn Adapter> {
        self.adapter.get().expect("a hub is made with its adapter")
    }

    /// Has the adapter join the cluster, the first time.
    pub(crate) fn init_adapter(&self) -> Option<BoxFuture<'static, Result<(), AdapterError>>> {
        if self.initialised.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (init, membership) = (self.adapter().init(), self.membership.clone());
        Some(Box::pin(async move {
            let joined = init.await;
            membership.send_replace(if joined.is_ok() { Membership::Joined } else { Membership::Refused });
            joined
        }))
    }

    /// Waits until other servers reach this namespace. Error: the adapter could not start.
    pub(crate) async fn joined(&self) -> Result<(), AdapterError> {
        let mut membership = self.membership.subscribe();
        let decided = membership.wait_for(|membership| !matches!(membership, Membership::Awaited)).await;
        match decided.as_deref() {
            Ok(Membership::Joined) => Ok(()),
            _ => Err(AdapterError::closed()),
        }
    }

    pub(crate) fn declared(&self) -> arc_swap::Guard<Arc<Namespace>> {
        self.declared.load()
    }

    /// Adds handlers to those that are declared.
    pub(crate) fn declare(&self, more: Namespace) {
        self.declared.rcu(|declared| {
            let mut both = (**declared).clone();
            both.extend(more.clone());
            both
        });
    }

    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Lists a socket, and joins it to the rooms that it asked for before. False: the id is taken.
    pub(crate) fn insert(&self, socket: &Socket, recovered: bool) -> bool {
        self.change(|rooms, events| {
            let Some(slot) = rooms.insert(socket.id().clone(), socket.clone(), events) else { return false };
            for room in socket.set_connected(slot, recovered) {
                rooms.join(slot, &room, events);
            }
            true
        })
    }

    /// Takes a socket out of everything; the rooms that it was in.
    pub(crate) fn remove(&self, socket: &Socket) -> Vec<Room> {
        self.change(|rooms, events| rooms.remove(socket.slot(), events))
    }

    pub(crate) fn join_socket(&self, socket: &Socket, names: &[Room]) {
        self.change(|rooms, events| {
            if socket.is_connected() {
                for name in names {
                    rooms.join(socket.slot(), name, events);
                }
            }
        });
    }

    pub(crate) fn leave_socket(&self, socket: &Socket, name: &str) {
        self.change(|rooms, events| {
            if socket.is_connected() {
                rooms.leave(socket.slot(), name, events);
            }
        });
    }

    pub(crate) fn rooms_of(&self, socket: &Socket) -> Vec<Room> {
        let rooms = self.rooms.lock();
        // The place of a socket that has ended may be another's by now.
        if socket.is_connected() { rooms.rooms_of(socket.slot()) } else { Vec::new() }
    }

    pub(crate) fn socket(&self, id: &str) -> Option<Socket> {
        self.rooms.lock().get(id).cloned()
    }

    pub(crate) fn sockets(&self) -> Vec<Socket> {
        self.rooms.lock().select(&BroadcastOptions::everyone(), Socket::touch)
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.lock().len()
    }

    pub(crate) fn room_len(&self, room: &str) -> usize {
        self.rooms.lock().room_len(room)
    }

    fn select(&self, options: &BroadcastOptions) -> Vec<Socket> {
        self.rooms.lock().select(options, Socket::touch)
    }

    /// Changes the index, and tells about it when it is unlocked again.
    fn change<R>(&self, change: impl FnOnce(&mut Rooms<Socket>, &mut Vec<RoomEvent>) -> R) -> R {
        let mut rooms = self.rooms.lock();
        let done = change(&mut rooms, &mut self.news.lock().events);
        drop(rooms);
        self.tell_news();
        done
    }

    /// Tells the changes of rooms in their order, one thread at a time: an adapter that hears of a room's end after its
    /// new beginning would unsubscribe from a room that has members.
    fn tell_news(&self) {
        loop {
            let events = {
                let mut news = self.news.lock();
                if news.telling || news.events.is_empty() {
                    return;
                }
                news.telling = true;
                std::mem::take(&mut news.events)
            };
            // Each call on its own: who panics at one event still hears of the next, such as the end of a room.
            if let Some(adapter) = self.adapter.get() {
                for event in &events {
                    self.counters.guard(|| match event {
                        RoomEvent::Create(room) => adapter.room_created(room),
                        RoomEvent::Delete(room) => adapter.room_deleted(room),
                        RoomEvent::Join(..) | RoomEvent::Leave(..) => {}
                    });
                }
            }
            let declared = self.declared.load();
            for listener in &declared.room_listeners {
                for event in &events {
                    self.counters.guard(|| listener(event));
                }
            }
            self.news.lock().telling = false;
        }
    }

    /// A packet of this namespace as its clients' parser wants it.
    pub(crate) fn encode(&self, packet: &Packet, compress: bool) -> Arc<Encoded> {
        let encoded = Encoded::packet_with(self.parser, packet);
        Arc::new(if compress { encoded } else { encoded.uncompressed() })
    }

    /// Has the adapter keep the session of a client that may come back.
    pub(crate) fn persist(&self, record: SessionRecord) {
        self.counters.guard(|| self.adapter().persist(record));
    }

    /// What is kept of a socket that may come back.
    pub(crate) fn record(&self, socket: &Socket, rooms: Vec<Room>) -> Option<SessionRecord> {
        let pid = socket.pid()?;
        Some(SessionRecord { sid: socket.id().clone(), pid, rooms, data: socket.data() })
    }
}
