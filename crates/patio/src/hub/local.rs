//! What adapters ask of a namespace on this server, for its own operators and for other servers.

use patio_adapter::{
    AnswerSink, Asked, BroadcastOptions, LazyJson, Local, Offset, Reply, Room, SocketSnapshot,
};
use patio_proto::{
    packet::{Kind, Packet},
    payload::Payload,
};

use super::Hub;
use crate::{
    engine::{Handshake, flush::Turn},
    rooms::TOUCHED,
    socket::{Socket, Waiting},
};

impl Local for Hub {
    fn name(&self) -> &str {
        &self.name
    }

    fn id_tag(&self) -> &str {
        &self.id_tag
    }

    fn broadcast(&self, payload: &Payload, options: &BroadcastOptions, offset: Option<&Offset>) {
        let receivers = self.select(options);
        if receivers.is_empty() {
            return;
        }
        let payload = match offset {
            Some(offset) => payload.with_appended_str(offset.as_str()),
            None => payload.clone(),
        };
        let packet = Packet::event(self.name.clone(), payload);
        let encoded = self.encode(&packet, options.flags.compress != Some(false));
        let turn = Turn::of_caller();
        for some in receivers.chunks(TOUCHED) {
            some.iter().for_each(|socket| socket.session().touch());
            for socket in some {
                socket.deliver(&encoded, &packet, options.flags.volatile, offset);
            }
        }
        drop(turn);
    }

    fn broadcast_with_ack(
        &self,
        payload: &Payload,
        options: &BroadcastOptions,
        answers: AnswerSink,
    ) -> Asked {
        let id = self.next_ack_id();
        let packet = Packet::new(self.name.clone(), Kind::Event { id: Some(id), payload: payload.clone() });
        let encoded = self.encode(&packet, options.flags.compress != Some(false));
        let mut receivers = self.select(options);
        receivers.retain(|socket| socket.expect_ack(id, Waiting::Many(answers.clone())));
        let turn = Turn::of_caller();
        for socket in &receivers {
            socket.deliver(&encoded, &packet, options.flags.volatile, None);
        }
        drop(turn);
        let asked = receivers.iter().map(|socket| socket.id().clone()).collect();
        Asked::new(asked, move || {
            for socket in receivers {
                if socket.forget_ack(id) {
                    socket.session().engine().counters.ack_timeouts.add(1);
                }
            }
        })
    }

    fn count(&self, options: &BroadcastOptions) -> usize {
        let mut count = 0;
        self.rooms.lock().each(options, |_| count += 1);
        count
    }

    fn socket_ids(&self, options: &BroadcastOptions) -> Vec<Room> {
        self.select(options).iter().map(|socket| socket.id().clone()).collect()
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketSnapshot> {
        let sockets = self.select(options);
        sockets
            .into_iter()
            .map(|socket| SocketSnapshot {
                id: socket.id().clone(),
                rooms: socket.rooms(),
                data: socket.data(),
                handshake: LazyJson::new(move || handshake_json(socket.handshake(), socket.auth_payload())),
            })
            .collect()
    }

    fn join(&self, options: &BroadcastOptions, names: &[Room]) {
        self.change(|rooms, events| {
            for socket in rooms.select(options, Socket::touch) {
                names.iter().for_each(|name| rooms.join(socket.slot(), name, events));
            }
        });
    }

    fn leave(&self, options: &BroadcastOptions, names: &[Room]) {
        self.change(|rooms, events| {
            for socket in rooms.select(options, Socket::touch) {
                names.iter().for_each(|name| rooms.leave(socket.slot(), name, events));
            }
        });
    }

    fn disconnect(&self, options: &BroadcastOptions, close: bool) {
        for socket in self.select(options) {
            socket.disconnect(close);
        }
    }

    fn rooms(&self) -> Vec<Room> {
        self.rooms.lock().names()
    }

    fn has_room(&self, room: &str) -> bool {
        self.rooms.lock().room_len(room) > 0
    }

    fn server_side_emit(&self, payload: Payload, reply: Option<Reply>) {
        let declared = self.declared.load();
        let name = payload.event_name().unwrap_or_default();
        let mut reply = reply;
        for listener in declared.server_listeners.get(&*name).into_iter().flatten() {
            // The first listener may answer.
            self.counters.guard(|| listener(&payload, reply.take()));
        }
    }
}

/// The handshake as other servers see it: the keys of Node's `socket.handshake`, in its order.
fn handshake_json(handshake: &Handshake, auth: Option<Payload>) -> String {
    use serde::ser::SerializeMap;

    struct Pairs<I>(I);

    impl<'a, I: Iterator<Item = (&'a str, std::borrow::Cow<'a, str>)> + Clone> serde::Serialize for Pairs<I> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.clone())
        }
    }

    struct AsNode<'a>(&'a Handshake, Option<Payload>);

    impl serde::Serialize for AsNode<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let Self(handshake, auth) = self;
            let headers =
                handshake.headers().iter().map(|(name, value)| (name, String::from_utf8_lossy(value)));
            let query = handshake.query();
            let query = query.iter().map(|(name, value)| (name, value.into()));
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("headers", &Pairs(headers))?;
            map.serialize_entry("time", &httpdate::fmt_http_date(handshake.time()))?;
            map.serialize_entry("address", &handshake.address().map(|address| address.ip().to_string()))?;
            map.serialize_entry("xdomain", &handshake.xdomain())?;
            map.serialize_entry("secure", &handshake.secure())?;
            map.serialize_entry("issued", &handshake.issued())?;
            map.serialize_entry("url", handshake.url())?;
            map.serialize_entry("query", &Pairs(query))?;
            let auth = auth.as_ref().and_then(|auth| auth.to_value().ok());
            map.serialize_entry("auth", &auth.unwrap_or_else(|| serde_json::json!({}).into()))?;
            map.end()
        }
    }

    serde_json::to_string(&AsNode(handshake, auth)).unwrap_or_else(|_| "{}".into())
}
