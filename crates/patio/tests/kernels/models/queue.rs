//! The queue of a client, and who writes it when: `engine/session`, `engine/outbound` and `engine/flush` together.

use std::sync::Arc;

use libtest_mimic::Trial;
use patio_proto::engine::{CloseReason, Message, Protocol};
use shuttle::{future::block_on, thread};

#[cfg(unix)]
use super::model::read_all;
use super::model::{Connected, assert_order, enter_runtime, poll_all, say, say_each, trial};
use crate::{
    config::{Config, Limits},
    engine::{Engine, flush::Turn},
    engine_io::{Client, Handler, Plain},
    reason::DisconnectReason,
};

pub(super) fn all() -> Vec<Trial> {
    vec![
        trial("queue::a_websocket_gets_everything_in_order", a_websocket_gets_everything_in_order),
        #[cfg(unix)]
        trial(
            "queue::a_websocket_on_tcp_gets_everything_in_order",
            a_websocket_on_tcp_gets_everything_in_order,
        ),
        trial("queue::a_polling_client_gets_everything_in_order", a_polling_client_gets_everything_in_order),
        trial("queue::a_full_queue_closes_once", a_full_queue_closes_once),
        trial("queue::what_was_queued_before_a_close_comes_before_it", what_was_queued_before_a_close),
    ]
}

/// Two senders, one of them in a turn of a connection; a pipe that takes a packet and a half at a time.
fn a_websocket_gets_everything_in_order() {
    let (engine, _) = engine(Limits::default());
    let _inside = enter_runtime();
    let (connected, mut far) = Connected::websocket(&engine, 7);
    let workers = connected.workers();
    drop(engine);
    let senders = two_senders(&connected);
    let came = block_on(far.hear_all(5));
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_order(&came, &["a1", "a2"]);
    assert_order(&came, &["b1", "b2", "b3"]);
    connected.session.close(CloseReason::ForcedClose);
    drop(far);
    connected.end();
    workers.end();
}

/// The same on a stream that any thread writes.
#[cfg(unix)]
fn a_websocket_on_tcp_gets_everything_in_order() {
    let (engine, _) = engine(Limits::default());
    let _inside = enter_runtime();
    let (connected, mut far) = Connected::websocket_on_tcp(&engine);
    let workers = connected.workers();
    drop(engine);
    let senders = two_senders(&connected);
    let came = read_all(&mut far, 5);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_order(&came, &["a1", "a2"]);
    assert_order(&came, &["b1", "b2", "b3"]);
    connected.session.close(CloseReason::ForcedClose);
    drop(far);
    connected.end_on_tcp();
    workers.end();
}

fn a_polling_client_gets_everything_in_order() {
    let (engine, _) = engine(Limits::default());
    let _inside = enter_runtime();
    let connected = Connected::polling(&engine, "sid", Protocol::V4);
    let workers = connected.workers();
    drop(engine);
    let senders = two_senders(&connected);
    let came = block_on(poll_all(&connected.session, 5));
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert_order(&came, &["a1", "a2"]);
    assert_order(&came, &["b1", "b2", "b3"]);
    connected.session.close(CloseReason::TransportError);
    connected.end();
    workers.end();
}

fn two_senders(connected: &Connected<Plain>) -> [thread::JoinHandle<()>; 2] {
    let [a, b] = [Arc::clone(&connected.session), Arc::clone(&connected.session)];
    let a = thread::spawn(move || {
        let turn = Turn::of_connection();
        say(&a, "a1");
        say(&a, "a2");
        drop(turn);
    });
    let b = thread::spawn(move || say_each(&b, &["b1", "b2", "b3"]));
    [a, b]
}

/// Three senders fill a queue of two places at once, and somebody closes the session besides.
fn a_full_queue_closes_once() {
    let (engine, ends) = engine(Limits { outbound_packets: 2, ..Limits::default() });
    let _inside = enter_runtime();
    let connected = Connected::polling(&engine, "sid", Protocol::V4);
    let workers = connected.workers();
    let senders = [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]].map(|texts| {
        let session = Arc::clone(&connected.session);
        thread::spawn(move || say_each(&session, &texts))
    });
    let session = Arc::clone(&connected.session);
    let other = thread::spawn(move || session.close(CloseReason::TransportError));
    senders.into_iter().chain([other]).for_each(|thread| thread.join().unwrap());
    assert!(connected.session.is_closed());
    let slow = engine.counters.snapshot().slow_clients;
    drop(engine);
    connected.end();
    workers.end();
    let ends = std::mem::take(&mut *ends.lock().unwrap());
    match &ends[..] {
        [DisconnectReason::SlowClient] => assert_eq!(slow, 1),
        [DisconnectReason::TransportError] => assert_eq!(slow, 0),
        other => panic!("{other:?}"),
    }
}

/// One thread sends and closes, another goes on sending.
fn what_was_queued_before_a_close() {
    let (engine, ends) = engine(Limits::default());
    let _inside = enter_runtime();
    let (connected, mut far) = Connected::websocket(&engine, 7);
    let workers = connected.workers();
    drop(engine);
    let [closing, going_on] = [Arc::clone(&connected.session), Arc::clone(&connected.session)];
    let threads = [
        thread::spawn(move || {
            say_each(&closing, &["a1", "a2"]);
            closing.close(CloseReason::ForcedClose);
        }),
        thread::spawn(move || say_each(&going_on, &["b1", "b2"])),
    ];
    let came = block_on(async {
        let mut came = Vec::new();
        while let Some(text) = far.hear().await {
            came.push(text);
        }
        came
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_order(&came, &["a1", "a2"]);
    let others: Vec<_> = came.iter().filter(|text| text.starts_with('b')).collect();
    assert!(["b1", "b2"].iter().zip(&others).all(|(sent, came)| sent == came), "{came:?}");
    drop(far);
    connected.end();
    workers.end();
    assert_eq!(*ends.lock().unwrap(), [DisconnectReason::ForcedClose]);
}

/// Why sessions ended. The models' threads are none of the system's: this lock is never waited for.
type Ends = Arc<std::sync::Mutex<Vec<DisconnectReason>>>;

fn engine(limits: Limits) -> (Arc<Engine<Plain>>, Ends) {
    struct Tell(Ends);

    impl Handler for Tell {
        fn message(&self, _: &Client, _: Message) {}

        fn closed(&self, _: &Client, reason: DisconnectReason) {
            self.0.lock().unwrap().push(reason);
        }
    }

    let ends = Ends::default();
    let handler: Box<dyn Handler> = Box::new(Tell(Arc::clone(&ends)));
    (Arc::new(Engine::new(Config { limits, ..Config::default() }, handler)), ends)
}
