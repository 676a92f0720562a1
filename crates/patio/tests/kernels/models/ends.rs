//! The end of a socket: `socket/life`, `hub` and the driver, when several bring it about at once.

use std::sync::{Arc, Mutex as StdMutex};

use libtest_mimic::Trial;
use patio_proto::engine::{CloseReason, Protocol};
use shuttle::{future::block_on, thread};

use super::model::{Connected, enter_runtime, trial};
use crate::{connection::Connection, namespace::Namespace, reason::DisconnectReason, server::Server};

pub(super) fn all() -> Vec<Trial> {
    vec![trial(
        "ends::a_socket_ends_once_and_who_waits_hears_of_it",
        a_socket_ends_once_and_who_waits_hears_of_it,
    )]
}

/// Its namespace disconnects it, its connection fails, and somebody waits for its end.
fn a_socket_ends_once_and_who_waits_hears_of_it() {
    let reasons = Arc::new(StdMutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let namespace = Namespace::new()
        .on_disconnect(async move |reason: DisconnectReason| told.lock().unwrap().push(reason));
    let server = Server::builder().namespace("/", namespace).build().unwrap();
    let client: Connected<Connection> = Connected::polling(&server.service().engine, "one", Protocol::V3);
    let _inside = enter_runtime();
    let workers = client.workers();
    let socket = server.of("/").socket("one").unwrap();
    socket.join("room");
    let [disconnected, awaited] = [socket.clone(), socket.clone()];
    let (session, namespace) = (Arc::clone(&client.session), server.of("/"));
    let threads = [
        thread::spawn(move || disconnected.disconnect(false)),
        thread::spawn(move || namespace.in_room("room").disconnect_sockets(false).unwrap()),
        thread::spawn(move || session.close(CloseReason::TransportError)),
        thread::spawn(move || block_on(awaited.closed())),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    client.end();
    let reasons = std::mem::take(&mut *reasons.lock().unwrap());
    let possible = [DisconnectReason::ServerNamespaceDisconnect, DisconnectReason::TransportError];
    assert!(matches!(&reasons[..], [one] if possible.contains(one)), "{reasons:?}");
    assert!(server.of("/").is_empty() && server.of("/").rooms().is_empty() && !socket.is_connected());
    drop((server, socket));
    workers.end();
}
