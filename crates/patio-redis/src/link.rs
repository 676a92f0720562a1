//! The connection of one server to Redis, shared by its namespaces: made and made again, with everything subscribed that
//! they want.
//!
//! Namespaces take part ([`Link::enter`]) and say what they want to hear ([`Link::want`]); one task, the keeper, makes it so: it connects, subscribes what
//! is not confirmed yet, unsubscribes what is wanted no more, publishes what is queued, and looks whether Redis still
//! answers. It begins with the first namespace and ends with the last.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_core::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use patio_adapter::{AdapterError, AdapterEvent, Watcher};
use smallvec::{SmallVec, smallvec};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    client::{
        Client, CommandError, ConnectError, Connections, Kind, Publisher, Receive, Subscriber, Subscription,
    },
    queue::{Publication, Queue},
};

/// How often Redis is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a namespace that closes waits for its last messages and its unsubscribing.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a room's channel is kept after its last member has left. A client that loads a page anew is back within it.
const LINGER: Duration = Duration::from_secs(5);

/// How many names one command subscribes.
const NAMES: usize = 500;

/// Who hears what arrives for a subscription. Called in the task that reads from Redis: it must not block.
pub(crate) trait Route: Send + Sync + 'static {
    fn receive(&self, channel: &[u8], payload: Bytes);
}

/// What a link does besides, for as long as it is connected.
pub(crate) trait Companion: Send + Sync + 'static {
    /// Makes ready what must be before anybody is subscribed; the returned future goes on until the connection is lost.
    fn begin<'a>(
        &'a self,
        client: &'a Arc<Client>,
        publisher: &'a Publisher,
    ) -> BoxFuture<'a, Result<BoxFuture<'a, AdapterError>, AdapterError>>;
}

/// The connection of one server.
pub(crate) struct Link {
    client: Arc<Client>,
    companion: Option<Arc<dyn Companion>>,
    queue: Queue,
    table: RwLock<Table>,
    publisher: Mutex<Option<Publisher>>,
    watchers: Mutex<Vec<Watcher>>,
    /// The table has changed.
    changed: Notify,
    /// Up to which change of the table Redis has confirmed everything.
    confirmed: watch::Sender<u64>,
}

/// What is subscribed, or is to be.
#[derive(Default)]
struct Table {
    /// Who takes part.
    routes: Vec<Arc<dyn Route>>,
    channels: Names,
    patterns: Names,
    shards: Names,
    /// What is wanted no more, by and large in the order in which that becomes so.
    lingering: VecDeque<(Instant, Kind, Vec<u8>)>,
    /// Counts the changes.
    version: u64,
    /// Whether there is a keeper.
    kept: bool,
}

/// Subscriptions of one kind.
#[derive(Default)]
struct Names {
    wanted: HashMap<Vec<u8>, Entry>,
    /// Wanted, but not yet asked for.
    arriving: Vec<Vec<u8>>,
    /// Wanted no more, but still subscribed.
    leaving: Vec<Vec<u8>>,
}

struct Entry {
    /// Who wants it. Nearly always one: but the channel of a room `b` in `/a` has the name of all of a namespace `/a#b`.
    wants: SmallVec<[Want; 1]>,
    subscribed: bool,
    /// It is in the list of what lingers: once, however often it comes and goes.
    listed: bool,
}

struct Want {
    route: Arc<dyn Route>,
    /// Until then it is still wanted.
    lingers: Option<Instant>,
}

impl Entry {
    fn want_of(&mut self, route: &Arc<dyn Route>) -> Option<&mut Want> {
        self.wants.iter_mut().find(|want| Arc::ptr_eq(&want.route, route))
    }
}

impl Table {
    const KINDS: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    fn names(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// Whether nobody takes part.
    fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Lets a subscription of this route linger until then.
    fn linger(
        &mut self,
        Subscription { kind, name }: Subscription<'_>,
        route: &Arc<dyn Route>,
        until: Instant,
    ) {
        if let Some(entry) = self.names_mut(kind).wanted.get_mut(name)
            && let Some(want) = entry.want_of(route)
        {
            want.lingers = Some(until);
            if !mem::replace(&mut entry.listed, true) {
                self.lingering.push_back((until, kind, name.to_vec()));
            }
        }
    }

    /// Gives up what has lingered; returns when to look again.
    fn end_lingering(&mut self, now: Instant) -> Option<Instant> {
        while let Some((_, kind, name)) = self.lingering.pop_front_if(|(until, ..)| *until <= now) {
            let names = self.names_mut(kind);
            let Some(entry) = names.wanted.get_mut(&name) else { continue };
            entry.wants.retain(|want| want.lingers.is_none_or(|until| until > now));
            match entry.wants.iter().filter_map(|want| want.lingers).min() {
                _ if entry.wants.is_empty() => names.give_up(&name),
                None => entry.listed = false,
                // It has come and gone again meanwhile.
                Some(until) => self.lingering.push_back((until, kind, name)),
            }
        }
        self.lingering.front().map(|(until, ..)| *until)
    }
}

impl Names {
    fn add(&mut self, name: &[u8], route: &Arc<dyn Route>) {
        let want = || Want { route: route.clone(), lingers: None };
        match self.wanted.get_mut(name) {
            Some(entry) => match entry.want_of(route) {
                Some(want) => want.lingers = None,
                None => entry.wants.push(want()),
            },
            None => {
                let entry = Entry { wants: smallvec![want()], subscribed: false, listed: false };
                self.wanted.insert(name.to_vec(), entry);
                self.arriving.push(name.to_vec());
            }
        }
    }

    /// Removes what this route alone wants.
    fn remove_all(&mut self, route: &Arc<dyn Route>) {
        let own = self.wanted.extract_if(|_, entry| {
            entry.wants.retain(|want| !Arc::ptr_eq(&want.route, route));
            entry.wants.is_empty()
        });
        self.leaving.extend(own.filter(|(_, entry)| entry.subscribed).map(|(name, _)| name));
    }

    fn give_up(&mut self, name: &[u8]) {
        if let Some((name, Entry { subscribed: true, .. })) = self.wanted.remove_entry(name) {
            self.leaving.push(name);
        }
    }

    /// What is still wanted of what was to be asked for.
    fn take_arriving(&mut self) -> Vec<Vec<u8>> {
        let mut names = mem::take(&mut self.arriving);
        names.retain(|name| self.wanted.get(name).is_some_and(|entry| !entry.subscribed));
        names
    }

    /// What is to be given up. Not what was wanted again, and asked for again, before anybody looked here.
    fn take_leaving(&mut self) -> Vec<Vec<u8>> {
        let mut names = mem::take(&mut self.leaving);
        names.retain(|name| self.wanted.get(name).is_none_or(|entry| !entry.subscribed));
        names
    }

    fn subscribed(&mut self, names: &[Vec<u8>]) {
        for name in names {
            match self.wanted.get_mut(name) {
                Some(entry) => entry.subscribed = true,
                // It was given up while it was being subscribed.
                None => self.leaving.push(name.clone()),
            }
        }
    }

    /// The connection has gone, and all subscriptions with it.
    fn forget(&mut self) {
        self.leaving.clear();
        self.wanted.values_mut().for_each(|entry| entry.subscribed = false);
        self.arriving = self.wanted.keys().cloned().collect();
    }
}

impl Link {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        Self::with(client, None)
    }

    pub(crate) fn with(client: Client, companion: Option<Arc<dyn Companion>>) -> Arc<Self> {
        Arc::new(Self {
            client: Arc::new(client),
            companion,
            queue: Queue::default(),
            table: RwLock::default(),
            publisher: Mutex::new(None),
            watchers: Mutex::default(),
            changed: Notify::new(),
            confirmed: watch::Sender::new(0),
        })
    }

    pub(crate) fn watch(&self, watcher: Watcher) {
        self.watchers.lock().push(watcher);
    }

    /// Takes part as `route`, and subscribes for it, now and after each loss of the connection. The future ends when Redis
    /// has confirmed it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        subscriptions: &[Subscription<'_>],
        route: &Arc<dyn Route>,
    ) -> impl Future<Output = Result<(), AdapterError>> + Send + use<> {
        let began = Handle::try_current().map(|runtime| {
            let mut table = self.table.write();
            table.routes.push(route.clone());
            let is_kept = mem::replace(&mut table.kept, true);
            // A runtime that is shutting down drops the keeper there and then, which takes the lock.
            drop(table);
            if !is_kept {
                runtime.spawn(keep(KeeperGuard { link: self.clone(), ends: false }));
            }
        });
        let subscribed = self.want(subscriptions, route);
        async move {
            began.map_err(|error| AdapterError::failed("subscribing", error))?;
            subscribed.await
        }
    }

    /// Subscribes to more for a `route` that takes part. The future ends when Redis has confirmed it.
    pub(crate) fn want(
        &self,
        subscriptions: &[Subscription<'_>],
        route: &Arc<dyn Route>,
    ) -> impl Future<Output = Result<(), AdapterError>> + Send + use<> {
        let mut table = self.table.write();
        // It may have left meanwhile.
        let takes_part = table.routes.iter().any(|other| Arc::ptr_eq(other, route));
        if takes_part {
            for Subscription { kind, name } in subscriptions {
                table.names_mut(*kind).add(name, route);
            }
        }
        let version = self.change(&mut table);
        drop(table);
        let mut confirmed = self.confirmed.subscribe();
        async move {
            if takes_part && confirmed.wait_for(|confirmed| *confirmed >= version).await.is_ok() {
                Ok(())
            } else {
                Err(AdapterError::closed())
            }
        }
    }

    /// Takes part no more as `route`, and gives up what it has subscribed to. The future ends when Redis has confirmed it,
    /// for the last one when what was queued is published too, and after a second at the latest.
    pub(crate) fn leave(&self, route: &Arc<dyn Route>) -> impl Future<Output = ()> + Send + use<> {
        let mut table = self.table.write();
        table.routes.retain(|other| !Arc::ptr_eq(other, route));
        Table::KINDS.iter().for_each(|kind| table.names_mut(*kind).remove_all(route));
        let version = self.change(&mut table);
        drop(table);
        // Without a connection there is nothing to wait for.
        let connected = self.publisher.lock().is_some();
        let mut confirmed = self.confirmed.subscribe();
        async move {
            if connected {
                let _ = timeout(CLOSE_PATIENCE, confirmed.wait_for(|confirmed| *confirmed >= version)).await;
            }
        }
    }

    /// Gives up a subscription of `route` a little later, unless it is wanted again by then: rooms come and go.
    pub(crate) fn release_later(&self, subscription: Subscription<'_>, route: &Arc<dyn Route>) {
        let mut table = self.table.write();
        table.linger(subscription, route, Instant::now() + LINGER);
        drop(table);
        self.changed.notify_one();
    }

    /// Subscribes for a `route` that takes part, or no more, by whether it is `held` now. Whoever hears that it has come or
    /// gone calls this: two threads may come here in either order, so it is looked at again afterwards.
    pub(crate) fn follow(
        &self,
        subscription: Subscription<'_>,
        route: &Arc<dyn Route>,
        held: impl Fn() -> bool,
    ) {
        loop {
            let was_held = held();
            match was_held {
                true => drop(self.want(&[subscription], route)),
                false => self.release_later(subscription, route),
            }
            if held() == was_held {
                return;
            }
        }
    }

    /// Queues a message.
    pub(crate) fn publish(&self, publication: Publication) -> Result<(), AdapterError> {
        self.queue.push(publication)
    }

    /// The connection for questions to Redis itself. Error: there is none now.
    pub(crate) fn publisher(&self) -> Result<Publisher, AdapterError> {
        self.publisher.lock().clone().ok_or_else(AdapterError::disconnected)
    }

    fn change(&self, table: &mut Table) -> u64 {
        table.version += 1;
        self.changed.notify_one();
        table.version
    }

    /// The end of the keeper, if nobody needs it. Under the lock, so that whoever comes next begins a new one.
    fn stop_if_idle(&self) -> bool {
        let mut table = self.table.write();
        let idle = table.is_empty();
        if idle {
            table.kept = false;
            self.confirmed.send_replace(table.version);
        }
        idle
    }

    /// Waits until there is nobody left to connect for.
    async fn until_idle(&self) {
        while !self.table.read().is_empty() {
            self.changed.notified().await;
        }
    }

    fn tell(&self, event: &AdapterEvent) {
        let watchers = self.watchers.lock().clone();
        watchers.iter().for_each(|watcher| watcher(event));
    }

    /// Makes the subscriptions what they should be at this moment. Whoever changes the table meanwhile has left a notice.
    /// Returns when to look again.
    async fn reconcile(&self, subscriber: &Subscriber) -> Result<Option<Instant>, CommandError> {
        let (version, next) = {
            let mut table = self.table.write();
            let next = table.end_lingering(Instant::now());
            (table.version, next)
        };
        for kind in Table::KINDS {
            let leaving = self.table.write().names_mut(kind).take_leaving();
            for names in leaving.chunks(NAMES) {
                subscriber.unsubscribe(kind, names).await?;
            }
        }
        for kind in Table::KINDS {
            let arriving = self.table.write().names_mut(kind).take_arriving();
            for names in arriving.chunks(NAMES) {
                self.subscribe(subscriber, kind, names).await?;
                self.table.write().names_mut(kind).subscribed(names);
            }
        }
        // When nothing is left, the end of the keeper is what is waited for: it publishes what is queued before.
        if !self.table.read().is_empty() {
            self.confirmed.send_replace(version);
        }
        Ok(next)
    }

    /// Subscribes to all of these names that this user may subscribe to. One that is refused is one namespace's misfortune:
    /// it hears nothing, and is tried again with the next connection.
    async fn subscribe(
        &self,
        subscriber: &Subscriber,
        kind: Kind,
        names: &[Vec<u8>],
    ) -> Result<(), CommandError> {
        match subscriber.subscribe(kind, names).await {
            Err(error) if error.is_fatal() => return Err(error),
            Ok(()) => return Ok(()),
            Err(_) => {}
        }
        for name in names {
            match subscriber.subscribe(kind, slice::from_ref(name)).await {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    tracing::error!(name = %name.escape_ascii(), %error, "Redis refuses a subscription");
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Keeps the subscriptions what they should be, and notifies `idle` when there are none.
    async fn follow_changes(
        &self,
        subscriber: &Subscriber,
        outage: &mut Outage,
        idle: &Notify,
    ) -> Result<(), CommandError> {
        loop {
            let next = self.reconcile(subscriber).await?;
            if outage.ends(Instant::now()) {
                self.tell(&AdapterEvent::Reconnected);
            }
            if self.table.read().is_empty() {
                idle.notify_one();
            }
            let lingered = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = lingered => {}
            }
        }
    }

    /// Publishes what is queued, batch after batch: while one is under way, the next one grows. Ends when there are no
    /// subscriptions and nothing is queued.
    async fn publish_all(&self, publisher: &Publisher, idle: &Notify) -> Result<(), CommandError> {
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.queue.next() => batch,
                () = idle.notified() => match self.table.read().is_empty() {
                    true => return Ok(()),
                    // Somebody has come since.
                    false => continue,
                },
            };
            // If nobody knows what became of them, those of the batch have failed when it is dropped.
            let results = publisher.publish(batch.posts()).await?;
            self.queue.settle(batch, results)?;
        }
    }

    /// One connection, from its beginning to its end; `Ok`: nobody needs it any more.
    async fn session(self: &Arc<Self>, outage: &mut Outage) -> Result<(), AdapterError> {
        let events = Arc::new(SubscriberEvents {
            link: self.clone(),
            ended: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            end: Notify::new(),
        });
        let connecting = self.client.connect(events.clone());
        let Connections { publisher, subscriber } = connecting
            .await
            .map_err(|error: ConnectError| AdapterError::failed("the connection to Redis", error))?;
        let _until_end = ConnectionGuard { link: self, events: &events };
        let was_replica = self.client.is_replica(&publisher).await?;
        let publisher_stays = || self.client.stays(&publisher, was_replica);
        let accompanied = match &self.companion {
            Some(companion) => companion.begin(&self.client, &publisher).await?,
            None => Box::pin(pending()),
        };
        // Before anything is subscribed: whoever is counted must be able to answer.
        *self.publisher.lock() = Some(publisher.clone());
        self.queue.open();
        let idle = Notify::new();
        tokio::select! {
            ended = self.publish_all(&publisher, &idle) => Ok(ended?),
            ended = self.follow_changes(&subscriber, outage, &idle) => Ok(ended?),
            ended = stays_alive(publisher_stays, &subscriber, &events) => Ok(ended?),
            error = accompanied => Err(error),
            () = events.end.notified() => Err(AdapterError::disconnected()),
        }
    }
}

/// Ends with an error when Redis does not answer. A subscriber's answer may be behind much that is on its way: as long as
/// anything arrives, it lives.
async fn stays_alive<F: Future<Output = Result<(), CommandError>>>(
    publisher_stays: impl Fn() -> F,
    subscriber: &Subscriber,
    events: &SubscriberEvents,
) -> Result<(), CommandError> {
    loop {
        sleep(PING_INTERVAL).await;
        let before = events.arrived.load(SeqCst);
        let subscribed = async {
            match subscriber.ping().await {
                Err(_) if events.arrived.load(SeqCst) != before => Ok(()),
                answered => answered,
            }
        };
        tokio::try_join!(publisher_stays(), subscribed)?;
    }
}

/// The keeper: connects again and again, until nobody is there.
async fn keep(mut kept: KeeperGuard) {
    let link = kept.link.clone();
    let mut outage = Outage::default();
    while !link.stop_if_idle() {
        let Err(error) = link.session(&mut outage).await else { continue };
        if outage.begins(Instant::now()) {
            link.tell(&AdapterEvent::Failed(error));
        }
        tokio::select! {
            () = sleep(outage.pause()) => {}
            () = link.until_idle() => {}
        }
    }
    kept.ends = true;
}

/// The keeper's mark in the table, which is taken away too if the keeper is dropped with its runtime.
struct KeeperGuard {
    link: Arc<Link>,
    /// It has come to its end and has taken the mark away itself.
    ends: bool,
}

impl Drop for KeeperGuard {
    fn drop(&mut self) {
        if !self.ends {
            self.link.table.write().kept = false;
        }
    }
}

/// While there is a connection.
struct ConnectionGuard<'a> {
    link: &'a Link,
    events: &'a SubscriberEvents,
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.events.ended.store(true, SeqCst);
        *self.link.publisher.lock() = None;
        self.link.queue.close();
        let mut table = self.link.table.write();
        Table::KINDS.iter().for_each(|kind| table.names_mut(*kind).forget());
    }
}

/// Hears one subscriber.
struct SubscriberEvents {
    link: Arc<Link>,
    /// Nothing is handed on any more: another subscriber may hear it too.
    ended: AtomicBool,
    /// How many messages have arrived.
    arrived: AtomicU64,
    end: Notify,
}

impl Receive for SubscriberEvents {
    fn message(&self, subscription: Subscription<'_>, channel: &[u8], payload: Bytes) {
        self.arrived.fetch_add(1, SeqCst);
        let routes: SmallVec<[Arc<dyn Route>; 1]> = {
            let table = self.link.table.read();
            let entry = table.names(subscription.kind).wanted.get(subscription.name);
            entry.into_iter().flat_map(|entry| &entry.wants).map(|want| want.route.clone()).collect()
        };
        let Some((last, others)) = routes.split_last() else { return };
        let receive = |route: &Arc<dyn Route>, payload| {
            let receive = AssertUnwindSafe(|| route.receive(channel, payload));
            if !self.ended.load(SeqCst) && catch_unwind(receive).is_err() {
                tracing::error!(channel = %channel.escape_ascii(), "a message made its receiver panic");
            }
        };
        others.iter().for_each(|route| receive(route, payload.clone()));
        receive(last, payload);
    }

    fn lost(&self) {
        self.ended.store(true, SeqCst);
        self.end.notify_one();
    }
}

/// How long Redis has been away, in attempts.
#[derive(Default)]
struct Outage {
    attempts: u32,
    /// The application has been told of it.
    told: bool,
    /// Since when there is a connection.
    connected: Option<Instant>,
}

impl Outage {
    const FIRST_PAUSE: Duration = Duration::from_millis(50);
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);

    /// A connection that has lasted for so long was a good one. What is lost sooner is made again less eagerly, or a right that
    /// is missing would have it made and lost without a pause.
    const STEADY: Duration = Duration::from_secs(5);

    /// The attempts that a connection counts which was not: after it the pause is at most 400 ms.
    const UNSTEADY: u32 = 3;

    /// Counts a failure; true for the first.
    fn begins(&mut self, now: Instant) -> bool {
        self.attempts = match self.connected.take() {
            None => self.attempts,
            Some(since) if now.duration_since(since) >= Self::STEADY => 0,
            Some(_) => self.attempts.min(Self::UNSTEADY),
        };
        self.attempts = self.attempts.saturating_add(1);
        !mem::replace(&mut self.told, true)
    }

    /// There is a connection; true if the application was told that there was none.
    fn ends(&mut self, now: Instant) -> bool {
        self.connected.get_or_insert(now);
        mem::take(&mut self.told)
    }

    /// How long to wait before the next attempt: twice as long each time, a random half of it, so that the servers of a
    /// cluster do not come back at once.
    fn pause(&self) -> Duration {
        let doubled = Self::FIRST_PAUSE * 2u32.saturating_pow(self.attempts.saturating_sub(1).min(16));
        doubled.min(Self::LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Route for Nobody {
        fn receive(&self, _channel: &[u8], _payload: Bytes) {}
    }

    #[test]
    fn what_is_wanted_again_is_not_given_up() {
        let (mut names, name) = (Names::default(), b"name".to_vec());
        let (former, route): (Arc<dyn Route>, Arc<dyn Route>) = (Arc::new(Nobody), Arc::new(Nobody));
        let asked = |names: &mut Names| {
            let asked = names.take_arriving();
            names.subscribed(&asked);
            asked.len()
        };
        names.add(&name, &former);
        assert_eq!((names.take_leaving().len(), asked(&mut names)), (0, 1));
        // Both come after the keeper has looked what leaves, and before it looks what arrives.
        names.remove_all(&former);
        names.add(&name, &route);
        assert_eq!((asked(&mut names), names.take_leaving().len()), (1, 0));
        names.remove_all(&route);
        names.add(&name, &route);
        assert_eq!((names.take_leaving(), asked(&mut names)), (vec![name], 1));
    }

    #[test]
    fn what_comes_and_goes_is_listed_once() {
        let (mut table, route, room): (_, Arc<dyn Route>, _) =
            (Table::default(), Arc::new(Nobody), Subscription::channel(b"room"));
        let start = Instant::now();
        let at = |n: u32| start + Duration::from_millis(n.into());
        for n in 0..1_000 {
            table.channels.add(room.name, &route);
            table.linger(room, &route, at(n));
        }
        assert_eq!(table.lingering.len(), 1);
        // The first time has come, the last has not.
        assert_eq!(table.end_lingering(at(500)), Some(at(999)));
        assert!(table.channels.wanted.contains_key(room.name));
        table.channels.add(room.name, &route);
        assert_eq!(table.end_lingering(at(2_000)), None);
        assert!(table.channels.wanted.contains_key(room.name));
        table.linger(room, &route, at(3_000));
        assert_eq!(table.end_lingering(at(2_000)), Some(at(3_000)));
        assert_eq!(table.end_lingering(at(3_000)), None);
        assert!(table.channels.wanted.is_empty());
    }

    #[tokio::test]
    async fn who_reports_late_does_not_have_the_last_word() {
        let link = Link::new(Client::new(&"redis://127.0.0.1".into()).unwrap());
        let route: Arc<dyn Route> = Arc::new(Nobody);
        link.table.write().routes.push(route.clone());
        let room = Subscription::channel(b"room");
        let lingers =
            || link.table.read().channels.wanted.get(room.name).map(|entry| entry.wants[0].lingers.is_some());
        for is_held in [true, false] {
            // While one looks, the room comes or goes, and another thread has reported it before this one does anything.
            let reported = AtomicBool::new(false);
            link.follow(room, &route, || {
                if reported.swap(true, SeqCst) {
                    return is_held;
                }
                link.follow(room, &route, || is_held);
                !is_held
            });
            assert_eq!(lingers(), Some(!is_held));
        }
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut outage = Outage::default();
        let now = Instant::now();
        let longest = |outage: &Outage, longest| {
            let longest = Duration::from_millis(longest);
            (0..100).all(|_| (longest / 2..=longest).contains(&outage.pause()))
        };
        assert!(!outage.ends(now), "a first connection is no reconnection");
        for (n, pause) in [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000].into_iter().enumerate() {
            assert_eq!(outage.begins(now), n == 0);
            assert!(longest(&outage, pause), "{n}");
        }
        assert!(outage.ends(now));
        assert!(!outage.ends(now));
        assert!(outage.begins(now + Duration::from_secs(1)) && longest(&outage, 400), "it did not last");
        assert!(outage.ends(now));
        assert!(outage.begins(now + Duration::from_secs(10)) && longest(&outage, 50), "it had lasted");
    }
}
