//! Rooms and the news of them: `hub` and `rooms`, with whole sockets that join, leave and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicBool, Ordering},
    },
};

use libtest_mimic::Trial;
use patio_adapter::Room;
use patio_proto::engine::{CloseReason, Protocol};
use shuttle::thread;

use super::model::{Connected, enter_runtime, trial};
use crate::{connection::Connection, namespace::Namespace, rooms::RoomEvent, server::Server};

pub(super) fn all() -> Vec<Trial> {
    vec![trial("rooms::news_come_in_order_and_none_is_kept_back", news_come_in_order_and_none_is_kept_back)]
}

/// Three sockets come into one room and go, one of them with its connection.
fn news_come_in_order_and_none_is_kept_back() {
    let news = Arc::new(StdMutex::new(Vec::new()));
    let told = Arc::clone(&news);
    let telling = AtomicBool::new(false);
    let listener = move |event: &RoomEvent| {
        assert!(!telling.swap(true, Ordering::Relaxed), "two threads tell at once");
        thread::yield_now();
        told.lock().unwrap().push(event.clone());
        telling.store(false, Ordering::Relaxed);
    };
    let server = Server::builder().namespace("/", Namespace::new().on_room_event(listener)).build().unwrap();
    let engine = server.service().engine;
    let clients: [Connected<Connection>; 3] =
        ["one", "two", "three"].map(|sid| Connected::polling(&engine, sid, Protocol::V3));
    drop(engine);
    let _inside = enter_runtime();
    let workers = clients[0].workers();
    let threads: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(n, client)| {
            let socket = server.of("/").socket(client.session.sid()).unwrap();
            let session = Arc::clone(&client.session);
            thread::spawn(move || {
                socket.join("room");
                match n {
                    0 => socket.leave("room"),
                    1 => session.close(CloseReason::TransportError),
                    _ => socket.disconnect(false),
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for client in &clients {
        client.session.close(CloseReason::TransportError);
    }
    clients.into_iter().for_each(Connected::end);
    assert_eq!(server.of("/").rooms(), Vec::<Room>::new());
    drop(server);
    workers.end();
    check(&news.lock().unwrap());
}

/// That a room begins when it is not there, ends when it is empty, and that in the end none is left.
#[track_caller]
fn check(news: &[RoomEvent]) {
    let mut rooms: BTreeMap<Room, BTreeSet<Room>> = BTreeMap::new();
    for event in news {
        let fits = match event {
            RoomEvent::Create(room) => rooms.insert(room.clone(), BTreeSet::new()).is_none(),
            RoomEvent::Join(room, id) => rooms.get_mut(room).is_some_and(|room| room.insert(id.clone())),
            RoomEvent::Leave(room, id) => rooms.get_mut(room).is_some_and(|room| room.remove(id)),
            RoomEvent::Delete(room) => rooms.remove(room).is_some_and(|room| room.is_empty()),
        };
        assert!(fits, "{event:?} in {news:?}");
    }
    assert!(rooms.is_empty() && !news.is_empty(), "{news:?}");
}
