//! One namespace of one server on PUBLISH and SUBSCRIBE: which message goes to which channel, and what arrives from there.

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
        message::{Incoming, Message, RequestId, Sender},
    },
};

use super::{Settings, Subscriptions};
use crate::{
    Dialect,
    channels::{Channels, Kind},
    client::{Post, Publisher, Subscription},
    link::{Link, Route},
    queue::{Outcome, Publication},
    wire::{
        Garbage,
        classic::{self, Encoder, Request, via},
        id, legacy,
    },
};

pub(super) struct PubSubBroker {
    link: Arc<Link>,
    settings: Arc<Settings>,
    namespace: String,
    node: NodeId,
    /// Only the rooms are heard that are held here.
    is_exact: bool,
    /// From [`Broker::open`] on.
    place: OnceLock<Arc<Place>>,
}

/// A namespace that takes part.
struct Place {
    link: Arc<Link>,
    settings: Arc<Settings>,
    channels: Channels,
    encoder: Encoder,
    inbox: Inbox,
}

impl PubSubBroker {
    pub(super) fn new(link: Arc<Link>, settings: Arc<Settings>, namespace: &str) -> Self {
        Self {
            link,
            // Behind a namespace `/a` the channel of a room `b` is also that of all of a namespace `/a#b`. Two channels of one
            // name would be one subscription; a pattern is another than a channel.
            is_exact: settings.subscriptions == Subscriptions::Exact && !namespace.contains('#'),
            settings,
            namespace: namespace.to_owned(),
            node: NodeId::new(id()),
            place: OnceLock::new(),
        }
    }

    fn place(&self) -> Result<&Arc<Place>, AdapterError> {
        self.place.get().ok_or_else(AdapterError::disconnected)
    }

    /// Subscribes to a room's channel while it has members here, if it needs one.
    fn follow(&self, room: &Room) {
        if let Some(place) = self.place.get()
            && let Some(channel) = place.channels.of_held(room)
        {
            let route: Arc<dyn Route> = place.clone();
            self.link.follow(Subscription::channel(&channel), &route, || place.inbox.has_room(room));
        }
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

impl Broker for PubSubBroker {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn open(&self, inbox: Inbox) -> BoxFuture<'static, Result<(), AdapterError>> {
        let tag = self.is_exact.then(|| inbox.id_tag());
        let place = self.place.get_or_init(|| {
            Arc::new(Place {
                link: self.link.clone(),
                settings: self.settings.clone(),
                channels: Channels::new(&self.settings.key, &self.namespace, &self.node, tag),
                encoder: Encoder {
                    node: self.node.clone(),
                    namespace: self.namespace.clone(),
                    dialect: self.settings.dialect,
                },
                inbox,
            })
        });
        let route: Arc<dyn Route> = place.clone();
        let entered = self.link.enter(&place.subscriptions(), &route);
        // Rooms may have come before.
        let joined = self.is_exact.then(|| self.joined(&place.inbox.rooms()));
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
        let specific = self.settings.specific_responses || to.via == via::COUNT;
        let channel = match &to.node {
            Some(node) if specific && !matches!(message, Message::ServerSideAnswer { .. }) => {
                place.channels.responses_of(node)
            }
            _ => place.channels.responses.clone(),
        };
        let payload = place.encoder.response(to, message)?;
        let outcome = Outcome::count(place.inbox.clone());
        self.link.publish(Publication { post: Post::Publish { channel, payload }, outcome })
    }

    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>> {
        let asking = self.asking();
        Box::pin(async {
            let (place, publisher) = asking?;
            let [servers] = publisher.subscribers([&place.channels.requests]).await?;
            Ok(Others::Count(servers.saturating_sub(1)))
        })
    }

    fn supports(&self, query: Query) -> BoxFuture<'static, bool> {
        match query {
            Query::AllRooms => Box::pin(ready(true)),
            Query::Count if self.settings.dialect == Dialect::V5 => Box::pin(ready(true)),
            // All must be like this server.
            Query::Count => {
                let asking = self.asking();
                Box::pin(async {
                    let Ok((place, publisher)) = asking else { return false };
                    let Channels { requests, patio_requests, .. } = &place.channels;
                    let counted = publisher.subscribers([requests, patio_requests]).await;
                    counted.is_ok_and(|[servers, own]| servers == own)
                })
            }
        }
    }

    fn requests_timeout(&self) -> Duration {
        self.settings.requests_timeout
    }

    fn request_id(&self) -> RequestId {
        RequestId::new(id())
    }

    fn room_created(&self, room: &Room) {
        self.follow(room);
    }

    fn room_deleted(&self, room: &Room) {
        self.follow(room);
    }

    fn subscribes_to_rooms(&self) -> bool {
        self.is_exact
    }

    fn joined(&self, rooms: &[Room]) -> BoxFuture<'static, ()> {
        match self.place.get() {
            Some(place) if self.is_exact && rooms.iter().any(|room| place.inbox.has_room(room)) => {
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

impl Drop for PubSubBroker {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl Place {
    fn publish(&self, message: &Message, outcome: Outcome) -> Result<(), AdapterError> {
        let Message::Broadcast { payload, options, request: None } = message else {
            return self.publish_requests(message, outcome);
        };
        let checked = self.encoder.check_except(options, |socket| self.is_here(socket));
        match checked.and_then(|()| self.encoder.broadcast(payload, options)) {
            Ok(payload) => {
                let channel = self.channels.broadcast(options);
                self.link.publish(Publication { post: Post::Publish { channel, payload }, outcome })
            }
            Err(error) => {
                outcome.forget();
                Err(error)
            }
        }
    }

    fn publish_requests(&self, message: &Message, outcome: Outcome) -> Result<(), AdapterError> {
        let channel = match message {
            Message::CountSockets { .. } if self.encoder.dialect != Dialect::V5 => {
                &self.channels.patio_requests
            }
            _ => &self.channels.requests,
        };
        let publish = |payload, outcome| {
            let post = Post::Publish { channel: channel.clone(), payload };
            self.link.publish(Publication { post, outcome })
        };
        let requests = self.encoder.requests(message, |socket| self.is_here(socket));
        let (last, others) = match requests {
            Ok(mut requests) => (requests.pop(), requests),
            Err(error) => {
                outcome.forget();
                return Err(error);
            }
        };
        let published =
            others.into_iter().try_for_each(|payload| publish(payload, Outcome::count(self.inbox.clone())));
        match (published, last) {
            (Ok(()), Some(payload)) => publish(payload, outcome),
            (published, _) => {
                outcome.forget();
                published
            }
        }
    }

    fn is_here(&self, socket: &str) -> bool {
        self.inbox.rooms_of(socket).is_some()
    }

    /// What this namespace hears of: in 5.x the two channels do not exist that came later.
    fn subscriptions(&self) -> Vec<Subscription<'_>> {
        let Channels { own_responses, patio_requests, .. } = &self.channels;
        let mut subscriptions = self.channels.subscriptions();
        if self.encoder.dialect == Dialect::V5 {
            subscriptions.retain(|Subscription { name, .. }| name != own_responses && name != patio_requests);
        }
        subscriptions
    }

    fn deliver(&self, sender: Sender, message: Message) {
        self.inbox.deliver(Incoming { sender, offset: None, message });
    }

    fn read(&self, channel: &[u8], payload: &Bytes) -> Result<(), Garbage> {
        if payload.len() > self.settings.max_message_bytes {
            return Err(Garbage::Size);
        }
        match self.channels.kind(channel) {
            Some(Kind::Broadcast(room)) => {
                // The room in the channel only spares the reading: whom it is for stands in the message.
                if room.is_some_and(|room| !self.inbox.has_room(&String::from_utf8_lossy(room))) {
                    return Ok(());
                }
                if let Some(broadcast) =
                    classic::read_broadcast(payload, &self.encoder.namespace, &self.encoder.node)?
                {
                    let sender = Sender { node: broadcast.node, via: via::USUAL };
                    let (payload, options) = (broadcast.payload, broadcast.options);
                    self.deliver(sender, Message::Broadcast { payload, options, request: None });
                }
            }
            Some(Kind::Request) => match self.read_request(payload)? {
                Request::Message(sender, message) => self.deliver(sender, message),
                Request::OfSocket(sender, message, socket, request) => {
                    if self.is_here(&socket) {
                        self.deliver(sender, message);
                        self.answer(self.encoder.done(&request));
                    }
                }
                Request::RoomsOf(socket, request) => {
                    if let Some(rooms) = self.inbox.rooms_of(&socket) {
                        self.answer(legacy::rooms_response(&request, &rooms));
                    }
                }
                Request::Custom(request) => self.answer(legacy::nothing(&request)),
                Request::Ignored => {}
            },
            Some(Kind::PatioRequest) => {
                let (sender, message) = classic::read_patio_request(payload)?;
                self.deliver(sender, message);
            }
            Some(Kind::Response) => {
                let waits_for = |id: &_| self.inbox.waits_for(id);
                let message = match self.encoder.dialect {
                    Dialect::V5 => legacy::read_response(payload, waits_for)?,
                    _ => classic::read_response(payload, waits_for)?,
                };
                if let Some(message) = message {
                    self.deliver(Sender { node: None, via: via::USUAL }, message);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn read_request(&self, payload: &Bytes) -> Result<Request, Garbage> {
        match self.encoder.dialect {
            Dialect::V5 => legacy::read_request(payload, |id| self.inbox.waits_for(id)),
            _ => classic::read_request(payload, &self.encoder.namespace),
        }
    }

    /// Answers a server of version 7 or older that asks about one socket.
    fn answer(&self, response: Result<Bytes, AdapterError>) {
        let publication = response.map(|payload| Publication {
            post: Post::Publish { channel: self.channels.responses.clone(), payload },
            outcome: Outcome::count(self.inbox.clone()),
        });
        if publication.and_then(|publication| self.link.publish(publication)).is_err() {
            self.inbox.publish_failed();
        }
    }
}

impl Route for Place {
    fn receive(&self, channel: &[u8], payload: Bytes) {
        if let Err(garbage) = self.read(channel, &payload) {
            self.inbox.garbage(&garbage);
        }
    }
}
