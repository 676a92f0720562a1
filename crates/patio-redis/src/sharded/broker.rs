//! One namespace of one server on sharded pub/sub: which message goes to which channel, and what arrives from there.

use std::{
    future::ready,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use patio_adapter::{
    AdapterError, NodeId, Room,
    cluster::{
        broker::{Broker, Inbox, Others, Query},
        message::{Incoming, Message, Sender},
    },
};
use patio_proto::msgpack;

use super::{Settings, SubscriptionMode, channels::Channels};
use crate::{
    client::{Post, Publisher, Subscription},
    link::{Link, Route},
    queue::{Outcome, Publication},
    wire::{
        Garbage,
        cluster::{self, Encoder},
    },
};

pub(super) struct ShardedBroker {
    link: Arc<Link>,
    settings: Arc<Settings>,
    namespace: String,
    node: NodeId,
    /// From [`Broker::open`] on.
    place: OnceLock<Arc<Place>>,
}

/// A namespace that takes part.
struct Place {
    link: Arc<Link>,
    channels: Channels,
    encoder: Encoder,
    inbox: Inbox,
    max_message_bytes: usize,
}

impl ShardedBroker {
    pub(super) fn new(link: Arc<Link>, settings: Arc<Settings>, namespace: &str) -> Self {
        Self {
            link,
            settings,
            namespace: namespace.to_owned(),
            node: NodeId::random(),
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
                let route: Arc<dyn Route> = place.clone();
                Box::pin(self.link.leave(&route))
            }
            None => Box::pin(ready(())),
        }
    }
}

impl Broker for ShardedBroker {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn open(&self, inbox: Inbox) -> BoxFuture<'static, Result<(), AdapterError>> {
        let place = self.place.get_or_init(|| {
            let Settings { channel_prefix, mode, max_message_bytes, .. } = &*self.settings;
            Arc::new(Place {
                link: self.link.clone(),
                channels: Channels::new(
                    channel_prefix,
                    &self.namespace,
                    &self.node,
                    mode.unwrap_or_default(),
                ),
                encoder: Encoder {
                    node: self.node.clone(),
                    namespace: self.namespace.clone(),
                    msgpack: msgpack::Dialect::Notepack3,
                    packets_have_nsp: false,
                },
                inbox,
                max_message_bytes: *max_message_bytes,
            })
        });
        let Channels { common, own, patio, .. } = &place.channels;
        let route: Arc<dyn Route> = place.clone();
        let entered = self.link.enter(&[common, own, patio].map(|name| Subscription::shard(name)), &route);
        // Rooms may have come before.
        let joined = self.subscribes_to_rooms().then(|| self.joined(&place.inbox.rooms()));
        Box::pin(async {
            entered.await?;
            if let Some(joined) = joined {
                joined.await;
            }
            Ok(())
        })
    }

    fn publish(&self, message: &Message) -> Result<(), AdapterError> {
        let place = self.place()?;
        place.publish(message, Outcome::count(place.inbox.clone()))
    }

    fn publish_confirmed(&self, message: &Message) -> BoxFuture<'static, Result<(), AdapterError>> {
        let (outcome, published) = Outcome::tell();
        match self.place().and_then(|place| place.publish(message, outcome)) {
            Ok(()) => {
                Box::pin(async { published.await.unwrap_or_else(|_| Err(AdapterError::disconnected())) })
            }
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn respond(&self, to: &Sender, message: &Message) -> Result<(), AdapterError> {
        let place = self.place()?;
        // Who does not say who it is cannot be answered.
        let Some(node) = &to.node else { return Ok(()) };
        let payload = place.encoder.message(message)?;
        let post = Post::ShardPublish { channel: place.channels.answers_of(node), payload };
        self.link.publish(Publication { post, outcome: Outcome::count(place.inbox.clone()) })
    }

    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>> {
        let asking = self.asking();
        Box::pin(async {
            let (place, publisher) = asking?;
            let [servers] = publisher.shard_subscribers([&place.channels.common]).await?;
            Ok(Others::Count(servers.saturating_sub(1)))
        })
    }

    /// All servers must be like this one.
    fn supports(&self, _query: Query) -> BoxFuture<'static, bool> {
        let asking = self.asking();
        Box::pin(async {
            let Ok((place, publisher)) = asking else { return false };
            let Channels { common, patio, .. } = &place.channels;
            let counted = publisher.shard_subscribers([common, patio]).await;
            counted.is_ok_and(|[servers, own]| servers == own)
        })
    }

    fn requests_timeout(&self) -> Duration {
        self.settings.requests_timeout
    }

    fn room_created(&self, room: &Room) {
        self.follow(room);
    }

    fn room_deleted(&self, room: &Room) {
        self.follow(room);
    }

    fn subscribes_to_rooms(&self) -> bool {
        self.settings.mode.unwrap_or_default() != SubscriptionMode::Static
    }

    fn joined(&self, rooms: &[Room]) -> BoxFuture<'static, ()> {
        match self.place.get() {
            Some(place) if rooms.iter().any(|room| place.inbox.has_room(room)) => {
                rooms.iter().for_each(|room| self.follow(room));
                // Nothing more, but all that is subscribed to so far.
                let route: Arc<dyn Route> = place.clone();
                let subscribed = self.link.want(&[], &route);
                Box::pin(async move {
                    // An error: this server has left, and nothing reaches it any more.
                    let _ = subscribed.await;
                })
            }
            _ => Box::pin(ready(())),
        }
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.leave()
    }
}

impl ShardedBroker {
    /// Subscribes to a room's channel while it has members here, if it has one.
    fn follow(&self, room: &Room) {
        if let Some(place) = self.place.get()
            && let Some(channel) = place.channels.of_held(room)
        {
            let route: Arc<dyn Route> = place.clone();
            self.link.follow(Subscription::shard(&channel), &route, || place.inbox.has_room(room));
        }
    }
}

impl Drop for ShardedBroker {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl Place {
    fn publish(&self, message: &Message, outcome: Outcome) -> Result<(), AdapterError> {
        let channel = match message {
            Message::Broadcast { options, request: None, .. } => self.channels.broadcast(options),
            Message::CountSockets { .. } | Message::AllRooms { .. } => self.channels.patio.clone(),
            _ => self.channels.common.clone(),
        };
        match self.encoder.message(message) {
            Ok(payload) => {
                let post = Post::ShardPublish { channel, payload };
                self.link.publish(Publication { post, outcome })
            }
            Err(error) => {
                outcome.forget();
                Err(error)
            }
        }
    }

    fn read(&self, payload: &Bytes) -> Result<(), Garbage> {
        if payload.len() > self.max_message_bytes {
            return Err(Garbage::Size);
        }
        let read = cluster::read_message(payload, &self.encoder.namespace, &self.encoder.node, |id| {
            self.inbox.waits_for(id)
        })?;
        if let Some(cluster::Read { node, message: Some(message) }) = read {
            self.inbox.deliver(Incoming { sender: Sender { node, via: 0 }, offset: None, message });
        }
        Ok(())
    }
}

impl Route for Place {
    fn receive(&self, _channel: &[u8], payload: Bytes) {
        if let Err(garbage) = self.read(&payload) {
            self.inbox.garbage(&garbage);
        }
    }
}
