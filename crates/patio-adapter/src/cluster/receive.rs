//! What other servers say, applied to this server's sockets and answered.

use std::{sync::Arc, time::Duration};

use super::{
    Inner,
    broker::{Broker, Receive},
    keeper::Keeper,
    message::{Incoming, Message, RequestId, Sender},
};
use crate::{
    AnswerSink, Asked, BroadcastOptions, Local, NodeId, Payload, Reply, Room, acks, question::Heard,
};

/// How many questions of other servers may wait for this server's sockets. Beyond, the event is still delivered, but
/// no ack is asked for.
const MAX_FOREIGN: usize = 16_384;

/// The longest that another server may let this one wait for its sockets.
const MAX_FOREIGN_WAIT: Duration = Duration::from_secs(3600);

impl<B: Broker> Receive for Inner<B> {
    fn deliver(self: Arc<Self>, Incoming { sender, offset, message }: Incoming) {
        let own = sender.node.as_ref() == Some(&self.node);
        if self.is_closed() || (own && !self.broker.loops_back(&message)) {
            return;
        }
        if let (Some(members), Some(node), false) = (&self.members, &sender.node, own) {
            members.heard(node);
        }
        let Some(local) = self.local.upgrade() else { return };
        match message {
            Message::InitialHeartbeat => self.say_hello(),
            Message::Heartbeat => {}
            Message::AdapterClose => {
                if let Some(node) = &sender.node {
                    self.left(node);
                }
            }
            Message::Broadcast { payload, options, request: None } => {
                if !options.is_nobody() {
                    local.broadcast(&payload, &options, offset.as_ref());
                }
            }
            Message::Broadcast { payload, options, request: Some(request) } => {
                self.ask_sockets(&*local, sender, request, &payload, &options);
            }
            Message::Join { options, rooms } => local.join(&options, &rooms),
            Message::Leave { options, rooms } => local.leave(&options, &rooms),
            Message::Disconnect { options, close } => local.disconnect(&options, close),
            Message::FetchSockets { request, options } => {
                let sockets = local.fetch_sockets(&options);
                self.respond(&sender, &Message::Sockets { request, sockets });
            }
            Message::CountSockets { request, options } => {
                let count = local.count(&options);
                self.respond(&sender, &Message::Count { request, count });
            }
            Message::AllRooms { request } => {
                let rooms = local.rooms();
                self.respond(&sender, &Message::Rooms { request, rooms });
            }
            Message::ServerSideEmit { payload, request } => {
                let reply = request.map(|request| self.reply(sender, request));
                local.server_side_emit(payload, reply);
            }
            Message::Sockets { request, sockets } => self.hear(&request, sender, Heard::Sockets(sockets)),
            Message::Count { request, count } => self.hear(&request, sender, Heard::Count(count)),
            Message::Rooms { request, rooms } => self.hear(&request, sender, Heard::Rooms(rooms)),
            Message::ServerSideAnswer { request, value } => self.hear(&request, sender, Heard::Value(value)),
            Message::ClientCount { request, count } => self.hear(&request, sender, Heard::Asked(count)),
            Message::Ack { request, value } => self.hear(&request, sender, Heard::Ack(None, value)),
        }
    }

    fn left(&self, node: &NodeId) {
        if let Some(members) = &self.members {
            members.left(node);
        }
        self.requests.server_left(node);
    }

    fn waits_for(&self, request: &RequestId) -> bool {
        self.requests.is_open(request) || self.attendance.is_awaited_no_more(request)
    }

    fn has_room(&self, room: &str) -> bool {
        !self.is_closed() && self.local.upgrade().is_some_and(|local| local.has_room(room))
    }

    fn rooms(&self) -> Vec<Room> {
        self.local.upgrade().map(|local| local.rooms()).unwrap_or_default()
    }

    fn id_tag(&self) -> String {
        self.local.upgrade().map(|local| local.id_tag().to_owned()).unwrap_or_default()
    }

    fn rooms_of(&self, socket: &str) -> Option<Vec<Room>> {
        // Others may have joined the room that is called as it is.
        let members = self.local.upgrade()?.fetch_sockets(&BroadcastOptions::to(socket));
        members.into_iter().find(|member| member.id.as_str() == socket).map(|member| member.rooms)
    }
}

impl<B: Broker> Inner<B> {
    fn say_hello(&self) {
        if self.members.is_some() {
            // A failure is counted; the next heartbeat is soon.
            let _ = self.publish(&Message::Heartbeat);
        }
    }

    fn respond(&self, to: &Sender, message: &Message) {
        if self.broker.respond(to, message).is_err() {
            self.counters.failed_publishes.add();
        }
    }

    fn hear(&self, request: &RequestId, sender: Sender, heard: Heard) {
        if !self.requests.hear(request, sender.node.clone(), heard) {
            tracing::debug!(?request, node = ?sender.node, "an answer that nobody waits for");
            self.counters.stray_answers.add();
            self.attendance.came_late(request);
        }
    }

    /// The way back of a `serverSideEmit`. It does not keep the adapter alive.
    fn reply(self: &Arc<Self>, sender: Sender, request: RequestId) -> Reply {
        let inner = Arc::downgrade(self);
        Reply::new(move |value| {
            if let Some(inner) = inner.upgrade() {
                inner.respond(&sender, &Message::ServerSideAnswer { request, value });
            }
        })
    }

    /// Asks this server's sockets for another server: reports their number, then sends each ack as it comes.
    fn ask_sockets(
        self: &Arc<Self>,
        local: &dyn Local,
        sender: Sender,
        request: RequestId,
        payload: &Payload,
        options: &BroadcastOptions,
    ) {
        let deadline = acks::deadline(options.timeout_or_default().min(MAX_FOREIGN_WAIT));
        let begun = self.foreign.begin(sender.clone(), request.clone(), deadline, MAX_FOREIGN);
        let Some(key) = begun else {
            self.counters.refused_questions.add();
            local.broadcast(payload, options, None);
            self.respond(&sender, &Message::ClientCount { request, count: 0 });
            return;
        };
        let inner = Arc::downgrade(self);
        let sink = AnswerSink::new(move |sid, value| {
            if let Some(inner) = inner.upgrade()
                && let Some((sender, request, value)) = inner.foreign.answer(key, sid, value)
            {
                inner.respond(&sender, &Message::Ack { request, value });
            }
        });
        let asked = match options.is_nobody() {
            true => Asked::nobody(),
            false => local.broadcast_with_ack(payload, options, sink),
        };
        self.respond(&sender, &Message::ClientCount { request, count: asked.sids().len() });
        for (sender, request, value) in self.foreign.asked(key, asked) {
            self.respond(&sender, &Message::Ack { request, value });
        }
        Keeper::wake(self);
    }
}
