//! How servers form a cluster, written once for every broker.
//!
//! [`Cluster`] is the [`Adapter`] of a namespace. An operation of this server is applied to its own sockets and
//! published as a [`Message`]; what other servers publish arrives in the [`Inbox`], is applied to this server's sockets,
//! and is answered if it is a question. A [`Broker`] carries the messages; [`InProcess`] does between the servers of one
//! process.

mod attendance;
pub mod broker;
mod heartbeat;
mod in_process;
mod keeper;
pub mod message;
mod receive;
mod requests;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use compact_str::CompactString;
use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::{
    AckEvent, Adapter, AdapterError, AllRooms, BroadcastOptions, Counted, Fetched, Local, NodeId, Offset,
    Payload, Replayed, Restored, Room, ServerAnswer, SessionRecord, acks,
    counters::{Counters, Stats},
    question::{Answer, Answers, Counting, Heard, Question},
};
pub(crate) use attendance::Attendance;
pub use broker::Broker;
use broker::{Inbox, Membership, Others, Query};
use heartbeat::Members;
pub use in_process::{InProcess, InProcessMembership, InProcessNode};
use keeper::Keeper;
pub use message::Message;
use message::RequestId;
use requests::{Foreign, Registration, Requests};

/// The adapter of one namespace on one of several servers.
pub struct Cluster<B: Broker> {
    inner: Arc<Inner<B>>,
}

struct Inner<B> {
    broker: B,
    node: NodeId,
    /// The namespace owns its adapter, so the way back is weak.
    local: Weak<dyn Local>,
    counters: Arc<Counters>,
    requests: Arc<Requests>,
    foreign: Foreign,
    attendance: Arc<Attendance>,
    /// The other servers, if they are known by their heartbeats.
    members: Option<Members>,
    keeper: Keeper,
    closed: AtomicBool,
}

impl<B: Broker> Cluster<B> {
    /// The adapter of the namespace `local`, over `broker`. It joins the cluster with [`Adapter::init`].
    pub fn new(local: Weak<dyn Local>, broker: B) -> Self {
        let members = match broker.membership() {
            Membership::Broker => None,
            Membership::Heartbeat(rhythm) => Some(Members::new(rhythm)),
        };
        let inner = Inner {
            node: broker.node().clone(),
            broker,
            local,
            counters: Arc::default(),
            requests: Arc::default(),
            foreign: Foreign::default(),
            attendance: Arc::default(),
            members,
            keeper: Keeper::default(),
            closed: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// This server's id in this namespace.
    pub fn node(&self) -> &NodeId {
        &self.inner.node
    }

    /// How many questions wait for answers: this server's own, and other servers' to its sockets. Both fall to 0 by
    /// themselves; tests look at them for leaks.
    pub fn open_questions(&self) -> (usize, usize) {
        (self.inner.requests.len(), self.inner.foreign.len())
    }
}

impl<B: Broker> Adapter for Cluster<B> {
    fn init(&self) -> BoxFuture<'static, Result<(), AdapterError>> {
        let inner = self.inner.clone();
        let inbox = Inbox::new(Arc::downgrade(&inner) as Weak<dyn broker::Receive>, inner.counters.clone());
        let opened = inner.broker.open(inbox);
        async move {
            opened.await?;
            if inner.members.is_some() {
                inner.publish(&Message::InitialHeartbeat)?;
                Keeper::wake(&inner);
            }
            Ok(())
        }
        .boxed()
    }

    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions) -> Result<(), AdapterError> {
        let command =
            || Message::Broadcast { payload: payload.clone(), options: options.clone(), request: None };
        self.inner.command(options, command, |local| local.broadcast(payload, options, None))
    }

    fn broadcast_confirmed(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxFuture<'static, Result<(), AdapterError>> {
        let inner = &self.inner;
        if options.is_nobody() {
            return std::future::ready(Ok(())).boxed();
        }
        if inner.is_alone(options) {
            inner.apply(|local| local.broadcast(payload, options, None));
            return std::future::ready(Ok(())).boxed();
        }
        let message =
            Message::Broadcast { payload: payload.clone(), options: options.clone(), request: None };
        if !inner.broker.loops_back(&message) {
            inner.apply(|local| local.broadcast(payload, options, None));
        }
        inner.published();
        let confirmed = inner.broker.publish_confirmed(&message);
        let inner = inner.clone();
        async move {
            let result = confirmed.await;
            result.inspect_err(|_| inner.counters.failed_publishes.add())
        }
        .boxed()
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
    ) -> BoxStream<'static, AckEvent> {
        let inner = &self.inner;
        let node = inner.node.clone();
        if options.is_nobody() {
            return acks::local_only(None, node, payload, options, inner.counters.clone());
        }
        if inner.is_alone(options) {
            return acks::local_only(inner.local.upgrade(), node, payload, options, inner.counters.clone());
        }
        let (id, question, registration) = inner.open_question(Question::new());
        let asked =
            inner.local.upgrade().map(|local| local.broadcast_with_ack(payload, options, question.sink()));
        question.expect_sockets(Some(node), asked.as_ref().map_or(&[], |asked| asked.sids()));
        let mut sent = options.clone();
        sent.flags.timeout = Some(options.timeout_or_default());
        let message = Message::Broadcast { payload: payload.clone(), options: sent, request: Some(id) };
        let counting = inner.ask(&question, &message);
        let deadline = acks::deadline(options.timeout_or_default());
        let answers = Answers::new(question, deadline, asked, Box::new(registration)).counting(counting);
        acks::events(answers, inner.counters.clone())
    }

    fn join(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        let command = || Message::Join { options: options.clone(), rooms: rooms.to_vec() };
        self.inner.command(options, command, |local| local.join(options, rooms))
    }

    fn leave(&self, options: &BroadcastOptions, rooms: &[Room]) -> Result<(), AdapterError> {
        let command = || Message::Leave { options: options.clone(), rooms: rooms.to_vec() };
        self.inner.command(options, command, |local| local.leave(options, rooms))
    }

    fn disconnect(&self, options: &BroadcastOptions, close: bool) -> Result<(), AdapterError> {
        let command = || Message::Disconnect { options: options.clone(), close };
        self.inner.command(options, command, |local| local.disconnect(options, close))
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Fetched, AdapterError>> {
        let inner = self.inner.clone();
        let options = options.clone();
        async move {
            let mut sockets = inner.own(&options, |local| local.fetch_sockets(&options));
            let query = |request| Message::FetchSockets { request, options: options.clone() };
            let missing = inner
                .gather(&options, query, |heard| {
                    if let Heard::Sockets(theirs) = heard {
                        sockets.extend(theirs);
                    }
                })
                .await?;
            Ok(Fetched { sockets, missing })
        }
        .boxed()
    }

    fn count(&self, options: &BroadcastOptions) -> BoxFuture<'static, Result<Counted, AdapterError>> {
        let inner = self.inner.clone();
        let options = options.clone();
        async move {
            let mut sockets = inner.own(&options, |local| local.count(&options));
            let understood = !inner.is_alone(&options) && inner.broker.supports(Query::Count).await;
            let query = |request| match understood {
                true => Message::CountSockets { request, options: options.clone() },
                false => Message::FetchSockets { request, options: options.clone() },
            };
            let missing = inner
                .gather(&options, query, |heard| match heard {
                    Heard::Count(theirs) => sockets += theirs,
                    Heard::Sockets(theirs) => sockets += theirs.len(),
                    _ => {}
                })
                .await?;
            Ok(Counted { sockets, missing })
        }
        .boxed()
    }

    fn all_rooms(&self) -> BoxFuture<'static, Result<AllRooms, AdapterError>> {
        let inner = self.inner.clone();
        async move {
            if !inner.broker.supports(Query::AllRooms).await {
                return Err(AdapterError::unsupported("a list of all rooms"));
            }
            let mut rooms = inner.own(&BroadcastOptions::everyone(), |local| local.rooms());
            let query = |request| Message::AllRooms { request };
            let missing = inner
                .gather(&BroadcastOptions::everyone(), query, |heard| {
                    if let Heard::Rooms(theirs) = heard {
                        rooms.extend(theirs);
                    }
                })
                .await?;
            rooms.sort_unstable();
            rooms.dedup();
            Ok(AllRooms { rooms, missing })
        }
        .boxed()
    }

    fn server_side_emit(&self, payload: &Payload) -> Result<(), AdapterError> {
        if self.inner.is_closed() {
            return Ok(());
        }
        self.inner.publish(&Message::ServerSideEmit { payload: payload.clone(), request: None })
    }

    fn server_side_emit_with_ack(
        &self,
        payload: &Payload,
        timeout: Duration,
    ) -> BoxStream<'static, ServerAnswer> {
        let inner = &self.inner;
        if inner.is_closed() {
            return Box::pin(futures_util::stream::empty());
        }
        let (id, question, registration) = inner.open_question(Question::new());
        question.no_sockets();
        let message = Message::ServerSideEmit { payload: payload.clone(), request: Some(id) };
        let counting = inner.ask(&question, &message);
        let answers =
            Answers::new(question, acks::deadline(timeout), None, Box::new(registration)).counting(counting);
        acks::server_answers(answers, inner.counters.clone())
    }

    fn server_count(&self) -> BoxFuture<'static, Result<usize, AdapterError>> {
        self.inner.others().map(|others| others.map(|others| 1 + others.len())).boxed()
    }

    fn room_created(&self, room: &Room) {
        self.inner.broker.room_created(room);
    }

    fn room_deleted(&self, room: &Room) {
        self.inner.broker.room_deleted(room);
    }

    fn subscribes_to_rooms(&self) -> bool {
        self.inner.broker.subscribes_to_rooms()
    }

    fn joined(&self, rooms: &[Room]) -> BoxFuture<'static, ()> {
        self.inner.broker.joined(rooms)
    }

    fn recovery(&self) -> bool {
        self.inner.broker.recovery().is_some()
    }

    fn persist(&self, session: SessionRecord) {
        if let Some(recovery) = self.inner.broker.recovery() {
            recovery.persist(session);
        }
    }

    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>> {
        let Some(recovery) = self.inner.broker.recovery() else { return std::future::ready(None).boxed() };
        let restored = recovery.restore(pid, offset);
        let counters = self.inner.counters.clone();
        async move {
            let restored = restored.await;
            if restored.is_none() {
                counters.failed_restores.add();
            }
            restored
        }
        .boxed()
    }

    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>> {
        match self.inner.broker.recovery() {
            Some(recovery) => recovery.replay(cursor, rooms),
            None => std::future::ready(None).boxed(),
        }
    }

    fn stats(&self) -> Stats {
        self.inner.counters.stats()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let inner = self.inner.clone();
        if inner.closed.swap(true, SeqCst) {
            return std::future::ready(()).boxed();
        }
        if inner.members.is_some() {
            let _ = inner.publish(&Message::AdapterClose);
        }
        inner.foreign.clear();
        inner.keeper.let_go();
        let closed = inner.broker.close();
        async move {
            closed.await;
            inner.keeper.stop().await;
        }
        .boxed()
    }
}

impl<B: Broker> Inner<B> {
    fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// True when other servers have no part in an operation.
    fn is_alone(&self, options: &BroadcastOptions) -> bool {
        options.flags.local || self.is_closed()
    }

    fn apply(&self, operation: impl FnOnce(&dyn Local)) {
        if let Some(local) = self.local.upgrade() {
            operation(&*local);
        }
    }

    /// This server's part of an answer.
    fn own<T: Default>(&self, options: &BroadcastOptions, query: impl FnOnce(&dyn Local) -> T) -> T {
        match self.local.upgrade() {
            Some(local) if !options.is_nobody() => query(&*local),
            _ => T::default(),
        }
    }

    /// Applies a command here and publishes it, or leaves both to the broker when it loops the command back.
    fn command(
        &self,
        options: &BroadcastOptions,
        message: impl FnOnce() -> Message,
        operation: impl FnOnce(&dyn Local),
    ) -> Result<(), AdapterError> {
        if options.is_nobody() {
            return Ok(());
        }
        if self.is_alone(options) {
            self.apply(operation);
            return Ok(());
        }
        let message = message();
        if !self.broker.loops_back(&message) {
            self.apply(operation);
            return self.publish(&message);
        }
        // It will not come back: better here without an offset than not at all.
        self.publish(&message).inspect_err(|_| self.apply(operation))
    }

    fn publish(&self, message: &Message) -> Result<(), AdapterError> {
        self.published();
        self.broker.publish(message).inspect_err(|_| self.counters.failed_publishes.add())
    }

    /// Whatever is published is as good as a heartbeat.
    fn published(&self) {
        if let Some(members) = &self.members {
            members.published();
        }
    }

    /// The other servers, as they are now.
    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>> {
        match &self.members {
            _ if self.is_closed() => std::future::ready(Ok(Others::Count(0))).boxed(),
            Some(members) => std::future::ready(Ok(Others::Nodes(members.nodes()))).boxed(),
            None => self.broker.others(),
        }
    }

    fn open_question(&self, question: Arc<Question>) -> (RequestId, Arc<Question>, Registration) {
        let id = self.broker.request_id();
        let (question, registration) = self.requests.open(id.clone(), question);
        (id, question, registration)
    }

    /// Publishes a question at once, so that it keeps its place among other messages. Returns how the servers that
    /// must answer are counted, if that takes time.
    fn ask(&self, question: &Question, message: &Message) -> Option<Counting> {
        let mut counting = Some(self.others());
        if let Some(counted) = counting.as_mut().and_then(FutureExt::now_or_never) {
            question.counted(counted);
            counting = None;
        }
        if self.publish(message).is_err() {
            question.cannot_send();
            counting = None;
        }
        counting
    }

    /// Asks the other servers and hands each answer to `take`. Returns how many did not answer in time.
    async fn gather(
        &self,
        options: &BroadcastOptions,
        query: impl FnOnce(RequestId) -> Message,
        mut take: impl FnMut(Heard),
    ) -> Result<usize, AdapterError> {
        if options.is_nobody() || self.is_alone(options) {
            return Ok(0);
        }
        let deadline =
            acks::deadline(options.flags.timeout.unwrap_or_else(|| self.broker.requests_timeout()));
        // Every server answers such a question: one that did not is not waited for again.
        let (id, question, registration) = self.open_question(Question::attended(self.attendance.clone()));
        question.no_sockets();
        let others = timeout_at(deadline, self.others()).await.map_err(|_| AdapterError::timeout())??;
        if others.is_empty() {
            return Ok(0);
        }
        question.expect_servers(others);
        self.publish(&query(id.clone()))?;
        let mut answers = Answers::new(question, deadline, None, Box::new(registration));
        while let Some(answer) = answers.next().await {
            match answer {
                Answer::Heard(_, heard) => take(heard),
                Answer::End(missing) => {
                    if missing.servers > 0 {
                        self.counters.incomplete_requests.add();
                        self.attendance.ended(id);
                    }
                    return Ok(missing.servers);
                }
            }
        }
        Ok(0)
    }

    /// Does what time makes due; returns when to look again.
    fn tick(&self, now: Instant) -> Option<Instant> {
        let questions = self.foreign.expire(now);
        let Some(members) = &self.members else { return questions };
        let due = members.due(now);
        for node in &due.lost {
            tracing::debug!(%node, "a server has fallen silent");
            self.counters.lost_servers.add();
            self.requests.server_left(node);
        }
        if due.heartbeat {
            // A failure is counted; the next one is soon.
            let _ = self.publish(&Message::Heartbeat);
        }
        Some(questions.map_or(due.next, |questions| questions.min(due.next)))
    }
}

impl<B> Drop for Inner<B> {
    fn drop(&mut self) {
        self.keeper.let_go();
    }
}

/// 16 random lower-case hex characters: Node's ids of servers and requests.
pub(crate) fn random_id() -> CompactString {
    compact_str::format_compact!("{:016x}", fastrand::u64(..))
}
