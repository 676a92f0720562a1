//! One namespace of one server on streams: which message becomes an entry and which goes by pub/sub, and what arrives.

use std::{
    collections::BTreeSet,
    future::ready,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use parking_lot::Mutex;
use patio_adapter::{
    AdapterError, NodeId, Offset, Replayed, Restored, Room, SessionRecord,
    cluster::{
        broker::{Broker, Inbox, Membership, Others, Query, Recovery},
        message::{Incoming, Message, Sender},
    },
};
use patio_proto::msgpack;

use super::{
    NUMBER, Settings, StreamsVersion,
    history::{History, offset_of, write_session},
    names::stream_of,
    tail::Tail,
};
use crate::{
    client::{Entry, Post, Publisher, Subscription},
    link::{Link, Route},
    queue::{Outcome, Publication},
    wire::{
        Garbage,
        cluster::{self, Encoder},
    },
};

/// The media by which messages come, and their answers go.
mod via {
    pub(super) const PUB_SUB: u8 = 0;
    pub(super) const STREAM: u8 = 1;
}

/// More entries than can be under way at once: what is further back will never come.
const UNDER_WAY: u64 = 100_000;

pub(super) struct StreamsBroker {
    link: Arc<Link>,
    tail: Arc<Tail>,
    settings: Arc<Settings>,
    node: NodeId,
    namespace: String,
    /// Present if the server restores sessions.
    history: Option<History>,
    /// From [`Broker::open`] on.
    place: OnceLock<Arc<Place>>,
}

/// A namespace that takes part.
pub(super) struct Place {
    link: Arc<Link>,
    settings: Arc<Settings>,
    encoder: Encoder,
    inbox: Inbox,
    /// The stream that its events are written to.
    pub(super) stream: Bytes,
    /// `socket.io#/nsp#`: questions to all servers.
    common: Bytes,
    /// `socket.io#/nsp#uid#`: answers to this server.
    own: Bytes,
    /// `socket.io-patio#/nsp#`: where servers like this one ask each other what Node's protocol has not.
    patio: Bytes,
    /// Whether events have their place in the stream, and own ones come back from there.
    records: bool,
    last_number: AtomicU64,
    /// The numbers of own entries that are under way. Whoever takes one out delivers its event: it is read from the stream,
    /// or Redis may not have it and it is given back.
    under_way: Mutex<BTreeSet<u64>>,
}

impl StreamsBroker {
    pub(super) fn new(
        link: Arc<Link>,
        tail: Arc<Tail>,
        settings: Arc<Settings>,
        namespace: &str,
        max_disconnection: Option<Duration>,
    ) -> Self {
        let history = max_disconnection.map(|max_disconnection| History {
            stream: stream_of(&settings.stream_name, settings.stream_count, namespace),
            namespace: namespace.to_owned(),
            session_key_prefix: settings.session_key_prefix.clone(),
            max_disconnection,
            max_message_bytes: settings.max_message_bytes,
        });
        Self {
            link,
            tail,
            settings,
            node: NodeId::random(),
            namespace: namespace.to_owned(),
            history,
            place: OnceLock::new(),
        }
    }

    fn place(&self) -> Result<&Arc<Place>, AdapterError> {
        self.place.get().ok_or_else(AdapterError::disconnected)
    }

    /// The place, and the connection to ask Redis about it.
    fn asking(&self) -> Result<(Arc<Place>, Publisher), AdapterError> {
        let place = self.place()?;
        Ok((place.clone(), self.link.publisher()?))
    }

    fn leave(&self) -> BoxFuture<'static, ()> {
        match self.place.get() {
            Some(place) => {
                self.tail.remove(&self.namespace, place);
                let route: Arc<dyn Route> = place.clone();
                Box::pin(self.link.leave(&route))
            }
            None => Box::pin(ready(())),
        }
    }
}

impl Broker for StreamsBroker {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn open(&self, inbox: Inbox) -> BoxFuture<'static, Result<(), AdapterError>> {
        let place = self.place.get_or_init(|| {
            let Settings { channel_prefix, stream_name, stream_count, .. } = &*self.settings;
            let common = format!("{channel_prefix}#{}#", self.namespace);
            Arc::new(Place {
                link: self.link.clone(),
                settings: self.settings.clone(),
                encoder: Encoder {
                    node: self.node.clone(),
                    namespace: self.namespace.clone(),
                    msgpack: msgpack::Dialect::MsgpackJs,
                    packets_have_nsp: false,
                },
                inbox,
                stream: stream_of(stream_name, *stream_count, &self.namespace),
                own: format!("{common}{}#", self.node).into(),
                common: common.into(),
                patio: format!("{channel_prefix}-patio#{}#", self.namespace).into(),
                records: self.history.is_some(),
                last_number: AtomicU64::new(0),
                under_way: Mutex::default(),
            })
        });
        self.tail.add(&self.namespace, place);
        let route: Arc<dyn Route> = place.clone();
        let channels = match self.settings.version {
            StreamsVersion::V0_3 => {
                [&place.common, &place.own, &place.patio].map(|name| place.subscription(name)).to_vec()
            }
            // Servers of 0.3 would count this one and wait for its answers.
            StreamsVersion::V0_2 => Vec::new(),
        };
        Box::pin(self.link.enter(&channels, &route))
    }

    fn publish(&self, message: &Message) -> Result<(), AdapterError> {
        let place = self.place()?;
        if !self.loops_back(message) {
            return place.publish(message, Outcome::count(place.inbox.clone()), None);
        }
        let number = place.next_number();
        let (returning, returned) = (place.clone(), message.clone());
        let outcome = Outcome::default().or_else(move || {
            returning.inbox.publish_failed();
            returning.give_back(number, returned);
        });
        place.publish(message, outcome, Some(number)).inspect_err(|_| place.forget(number))
    }

    fn publish_confirmed(&self, message: &Message) -> BoxFuture<'static, Result<(), AdapterError>> {
        let place = match self.place() {
            Ok(place) => place.clone(),
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let (mut outcome, published) = Outcome::tell();
        let number = self.loops_back(message).then(|| place.next_number());
        if let Some(number) = number {
            let (returning, returned) = (place.clone(), message.clone());
            outcome = outcome.or_else(move || returning.give_back(number, returned));
        }
        match place.publish(message, outcome, number) {
            Ok(()) => {
                Box::pin(async { published.await.unwrap_or_else(|_| Err(AdapterError::disconnected())) })
            }
            Err(error) => {
                if let Some(number) = number {
                    place.give_back(number, message.clone());
                }
                Box::pin(ready(Err(error)))
            }
        }
    }

    fn respond(&self, to: &Sender, message: &Message) -> Result<(), AdapterError> {
        let place = self.place()?;
        let post = match &to.node {
            _ if to.via == via::STREAM => place.settings.append(&place.encoder, message, None)?,
            Some(node) => {
                let channel = [&place.common, node.as_str().as_bytes(), b"#"].concat().into();
                place.settings.publish(channel, place.encoder.message_msgpack(message)?)
            }
            // Who does not say who it is cannot be answered.
            None => return Ok(()),
        };
        self.link.publish(Publication { post, outcome: Outcome::count(place.inbox.clone()) })
    }

    fn membership(&self) -> Membership {
        match self.settings.version {
            StreamsVersion::V0_3 => Membership::Broker,
            StreamsVersion::V0_2 => Membership::Heartbeat(self.settings.heartbeat),
        }
    }

    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>> {
        let asking = self.asking();
        Box::pin(async {
            let (place, publisher) = asking?;
            let [servers] = place.subscribers(&publisher, [&place.common]).await?;
            Ok(Others::Count(servers.saturating_sub(1)))
        })
    }

    fn loops_back(&self, message: &Message) -> bool {
        self.history.is_some() && message.is_command()
    }

    /// All servers must be like this one. With version 0.2 nobody knows what the others are.
    fn supports(&self, _query: Query) -> BoxFuture<'static, bool> {
        if self.settings.version == StreamsVersion::V0_2 {
            return Box::pin(ready(false));
        }
        let asking = self.asking();
        Box::pin(async {
            let Ok((place, publisher)) = asking else { return false };
            let counted = place.subscribers(&publisher, [&place.common, &place.patio]).await;
            counted.is_ok_and(|[servers, own]| servers == own)
        })
    }

    fn requests_timeout(&self) -> Duration {
        self.settings.requests_timeout
    }

    fn recovery(&self) -> Option<&dyn Recovery> {
        self.history.as_ref().map(|_| self as &dyn Recovery)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.leave()
    }
}

impl Recovery for StreamsBroker {
    fn persist(&self, session: SessionRecord) {
        let (Ok(place), Some(history)) = (self.place(), &self.history) else { return };
        let post = Post::Keep {
            key: history.key(&session.pid).into(),
            value: write_session(&session, &history.namespace).into(),
            time: history.max_disconnection,
        };
        let outcome = Outcome::count(place.inbox.clone());
        if self.link.publish(Publication { post, outcome }).is_err() {
            place.inbox.publish_failed();
        }
    }

    fn restore(&self, pid: &str, offset: &str) -> BoxFuture<'static, Option<Restored>> {
        let Some(history) = self.history.clone() else { return Box::pin(ready(None)) };
        let (tail, pid, offset) = (self.tail.clone(), pid.to_owned(), offset.to_owned());
        Box::pin(async move {
            let restored = history.restore(&tail.histories, &pid, &offset).await;
            restored
                .inspect_err(|error| tracing::debug!(%error, "a session cannot be restored"))
                .ok()
                .flatten()
        })
    }

    fn replay(&self, cursor: &Offset, rooms: &[Room]) -> BoxFuture<'static, Option<Replayed>> {
        let Some(history) = self.history.clone() else { return Box::pin(ready(None)) };
        let (tail, cursor, rooms) = (self.tail.clone(), cursor.clone(), rooms.to_vec());
        Box::pin(async move {
            let replayed = history.replay(&tail.histories, &cursor, &rooms).await;
            replayed.inspect_err(|error| tracing::debug!(%error, "the history cannot be read")).ok().flatten()
        })
    }
}

impl Drop for StreamsBroker {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl Place {
    fn itself(&self) -> Sender {
        Sender { node: Some(self.encoder.node.clone()), via: via::STREAM }
    }

    fn next_number(&self) -> u64 {
        let number = self.last_number.fetch_add(1, SeqCst) + 1;
        self.under_way.lock().insert(number);
        number
    }

    fn forget(&self, number: u64) {
        self.under_way.lock().remove(&number);
    }

    /// Delivers an own event without a place in the stream, if it has not come from there.
    fn give_back(&self, number: u64, message: Message) {
        if self.under_way.lock().remove(&number) {
            self.inbox.deliver(Incoming { sender: self.itself(), offset: None, message });
        }
    }

    fn publish(&self, message: &Message, outcome: Outcome, number: Option<u64>) -> Result<(), AdapterError> {
        let Self { settings, encoder, .. } = self;
        let publish = |channel: &Bytes| {
            encoder.message_msgpack(message).map(|payload| settings.publish(channel.clone(), payload))
        };
        let post = match message {
            Message::CountSockets { .. } | Message::AllRooms { .. } => publish(&self.patio),
            _ if settings.goes_by_pub_sub(message) => publish(&self.common),
            _ => settings.append(encoder, message, number),
        };
        match post {
            Ok(post) => self.link.publish(Publication { post, outcome }),
            Err(error) => {
                outcome.forget();
                Err(error)
            }
        }
    }

    fn subscription<'a>(&self, name: &'a [u8]) -> Subscription<'a> {
        match self.settings.sharded_pub_sub {
            true => Subscription::shard(name),
            false => Subscription::channel(name),
        }
    }

    async fn subscribers<const N: usize>(
        &self,
        publisher: &Publisher,
        channels: [&[u8]; N],
    ) -> Result<[usize; N], AdapterError> {
        Ok(match self.settings.sharded_pub_sub {
            true => publisher.shard_subscribers(channels).await?,
            false => publisher.subscribers(channels).await?,
        })
    }

    fn read(&self, payload: &Bytes) -> Result<(), Garbage> {
        if payload.len() > self.settings.max_message_bytes {
            return Err(Garbage::Size);
        }
        let read = cluster::read_message(payload, &self.encoder.namespace, &self.encoder.node, |id| {
            self.inbox.waits_for(id)
        })?;
        if let Some(cluster::Read { node, message: Some(message) }) = read {
            let sender = Sender { node, via: via::PUB_SUB };
            self.inbox.deliver(Incoming { sender, offset: None, message });
        }
        Ok(())
    }

    /// An entry of the stream that is for this namespace.
    pub(super) fn receive_entry(&self, entry: &Entry) {
        if let Err(garbage) = self.read_entry(entry) {
            self.inbox.garbage(&garbage);
        }
    }

    fn read_entry(&self, entry: &Entry) -> Result<(), Garbage> {
        let text = |name| entry.field(name).map(|value| String::from_utf8_lossy(value));
        let uid = text("uid");
        if uid.as_deref() == Some(self.encoder.node.as_str()) && self.was_given_back(text(NUMBER).as_deref())
        {
            return Ok(());
        }
        let data = entry.field("data");
        if data.is_some_and(|data| data.len() > self.settings.max_message_bytes) {
            return Err(Garbage::Size);
        }
        let kind = text("type").ok_or(Garbage::Field("type"))?;
        let waits_for = |id: &_| self.inbox.waits_for(id);
        let cluster::Read { node, message } = cluster::read_fields(uid.as_deref(), &kind, data, waits_for)?;
        let Some(message) = message else { return Ok(()) };
        let offset = match &message {
            Message::Broadcast { options, request: None, .. } if self.records && !options.flags.volatile => {
                offset_of(&entry.id)
            }
            _ => None,
        };
        self.inbox.deliver(Incoming { sender: Sender { node, via: via::STREAM }, offset, message });
        Ok(())
    }

    /// Whether this own entry was delivered already, when nobody knew whether Redis has it.
    fn was_given_back(&self, number: Option<&str>) -> bool {
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else { return false };
        // Somebody else's, who writes our name.
        if number > self.last_number.load(SeqCst) {
            return false;
        }
        let mut under_way = self.under_way.lock();
        while under_way.first().is_some_and(|first| *first < number.saturating_sub(UNDER_WAY)) {
            under_way.pop_first();
        }
        !under_way.remove(&number)
    }

    /// Entries may have left the stream before this server had read them.
    pub(super) fn missed_history(&self) {
        self.inbox.missed_history();
    }

    /// Redis has refused to have its stream read.
    pub(super) fn read_failed(&self) {
        self.inbox.read_failed();
    }
}

impl Route for Place {
    fn receive(&self, _channel: &[u8], payload: Bytes) {
        if let Err(garbage) = self.read(&payload) {
            self.inbox.garbage(&garbage);
        }
    }
}

#[cfg(test)]
mod tests {
    use patio_adapter::{
        AdapterFactory, BroadcastOptions, Local, Payload,
        contract::namespace::{Happened, TestNamespace},
    };

    use super::*;
    use crate::Streams;

    /// A connection may be lost before Redis' answer has come, and after the entry has been read.
    #[tokio::test]
    async fn an_own_event_is_delivered_in_one_way() {
        let streams = Streams::builder("redis://127.0.0.1:1").build().unwrap();
        streams.enable_recovery(Duration::from_secs(60));
        let namespace = TestNamespace::new("/");
        let local: Arc<dyn Local> = namespace.clone();
        let adapter = streams.create("/", Arc::downgrade(&local));
        namespace.set_adapter(&adapter);
        drop(adapter.init());
        let socket = Room::from("a-socket-of-20-chars");
        namespace.connect(&socket, &[]);
        let place = streams.tail.places(b"socket.io").pop().unwrap();
        let message = || Message::Broadcast {
            payload: Payload::event("event", &1).unwrap(),
            options: BroadcastOptions::everyone(),
            request: None,
        };
        let entry = |number: u64| {
            let Ok(Post::Append { fields, .. }) =
                place.settings.append(&place.encoder, &message(), Some(number))
            else {
                panic!("it is an entry")
            };
            let fields = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
            Entry { id: format!("1-{number}"), fields }
        };
        let places = || -> Vec<bool> {
            let log = namespace.socket(&socket).unwrap().log.into_iter();
            log.map(|happened| matches!(happened, Happened::Event { offset: Some(_), .. })).collect()
        };
        let number = place.next_number();
        place.receive_entry(&entry(number));
        place.give_back(number, message());
        assert_eq!(places(), [true], "it was read first");
        let number = place.next_number();
        place.give_back(number, message());
        place.receive_entry(&entry(number));
        assert_eq!(places(), [true, false], "it was given back first");
        assert!(place.under_way.lock().is_empty());
    }
}
