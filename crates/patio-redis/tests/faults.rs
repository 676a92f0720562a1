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
use patio_redis::{PubSub, Sharded, Streams};
use server::{Node, Redis, eventually, proxy::Proxy};
use tokio::{task::JoinHandle, time::sleep};

const SOCKET: &str = "a-socket-of-20-chars";
/// That of the sender.
const OWN: &str = "own-socket-with-20-c";

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

/// Which adapter the servers have.
type Make = fn(url: String, key: &str) -> Arc<dyn AdapterFactory>;

fn pub_sub(url: String, key: &str) -> Arc<dyn AdapterFactory> {
    Arc::new(PubSub::builder(url).key(key).build().unwrap())
}

fn sharded(url: String, key: &str) -> Arc<dyn AdapterFactory> {
    Arc::new(Sharded::builder(url).channel_prefix(key).build().unwrap())
}

fn streams(url: String, key: &str) -> Arc<dyn AdapterFactory> {
    Arc::new(Streams::builder(url).stream_name(key).channel_prefix(key).build().unwrap())
}

/// Whose own events come back from the stream.
fn recovering(url: String, key: &str) -> Arc<dyn AdapterFactory> {
    let streams = streams(url, key);
    streams.enable_recovery(Duration::from_secs(120));
    streams
}

/// Whose connections are broken.
enum Behind<'a> {
    Sender(&'a Proxy),
    Receiver(&'a Proxy),
}

impl Experiment {
    async fn start(make: Make, redis: &Redis, proxy: Behind<'_>, size: usize) -> Self {
        static LAST_KEY: AtomicU64 = AtomicU64::new(0);

        // A key of its own, for those that share a Redis.
        let key = &format!("experiment-{}", LAST_KEY.fetch_add(1, SeqCst));
        let (sender, receiver) = match &proxy {
            Behind::Sender(proxy) => (make(proxy.url(), key), make(redis.url(), key)),
            Behind::Receiver(proxy) => (make(redis.url(), key), make(proxy.url(), key)),
        };
        let (last, told) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let watched = if matches!(proxy, Behind::Sender(_)) { &sender } else { &receiver };
        let (number, news) = (last.clone(), told.clone());
        watched.watch(Arc::new(move |event| {
            let name = if let AdapterEvent::Reconnected = event { "reconnected" } else { "failed" };
            news.lock().push((name, number.load(SeqCst)));
        }));
        let sender = Arc::new(Node::join(&*sender, "/").await);
        sender.namespace.connect(&Room::from(OWN), &[]);
        let receiver = Node::join(&*receiver, "/").await;
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
        Self::of(&self.receiver, SOCKET)
    }

    fn of(node: &Node, socket: &str) -> Vec<u64> {
        let log = node.namespace.socket(&Room::from(socket)).unwrap().log;
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
        // Whatever became of Redis, the sender's own clients got each once.
        eventually("the sender's own events", || Self::of(&self.sender, OWN).len() as u64 >= last).await;
        let mut own = Self::of(&self.sender, OWN);
        own.sort_unstable();
        assert!(own.iter().copied().eq(1..=last), "the sender's own: {own:?}");
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

/// What is missing after five cuts of the receiver.
async fn missing_after_cuts_of_the_receiver(make: Make) -> Vec<u64> {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(make, &redis, Behind::Receiver(&proxy), 10).await;
    for round in 1..=5 {
        proxy.cut();
        experiment.told(&["failed", "reconnected"].repeat(round)).await;
        experiment.goes_on().await;
    }
    let refused = experiment.refused.clone();
    let missing = experiment.end().await;
    assert!(refused.lock().is_empty(), "the sender was not concerned");
    missing
}

#[tokio::test]
async fn a_receiver_that_is_cut_off_misses_what_is_sent_until_it_is_back() {
    assert!(!missing_after_cuts_of_the_receiver(pub_sub).await.is_empty());
    assert!(!missing_after_cuts_of_the_receiver(sharded).await.is_empty());
}

#[tokio::test]
async fn a_reader_of_a_stream_that_is_cut_off_misses_nothing() {
    assert_eq!(missing_after_cuts_of_the_receiver(streams).await, Vec::<u64>::new());
    assert_eq!(missing_after_cuts_of_the_receiver(recovering).await, Vec::<u64>::new());
}

async fn a_sender_is_cut_off(make: Make) {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(make, &redis, Behind::Sender(&proxy), 10).await;
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
async fn a_sender_that_is_cut_off_counts_what_does_not_get_out() {
    a_sender_is_cut_off(pub_sub).await;
    a_sender_is_cut_off(sharded).await;
    a_sender_is_cut_off(streams).await;
}

#[tokio::test]
async fn clients_of_a_sender_that_is_cut_off_get_their_server_s_own_events_once() {
    a_sender_is_cut_off(recovering).await;
}

#[tokio::test]
async fn a_stall_of_two_seconds_loses_nothing() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let mut experiments = Vec::new();
    for make in [pub_sub, streams] {
        experiments.push(Experiment::start(make, &redis, Behind::Sender(&proxy), 10).await);
        experiments.push(Experiment::start(make, &redis, Behind::Receiver(&proxy), 10).await);
    }
    proxy.hold();
    sleep(Duration::from_secs(2)).await;
    proxy.release();
    for experiment in experiments {
        experiment.told(&[]).await;
        assert_eq!(experiment.end().await, Vec::<u64>::new());
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_given_up() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let experiment = Experiment::start(pub_sub, &redis, Behind::Receiver(&proxy), 10).await;
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
    let experiment = Experiment::start(pub_sub, &redis, Behind::Receiver(&proxy), 50_000).await;
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
