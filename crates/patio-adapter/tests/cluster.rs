//! What `Cluster` does on its own: heartbeats, answers that nobody waits for, questions that nobody answers, brokers
//! that fail. A scripted broker stands for the other servers.

use std::{
    future::ready,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use parking_lot::Mutex;
use patio_adapter::{
    AckEvent, Adapter, AdapterError, AdapterFactory, BroadcastOptions, Cluster, InProcess, Local, Memory,
    NodeId, Payload, Room, ServerAnswer,
    cluster::{
        Broker, Message,
        broker::{Heartbeat, Inbox, Membership, Others},
        message::{Incoming, RequestId, Sender},
    },
    contract::namespace::{Answers, Happened, TestNamespace},
};
use tokio::time::{Instant, advance, sleep};

/// What the scripted broker is told to do, and what it was asked to do.
#[derive(Default)]
struct Script {
    inbox: OnceLock<Inbox>,
    sent: Mutex<Vec<Message>>,
    heartbeat: bool,
    loops_back: bool,
    publish_fails: bool,
    /// `Err(())`: they cannot be counted.
    others: Option<Result<Others, ()>>,
}

struct Scripted(Arc<Script>, NodeId);

impl Broker for Scripted {
    fn node(&self) -> &NodeId {
        &self.1
    }

    fn open(&self, inbox: Inbox) -> BoxFuture<'static, Result<(), AdapterError>> {
        let _ = self.0.inbox.set(inbox);
        Box::pin(ready(Ok(())))
    }

    fn publish(&self, message: &Message) -> Result<(), AdapterError> {
        self.0.sent.lock().push(message.clone());
        if self.0.publish_fails { Err(AdapterError::overloaded()) } else { Ok(()) }
    }

    fn publish_confirmed(&self, message: &Message) -> BoxFuture<'static, Result<(), AdapterError>> {
        let published = self.publish(message);
        if let (Err(_), true, Some(inbox)) = (&published, self.loops_back(message), self.0.inbox.get()) {
            let sender = Sender { node: Some(self.1.clone()), via: 0 };
            inbox.deliver(Incoming { sender, offset: None, message: message.clone() });
        }
        Box::pin(ready(published))
    }

    fn respond(&self, _to: &Sender, message: &Message) -> Result<(), AdapterError> {
        self.publish(message)
    }

    fn membership(&self) -> Membership {
        match self.0.heartbeat {
            true => Membership::Heartbeat(Heartbeat::default()),
            false => Membership::Broker,
        }
    }

    fn others(&self) -> BoxFuture<'static, Result<Others, AdapterError>> {
        let others = self.0.others.clone().unwrap_or(Ok(Others::Count(0)));
        Box::pin(ready(others.map_err(|()| AdapterError::timeout())))
    }

    fn loops_back(&self, message: &Message) -> bool {
        self.0.loops_back && message.is_command()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}

/// One server with one socket, and the script of its broker.
struct Server {
    script: Arc<Script>,
    namespace: Arc<TestNamespace>,
    adapter: Arc<Cluster<Scripted>>,
}

fn socket() -> Room {
    Room::from("a-socket-of-20-chars")
}

fn event() -> Payload {
    Payload::event("hello", &1).unwrap()
}

fn everyone() -> BroadcastOptions {
    BroadcastOptions::everyone()
}

fn weak(namespace: &Arc<TestNamespace>) -> Weak<dyn Local> {
    let local: Arc<dyn Local> = namespace.clone();
    Arc::downgrade(&local)
}

async fn server(script: Script) -> Server {
    let script = Arc::new(script);
    let namespace = TestNamespace::new("/");
    let adapter = Arc::new(Cluster::new(weak(&namespace), Scripted(script.clone(), NodeId::new("own"))));
    namespace.connect(&socket(), &[]);
    let _ = adapter.init().await;
    Server { script, namespace, adapter }
}

impl Server {
    fn receive(&self, from: &str, message: Message) {
        let sender = Sender { node: Some(NodeId::new(from)), via: 0 };
        self.script.inbox.get().unwrap().deliver(Incoming { sender, offset: None, message });
    }

    /// What was published or answered since the last look, by the names of the messages.
    fn sent(&self) -> Vec<String> {
        let sent = std::mem::take(&mut *self.script.sent.lock());
        sent.iter()
            .map(|message| format!("{message:?}").split([' ', '{']).next().unwrap().to_owned())
            .collect()
    }

    async fn servers(&self) -> usize {
        self.adapter.server_count().await.unwrap()
    }

    /// The id of the last question that was published.
    fn last_request(&self) -> RequestId {
        let sent = self.script.sent.lock();
        let request = sent.iter().rev().find_map(|message| match message {
            Message::FetchSockets { request, .. } => Some(request.clone()),
            Message::Broadcast { request, .. } | Message::ServerSideEmit { request, .. } => request.clone(),
            _ => None,
        });
        request.unwrap()
    }

    fn log(&self) -> Vec<Happened> {
        self.namespace.socket(&socket()).unwrap().log
    }
}

fn others(ids: &[&str]) -> Option<Result<Others, ()>> {
    Some(Ok(Others::Nodes(ids.iter().map(NodeId::new).collect())))
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_and_answered() {
    let server = server(Script { heartbeat: true, ..Script::default() }).await;
    assert_eq!(server.sent(), ["InitialHeartbeat"]);
    server.receive("other", Message::InitialHeartbeat);
    assert_eq!(server.sent(), ["Heartbeat"]);
    assert_eq!(server.servers().await, 2);

    sleep(Duration::from_millis(4900)).await;
    assert_eq!(server.sent(), Vec::<String>::new());
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.sent(), ["Heartbeat"]);

    // Anything that is published is as good.
    sleep(Duration::from_secs(3)).await;
    server.adapter.broadcast(&event(), &everyone()).unwrap();
    sleep(Duration::from_millis(4900)).await;
    assert_eq!(server.sent(), ["Broadcast"]);
    server.adapter.close().await;
    assert_eq!(server.sent(), ["AdapterClose"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_lost_and_not_awaited() {
    let server = server(Script { heartbeat: true, ..Script::default() }).await;
    server.receive("silent", Message::Heartbeat);
    server.receive("leaving", Message::Heartbeat);
    assert_eq!(server.servers().await, 3);
    server.receive("leaving", Message::AdapterClose);
    assert_eq!(server.servers().await, 2);

    sleep(Duration::from_secs(8)).await;
    let started = Instant::now();
    let options = everyone().timeout(Duration::from_secs(60));
    let fetched = server.adapter.fetch_sockets(&options).await.unwrap();
    assert_eq!((fetched.sockets.len(), fetched.missing), (1, 0));
    assert!(started.elapsed() < Duration::from_secs(4), "it waited for {:?}", started.elapsed());
    assert_eq!(server.servers().await, 1);
    assert_eq!(server.adapter.stats().lost_servers, 1);
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let closed = server(Script { heartbeat: true, ..Script::default() }).await;
    let dropped = server(Script { heartbeat: true, ..Script::default() }).await;
    assert_eq!(alive(), 2);
    closed.adapter.close().await;
    assert_eq!(alive(), 1);
    drop(dropped);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_waits_for_are_counted() {
    let server = server(Script { others: others(&["n1"]), ..Script::default() }).await;
    let request = RequestId::random();
    server.receive("n1", Message::Sockets { request: request.clone(), sockets: vec![] });
    server.receive("n1", Message::ClientCount { request: request.clone(), count: usize::MAX });
    server.receive("n1", Message::Ack { request, value: event() });
    assert_eq!(server.adapter.stats().stray_answers, 3);

    let mut answers = server.adapter.broadcast_with_ack(&event(), &everyone());
    let request = server.last_request();
    let count = |n| Message::ClientCount { request: request.clone(), count: n };
    server.receive("n1", count(1));
    server.receive("n1", count(1));
    server.receive("nobody", count(1));
    for _ in 0..3 {
        server.receive("n1", Message::Ack { request: request.clone(), value: event() });
    }
    let mut events = 0;
    while let Some(event) = answers.next().await {
        assert!(!matches!(event, AckEvent::Missing { .. }));
        events += 1;
    }
    assert_eq!(events, 4);
    assert_eq!(server.adapter.stats().stray_answers, 3 + 4);
    assert_eq!(server.adapter.open_questions(), (0, 0));
    server.receive("n1", Message::Ack { request, value: event() });
    assert_eq!(server.adapter.stats().stray_answers, 8);
}

/// CVE-2025-61765 (`python-socketio`): what came over the bus was unpickled, so that who could write to it could run
/// code. A broker reads bytes as one of a fixed set of messages, or reports that it cannot; their data stays as it came.
///
/// Without `garbage.add` in `cluster/broker.rs`: nothing is counted.
#[tokio::test(start_paused = true)]
async fn cve_2025_61765_garbage_on_the_bus() {
    let server = server(Script::default()).await;
    for _ in 0..3 {
        server.script.inbox.get().unwrap().garbage(&"a test");
    }
    assert_eq!(server.adapter.stats().garbage, 3);
    assert!(server.log().is_empty() && server.sent().is_empty());
    let pickled = Payload::event("x", "cos\nsystem\n(S'exit'\ntR.").unwrap();
    let foreign = Message::ServerSideEmit { payload: pickled.clone(), request: None };
    server.receive("n1", foreign);
    assert_eq!(server.namespace.server_events(), std::slice::from_ref(&pickled));
    // It is text for whoever reads it, and for all else an error.
    assert!(pickled.read_args::<Vec<u8>>(1).is_err());
    server.receive("n1", Message::Broadcast { payload: event(), options: everyone(), request: None });
    assert_eq!(server.log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_huge_promise_costs_nothing() {
    let server = server(Script { others: others(&["n1", "n2"]), ..Script::default() }).await;
    let answers = server.adapter.broadcast_with_ack(&event(), &everyone());
    let request = server.last_request();
    for node in ["n1", "n2"] {
        server.receive(node, Message::ClientCount { request: request.clone(), count: usize::MAX });
    }
    let events: Vec<_> = answers.collect().await;
    assert!(matches!(events.last(), Some(AckEvent::Missing { unknown, .. }) if *unknown > 1 << 60));
}

#[tokio::test(start_paused = true)]
async fn own_messages_are_ignored() {
    let server = server(Script::default()).await;
    server.receive("own", Message::Broadcast { payload: event(), options: everyone(), request: None });
    server.receive("own", Message::FetchSockets { request: RequestId::random(), options: everyone() });
    assert!(server.log().is_empty() && server.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_number_of_sockets_is_reported_before_their_acks() {
    let server = server(Script::default()).await;
    let request = RequestId::random();
    let ask = Message::Broadcast { payload: event(), options: everyone(), request: Some(request) };
    server.receive("n1", ask);
    assert_eq!(server.sent(), ["ClientCount", "Ack"]);
    assert_eq!((server.adapter.open_questions(), server.namespace.open_questions()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_question_of_another_server_ends_with_its_time() {
    let server = server(Script::default()).await;
    server.namespace.answer_with(&socket(), Answers::Never);
    let ask = |timeout| Message::Broadcast {
        payload: event(),
        options: everyone().timeout(timeout),
        request: Some(RequestId::random()),
    };
    server.receive("n1", ask(Duration::from_secs(2)));
    server.receive("n1", ask(Duration::from_secs(1)));
    server.receive("n1", ask(Duration::MAX));
    assert_eq!(server.adapter.open_questions(), (0, 3));
    for (seconds, open) in [(900, 3), (200, 2), (800, 2), (200, 1)] {
        sleep(Duration::from_millis(seconds)).await;
        assert_eq!(server.adapter.open_questions(), (0, open));
        assert_eq!(server.namespace.open_questions(), open);
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!((server.adapter.open_questions(), server.namespace.open_questions()), ((0, 0), 0));
    assert_eq!(server.sent(), ["ClientCount"; 3]);
}

#[tokio::test(start_paused = true)]
async fn too_many_questions_of_other_servers_are_refused() {
    let server = server(Script::default()).await;
    server.namespace.answer_with(&socket(), Answers::Never);
    for _ in 0..20_000 {
        let request = Some(RequestId::random());
        server.receive("n1", Message::Broadcast { payload: event(), options: everyone(), request });
    }
    assert_eq!(server.adapter.open_questions(), (0, 16_384));
    assert_eq!(server.adapter.stats().refused_questions, 20_000 - 16_384);
    // The event was delivered, and the number reported, all the same.
    assert_eq!(server.log().len(), 20_000);
    assert_eq!(server.sent().len(), 20_000);
    server.adapter.close().await;
    assert_eq!(server.namespace.open_questions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_nothing_does_not_hold_up_own_sockets() {
    let script = Script { publish_fails: true, others: others(&["n1", "n2"]), ..Script::default() };
    let server = server(script).await;
    assert!(server.adapter.broadcast(&event(), &everyone()).is_err());
    assert_eq!(server.log().len(), 1);

    let started = Instant::now();
    let events: Vec<_> = server.adapter.broadcast_with_ack(&event(), &everyone()).collect().await;
    let missing = AckEvent::Missing { sids: vec![], unknown: 0, servers: 2 };
    assert_eq!((events.len(), events.last()), (3, Some(&missing)));
    let answers = server.adapter.server_side_emit_with_ack(&event(), Duration::from_secs(5));
    assert_eq!(answers.collect::<Vec<_>>().await, [ServerAnswer::Missing(2)]);
    assert!(server.adapter.fetch_sockets(&everyone()).await.is_err());
    assert!(server.adapter.broadcast_confirmed(&event(), &everyone()).await.is_err());
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(server.adapter.stats().failed_publishes, 5);
    assert_eq!(server.adapter.open_questions(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looped_back_is_delivered_without_offset() {
    let server = server(Script { loops_back: true, publish_fails: true, ..Script::default() }).await;
    assert!(server.adapter.broadcast(&event(), &everyone()).is_err());
    assert!(server.adapter.broadcast_confirmed(&event(), &everyone()).await.is_err());
    assert!(server.adapter.disconnect(&everyone(), true).is_err());
    assert_eq!(server.log().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn servers_that_cannot_be_counted_are_missing() {
    let server = server(Script { others: Some(Err(())), ..Script::default() }).await;
    let started = Instant::now();
    let options = everyone().timeout(Duration::from_secs(2));
    let events: Vec<_> = server.adapter.broadcast_with_ack(&event(), &options).collect().await;
    let missing = AckEvent::Missing { sids: vec![], unknown: 0, servers: 1 };
    assert_eq!((events.len(), events.last()), (3, Some(&missing)));
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    assert!(server.adapter.fetch_sockets(&options).await.unwrap_err().is_timeout());
}

#[tokio::test(start_paused = true)]
async fn a_missing_server_makes_a_query_incomplete_not_wrong() {
    let server = server(Script { others: others(&["n1", "n2"]), ..Script::default() }).await;
    let fetch = tokio::spawn(server.adapter.fetch_sockets(&everyone().timeout(Duration::from_secs(1))));
    advance(Duration::from_millis(1)).await;
    server.receive("n1", Message::Sockets { request: server.last_request(), sockets: vec![] });
    let fetched = fetch.await.unwrap().unwrap();
    assert_eq!((fetched.sockets.len(), fetched.missing), (1, 1));
    assert_eq!(server.adapter.stats().incomplete_requests, 1);
    assert!(server.adapter.all_rooms().await.unwrap_err().is_unsupported());
}

#[test]
fn nothing_needs_a_runtime_until_something_waits() {
    let bus = InProcess::new();
    for factory in [&Memory::new() as &dyn AdapterFactory, &bus.node(), &bus.node()] {
        let namespace = TestNamespace::new("/");
        namespace.connect(&socket(), &[]);
        let adapter = factory.create("/", weak(&namespace));
        drop(adapter.init());
        adapter.broadcast(&event(), &everyone()).unwrap();
        adapter.join(&everyone(), &["room".into()]).unwrap();
        adapter.server_side_emit(&event()).unwrap();
        drop(adapter.broadcast_with_ack(&event(), &everyone()));
        assert_eq!(namespace.socket(&socket()).unwrap().log.len(), 2);
        assert_eq!(namespace.open_questions(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_did_not_answer_is_not_waited_for_again() {
    let server = server(Script { others: Some(Ok(Others::Count(2))), ..Script::default() }).await;
    let last_request = || match server.script.sent.lock().last() {
        Some(Message::FetchSockets { request, .. }) => request.clone(),
        other => panic!("{other:?}"),
    };
    let answer = |request: RequestId| {
        let sender = Sender { node: None, via: 0 };
        let message = Message::Sockets { request, sockets: Vec::new() };
        server.script.inbox.get().unwrap().deliver(Incoming { sender, offset: None, message });
    };
    // How many did not answer, and how many seconds that took.
    let ask = async |answers: usize| {
        let begin = Instant::now();
        let answering = async {
            sleep(Duration::from_millis(1)).await;
            (0..answers).for_each(|_| answer(last_request()));
        };
        let (fetched, ()) = tokio::join!(server.adapter.fetch_sockets(&everyone()), answering);
        (fetched.unwrap().missing, begin.elapsed().as_secs())
    };
    assert_eq!(ask(1).await, (1, 5));
    assert_eq!(ask(1).await, (1, 0));
    let slow = last_request();
    assert!(server.script.inbox.get().unwrap().waits_for(&slow));
    assert_eq!(ask(0).await, (2, 5));
    assert_eq!(ask(0).await, (2, 0));
    // It was only slow: all are waited for again.
    answer(slow);
    assert_eq!(ask(2).await, (0, 0));
    assert_eq!(ask(1).await, (1, 5));
    assert!(!server.script.inbox.get().unwrap().waits_for(&RequestId::new("of another server")));
}
