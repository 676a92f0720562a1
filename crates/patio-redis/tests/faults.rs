//! What is lost, and what is not, when something between a server and Redis breaks. One server sends numbers without end,
//! another hears them; each fault says beforehand what may be missing.

#[expect(dead_code, reason = "each test file uses a part")]
mod server;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use patio_adapter::{
    AdapterEvent, AdapterFactory, BroadcastOptions, Payload, Room, contract::namespace::Happened,
};
use patio_redis::PubSub;
use server::{Node, Redis, eventually, proxy::Proxy};
use tokio::{task::JoinHandle, time::sleep};

const SOCKET: &str = "a-socket-of-20-chars";

/// A sender, a receiver, and what they went through.
struct Experiment {
    sender: Arc<Node>,
    receiver: Node,
    /// The last number that was given to the sender.
    last: Arc<AtomicU64>,
    /// Those that it refused.
    refused: Arc<Mutex<Vec<u64>>>,
    /// Of the server that is behind the proxy: what it told, and the last number at that time.
    told: Arc<Mutex<Vec<(&'static str, u64)>>>,
    sending: JoinHandle<()>,
}

/// Whose connections are broken.
enum Behind<'a> {
    Sender(&'a Proxy),
    Receiver(&'a Proxy),
}

impl Experiment {
    async fn start(redis: &Redis, proxy: Behind<'_>, size: usize) -> Self {
        // Keys of their own, for those that share a Redis.
        let (key, sender, receiver) = match &proxy {
            Behind::Sender(proxy) => ("sender", proxy.url(), redis.url()),
            Behind::Receiver(proxy) => ("receiver", redis.url(), proxy.url()),
        };
        let sender = PubSub::builder(sender).key(key).connect().await.unwrap();
        let receiver = PubSub::builder(receiver).key(key).connect().await.unwrap();
        let (last, told) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let watched = if matches!(proxy, Behind::Sender(_)) { &sender } else { &receiver };
        let (number, news) = (last.clone(), told.clone());
        watched.watch(Arc::new(move |event| {
            let name = if let AdapterEvent::Reconnected = event { "reconnected" } else { "failed" };
            news.lock().push((name, number.load(SeqCst)));
        }));
        let sender = Arc::new(Node::join(&sender, "/").await);
        let receiver = Node::join(&receiver, "/").await;
        receiver.namespace.connect(&Room::from(SOCKET), &[]);
        let refused = Arc::new(Mutex::new(Vec::new()));
        let sending = tokio::spawn({
            let (sender, last, refused) = (sender.clone(), last.clone(), refused.clone());
            async move {
                loop {
                    let number = last.fetch_add(1, SeqCst) + 1;
                    let event = Payload::event("number", &(number, "x".repeat(size))).unwrap();
                    if sender.adapter.broadcast(&event, &BroadcastOptions::everyone()).is_err() {
                        refused.lock().push(number);
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let experiment = Self { sender, receiver, last, refused, told, sending };
        experiment.goes_on().await;
        experiment
    }

    fn received(&self) -> Vec<u64> {
        let log = self.receiver.namespace.socket(&Room::from(SOCKET)).unwrap().log;
        let number = |happened: Happened| match happened {
            Happened::Event { payload, .. } => payload.read_args::<(u64,)>(1).ok().map(|(number,)| number),
            _ => None,
        };
        log.into_iter().filter_map(number).collect()
    }

    /// Waits until numbers arrive that are sent from now on.
    async fn goes_on(&self) {
        let now = self.last.load(SeqCst);
        eventually("more numbers", || self.received().last().is_some_and(|&number| number > now + 20)).await;
    }

    async fn told(&self, names: &[&str]) {
        eventually("the news", || self.told.lock().len() >= names.len()).await;
        assert_eq!(self.told.lock().iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    }

    /// Ends the sending and checks everything: nothing twice, nothing out of order, and of what was not refused nothing is
    /// missing that was sent after the last `reconnected`, or at all if there was none. Returns the missing ones.
    async fn end(self) -> Vec<u64> {
        self.goes_on().await;
        self.sending.abort();
        let last = self.last.load(SeqCst);
        eventually("the last number", || self.received().last() == Some(&last)).await;
        let received = self.received();
        assert!(received.is_sorted_by(|one, next| one < next), "doubled or out of order");
        let refused = self.refused.lock().clone();
        let missing: Vec<u64> = (1..=last).filter(|number| received.binary_search(number).is_err()).collect();
        let reconnected =
            self.told.lock().iter().rev().find(|(name, _)| *name == "reconnected").map(|(_, last)| *last);
        let kept = |number: &u64| *number > reconnected.unwrap_or(0) && !refused.contains(number);
        let lost: Vec<_> = missing.iter().copied().filter(kept).collect();
        assert!(lost.is_empty(), "lost after {reconnected:?}: {lost:?}");
        missing
    }
}

#[tokio::test]
async fn a_receiver_that_is_cut_off_misses_what_is_sent_until_it_is_back() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(&redis, Behind::Receiver(&proxy), 10).await;
    for round in 1..=5 {
        proxy.cut();
        experiment.told(&["failed", "reconnected"].repeat(round)).await;
        experiment.goes_on().await;
    }
    let refused = experiment.refused.clone();
    experiment.end().await;
    assert!(refused.lock().is_empty(), "the sender was not concerned");
}

#[tokio::test]
async fn a_sender_that_is_cut_off_counts_what_does_not_get_out() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(&redis, Behind::Sender(&proxy), 10).await;
    for round in 1..=5 {
        proxy.cut();
        experiment.told(&["failed", "reconnected"].repeat(round)).await;
        experiment.goes_on().await;
    }
    let sender = experiment.sender.clone();
    let missing = experiment.end().await;
    // What was under way may have arrived although nobody said so: counted it is in any case.
    assert!(missing.len() as u64 <= sender.adapter.stats().failed_publishes, "{missing:?}");
    assert!(!missing.is_empty());
}

#[tokio::test]
async fn a_stall_of_two_seconds_loses_nothing() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let sender = Experiment::start(&redis, Behind::Sender(&proxy), 10).await;
    let receiver = Experiment::start(&redis, Behind::Receiver(&proxy), 10).await;
    proxy.hold();
    sleep(Duration::from_secs(2)).await;
    proxy.release();
    for experiment in [sender, receiver] {
        experiment.told(&[]).await;
        assert_eq!(experiment.end().await, Vec::<u64>::new());
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_given_up() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(&redis, Behind::Receiver(&proxy), 10).await;
    proxy.hold();
    proxy.forget_held();
    experiment.told(&["failed", "reconnected"]).await;
    let missing = experiment.end().await;
    assert!(!missing.is_empty());
}

#[tokio::test]
async fn a_receiver_that_redis_lets_go_for_its_slowness_is_told_so() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1"]);
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(&redis, Behind::Receiver(&proxy), 50_000).await;
    proxy.hold();
    let log = redis.folder.path().join("redis.log");
    eventually("the end of its patience", || {
        fs::read_to_string(&log).unwrap().contains("overcoming of output buffer limits")
    })
    .await;
    proxy.release();
    experiment.told(&["failed", "reconnected"]).await;
    let missing = experiment.end().await;
    assert!(!missing.is_empty());
}
