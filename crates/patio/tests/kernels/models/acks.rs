//! The table of acks: `socket/acks`, `socket/life` and `ack`, with whole sockets.

use std::sync::Arc;

use libtest_mimic::Trial;
use patio_proto::{
    engine::{CloseReason, Protocol},
    payload::Payload,
};
use shuttle::{future::block_on, thread};

use super::model::{Connected, enter_runtime, trial};
use crate::{connection::Connection, error::AckError, server::Server, socket::Socket};

pub(super) fn all() -> Vec<Trial> {
    vec![
        trial("acks::an_answer_and_the_end_of_the_socket", an_answer_and_the_end_of_the_socket),
        trial("acks::an_answer_and_the_end_of_the_wait", an_answer_and_the_end_of_the_wait),
        trial("acks::answers_of_many_of_whom_one_goes", answers_of_many_of_whom_one_goes),
    ]
}

/// The id of a namespace's first question.
const ID: u64 = 0;

fn an_answer_and_the_end_of_the_socket() {
    let (server, [client], [socket]) = connect(["one"]);
    let _inside = enter_runtime();
    let workers = client.workers();
    let [asking, answering] = [socket.clone(), socket.clone()];
    let session = Arc::clone(&client.session);
    let asker = thread::spawn(move || block_on(asking.emit_with_ack::<u8>("question", &()).into_future()));
    let threads = [
        // It may come before the question; the second one is one too many.
        thread::spawn(move || {
            answering.acknowledged(ID, payload(7));
            answering.acknowledged(ID, payload(8));
        }),
        thread::spawn(move || session.close(CloseReason::TransportError)),
    ];
    let answer = asker.join().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    client.end();
    let unknown = server.counters().unknown_acks;
    match answer {
        Ok(7 | 8) => assert_eq!(unknown, 1),
        Err(AckError::Disconnected) => assert_eq!(unknown, 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(socket.pending_acks(), 0);
    drop((server, socket));
    workers.end();
}

/// Its time limit and whoever loses interest do the same: the request is dropped.
fn an_answer_and_the_end_of_the_wait() {
    let (server, [client], [socket]) = connect(["one"]);
    let _inside = enter_runtime();
    let workers = client.workers();
    let [asking, answering] = [socket.clone(), socket.clone()];
    let threads = [
        thread::spawn(move || {
            let request = asking.emit_with_ack::<u8>("question", &());
            thread::yield_now();
            drop(request.into_future());
        }),
        thread::spawn(move || {
            answering.acknowledged(ID, payload(7));
            answering.acknowledged(ID, payload(8));
        }),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(socket.pending_acks(), 0);
    assert!([1, 2].contains(&server.counters().unknown_acks));
    client.session.close(CloseReason::TransportError);
    client.end();
    drop((server, socket));
    workers.end();
}

/// Everyone is asked; one answers twice, the other one goes.
fn answers_of_many_of_whom_one_goes() {
    let (server, [staying, going], [stays, goes]) = connect(["one", "two"]);
    let _inside = enter_runtime();
    let workers = staying.workers();
    let (asking, answering) = (server.clone(), stays.clone());
    let session = Arc::clone(&going.session);
    let asker = thread::spawn(move || block_on(asking.emit_with_ack::<u8>("question", &()).all()));
    let threads = [
        thread::spawn(move || {
            while answering.pending_acks() == 0 {
                thread::yield_now();
            }
            answering.acknowledged(ID, payload(7));
            answering.acknowledged(ID, payload(8));
        }),
        thread::spawn(move || session.close(CloseReason::TransportError)),
    ];
    let answers = asker.join().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    match answers {
        // It had gone before it was asked.
        Ok(answers) => assert_eq!(answers, [7]),
        Err(partial) => {
            assert_eq!(partial.answers, [7]);
            assert_eq!((&partial.missing.sockets[..], partial.invalid), (&[goes.id().clone()][..], 0));
        }
    }
    assert_eq!(server.counters().unknown_acks, 1);
    assert_eq!((stays.pending_acks(), goes.pending_acks()), (0, 0));
    staying.session.close(CloseReason::TransportError);
    going.end();
    staying.end();
    drop((server, stays, goes));
    workers.end();
}

/// A server, and clients in its main namespace.
fn connect<const N: usize>(sids: [&str; N]) -> (Server, [Connected<Connection>; N], [Socket; N]) {
    let server = Server::builder().build().unwrap();
    let engine = server.service().engine;
    let clients = sids.map(|sid| Connected::polling(&engine, sid, Protocol::V3));
    let sockets = sids.map(|sid| server.of("/").socket(sid).unwrap());
    (server, clients, sockets)
}

fn payload(answer: u8) -> Payload {
    Payload::args(&answer).unwrap()
}
