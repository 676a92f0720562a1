//! The namespace that the contract suite puts behind an adapter: sockets that remember what happens to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    Adapter, AnswerSink, Asked, BroadcastOptions, Flags, LazyJson, Local, Offset, Payload, Reply, Room,
    SocketSnapshot,
};

/// A small in-memory namespace. It forwards the coming and going of rooms to its adapter, as a real one does.
pub struct TestNamespace {
    name: String,
    id_tag: String,
    state: Mutex<State>,
    adapter: OnceLock<Weak<dyn Adapter>>,
    /// Questions to sockets that have not been forgotten.
    open_questions: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    sockets: BTreeMap<Room, TestSocket>,
    fences: BTreeSet<u64>,
    server_events: Vec<Payload>,
    /// What servers that ask are told; `None`: nothing.
    server_answer: Option<Payload>,
}

/// One socket.
#[derive(Clone, Debug)]
pub struct TestSocket {
    /// Its rooms, its own one among them.
    pub rooms: BTreeSet<Room>,
    /// What happened to it.
    pub log: Vec<Happened>,
    /// How it answers events that ask for an ack.
    pub answers: Answers,
}

/// Something that happened to a socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// It got an event.
    Event {
        /// Name and arguments.
        payload: Payload,
        /// The flags it was sent with.
        flags: Flags,
        /// Its offset in the history.
        offset: Option<Offset>,
    },
    /// It got an event and was asked for an ack.
    Asked(Payload),
    /// It was disconnected; with `true`, its connection too.
    Disconnected(bool),
}

/// How a socket answers.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Before the question returns.
    AtOnce(Payload),
    /// Some time later.
    After(Duration, Payload),
    /// Never.
    Never,
    /// It goes away instead.
    Leaves,
}

/// The event that fences use; sockets do not log it.
const FENCE: &str = "fence";

impl TestNamespace {
    /// A namespace without sockets.
    pub fn new(name: &str) -> Arc<Self> {
        Self::with_id_tag(name, "")
    }

    /// One whose sockets' ids begin with `id_tag` and have 20 characters.
    pub fn with_id_tag(name: &str, id_tag: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            id_tag: id_tag.to_owned(),
            state: Mutex::default(),
            adapter: OnceLock::new(),
            open_questions: Arc::default(),
        })
    }

    /// Sets the adapter that is told about rooms. Once.
    pub fn set_adapter(&self, adapter: &Arc<dyn Adapter>) {
        let _ = self.adapter.set(Arc::downgrade(adapter));
    }

    /// Adds a socket that is in `rooms` and answers acks at once with its id.
    pub fn connect(&self, id: &Room, rooms: &[&str]) {
        let answers = Answers::AtOnce(args(id.as_str()));
        let mut rooms: BTreeSet<_> = rooms.iter().map(|room| Room::from(*room)).collect();
        rooms.insert(id.clone());
        let socket = TestSocket { rooms, log: Vec::new(), answers };
        self.update(|state| _ = state.sockets.insert(id.clone(), socket));
    }

    /// Changes how a socket answers. Without the socket nothing happens.
    pub fn answer_with(&self, id: &Room, answers: Answers) {
        if let Some(socket) = self.state.lock().sockets.get_mut(id) {
            socket.answers = answers;
        }
    }

    /// Changes how this server answers other servers.
    pub fn answer_servers(&self, answer: Option<Payload>) {
        self.state.lock().server_answer = answer;
    }

    /// A socket as it is now.
    pub fn socket(&self, id: &Room) -> Option<TestSocket> {
        self.state.lock().sockets.get(id).cloned()
    }

    /// All sockets as they are now.
    pub fn sockets(&self) -> Vec<(Room, TestSocket)> {
        self.state.lock().sockets.iter().map(|(id, socket)| (id.clone(), socket.clone())).collect()
    }

    /// The events that other servers sent to this one.
    pub fn server_events(&self) -> Vec<Payload> {
        self.state.lock().server_events.clone()
    }

    /// How many questions to sockets have not been forgotten.
    pub fn open_questions(&self) -> usize {
        self.open_questions.load(SeqCst)
    }

    /// Whether the fence `n` has arrived.
    pub(super) fn has_fence(&self, n: u64) -> bool {
        self.state.lock().fences.contains(&n)
    }

    /// Changes the rooms of sockets; the adapter hears of it outside the lock.
    fn update(&self, change: impl FnOnce(&mut State)) {
        let (before, after) = {
            let mut state = self.state.lock();
            let before = state.rooms();
            change(&mut state);
            (before, state.rooms())
        };
        let Some(adapter) = self.adapter.get().and_then(Weak::upgrade) else { return };
        after.difference(&before).for_each(|room| adapter.room_created(room));
        before.difference(&after).for_each(|room| adapter.room_deleted(room));
    }
}

impl State {
    fn chosen(&mut self, options: &BroadcastOptions) -> impl Iterator<Item = (&Room, &mut TestSocket)> {
        let is_meant = |socket: &TestSocket| options.includes(|room| socket.rooms.contains(room));
        self.sockets.iter_mut().filter(move |(id, socket)| socket.rooms.contains(*id) && is_meant(socket))
    }

    fn rooms(&self) -> BTreeSet<Room> {
        self.sockets.values().flat_map(|socket| socket.rooms.iter().cloned()).collect()
    }
}

impl Local for TestNamespace {
    fn name(&self) -> &str {
        &self.name
    }

    fn id_tag(&self) -> &str {
        &self.id_tag
    }

    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions, offset: Option<&Offset>) {
        let mut state = self.state.lock();
        if is_fence(payload) {
            if let Ok(n) = payload.read_args::<u64>(1) {
                state.fences.insert(n);
            }
            return;
        }
        for (_, socket) in state.chosen(options) {
            socket.log.push(Happened::Event {
                payload: payload.clone(),
                flags: options.flags,
                offset: offset.cloned(),
            });
        }
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
        answers: AnswerSink,
    ) -> Asked {
        let mut asked = Vec::new();
        for (id, socket) in self.state.lock().chosen(options) {
            socket.log.push(Happened::Asked(payload.clone()));
            asked.push((id.clone(), socket.answers.clone()));
        }
        let sids = asked.iter().map(|(id, _)| id.clone()).collect();
        for (id, how) in asked {
            match how {
                Answers::AtOnce(value) => answers.answer(id, value),
                Answers::Leaves => answers.gone(id),
                Answers::Never => {}
                Answers::After(delay, value) => {
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        answers.answer(id, value);
                    });
                }
            }
        }
        self.open_questions.fetch_add(1, SeqCst);
        let open = self.open_questions.clone();
        Asked::new(sids, move || _ = open.fetch_sub(1, SeqCst))
    }

    fn count(&self, options: &BroadcastOptions) -> usize {
        self.state.lock().chosen(options).count()
    }

    fn socket_ids(&self, options: &BroadcastOptions) -> Vec<Room> {
        self.state.lock().chosen(options).map(|(id, _)| id.clone()).collect()
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketSnapshot> {
        let mut state = self.state.lock();
        let snapshot = |(id, socket): (&Room, &mut TestSocket)| SocketSnapshot {
            id: id.clone(),
            handshake: handshake(id),
            rooms: socket.rooms.iter().cloned().collect(),
            data: data(id),
        };
        state.chosen(options).map(snapshot).collect()
    }

    fn join(&self, options: &BroadcastOptions, rooms: &[Room]) {
        self.update(|state| {
            state.chosen(options).for_each(|(_, socket)| socket.rooms.extend(rooms.to_vec()))
        });
    }

    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) {
        let stays = |room: &Room| !rooms.contains(room);
        self.update(|state| state.chosen(options).for_each(|(_, socket)| socket.rooms.retain(stays)));
    }

    fn disconnect(&self, options: &BroadcastOptions, close: bool) {
        self.update(|state| {
            for (_, socket) in state.chosen(options) {
                socket.log.push(Happened::Disconnected(close));
                socket.rooms.clear();
            }
        });
    }

    fn rooms(&self) -> Vec<Room> {
        self.state.lock().rooms().into_iter().collect()
    }

    fn has_room(&self, room: &str) -> bool {
        self.state.lock().sockets.values().any(|socket| socket.rooms.contains(room))
    }

    fn server_side_emit(&self, payload: Payload, reply: Option<Reply>) {
        let answer = {
            let mut state = self.state.lock();
            state.server_events.push(payload);
            state.server_answer.clone()
        };
        if let (Some(reply), Some(answer)) = (reply, answer) {
            reply.send(answer);
        }
    }
}

/// The arguments of an ack with the one text `value`.
pub(super) fn args(value: &str) -> Payload {
    Payload::args(value).expect("text can always be written")
}

/// The event of fence `n`.
pub(super) fn fence(n: u64) -> Payload {
    Payload::event(FENCE, &n).expect("a number can always be written")
}

/// Whether `event` is a fence.
pub(super) fn is_fence(event: &Payload) -> bool {
    event.event_name().as_deref() == Some(FENCE)
}

/// The data that the socket `id` has.
pub(super) fn data(id: &Room) -> serde_json::Value {
    serde_json::json!({ "user": id.as_str(), "n": 1 })
}

/// The handshake that the socket `id` has, with the keys of Node in their order.
fn handshake(id: &Room) -> LazyJson {
    let id = id.clone();
    LazyJson::new(move || {
        format!(
            r#"{{"headers":{{"user-agent":"test"}},"time":"Sun Nov 22 2026 09:44:05 GMT+0000 (Coordinated Universal Time)","address":"127.0.0.1","xdomain":false,"secure":false,"issued":1795340645303,"url":"/socket.io/?EIO=4&transport=websocket","query":{{"EIO":"4","transport":"websocket"}},"auth":{{"id":"{id}"}}}}"#
        )
    })
}
