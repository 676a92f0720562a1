//! Events to sockets.

use bytes::Bytes;
use patio_proto::value::Value;

use super::{Servers, ensure, ensure_eq, event, failed};
use crate::{
    BroadcastOptions, Flags, Payload, Room,
    contract::{Verdict, id, namespace::Happened},
};

/// Sends `options` from server 0 and looks who got it.
async fn reaches(
    servers: &Servers,
    options: BroadcastOptions,
    expected: impl Fn(usize, char) -> bool,
) -> Verdict {
    let event = event("hello", 1);
    servers.adapter(0).broadcast(&event, &options).map_err(failed)?;
    servers.only(&event, expected).await
}

pub(super) async fn a_broadcast_reaches_everyone_once(servers: &Servers) -> Verdict {
    let bytes = Bytes::from_static(&[0, 1, 254, 255]);
    let event = Payload::event("hello", &(1, "é \u{1F600}", Value::Binary(bytes.clone()), [Some(1.5), None]))
        .map_err(|error| error.to_string())?;
    servers.adapter(0).broadcast(&event, &BroadcastOptions::everyone()).map_err(failed)?;
    servers.only(&event, |_, _| true).await?;
    let got = servers.got(servers.len() - 1, 'b')[0].values().map_err(|error| error.to_string())?;
    ensure_eq!(got.get(3), Some(&Value::Binary(bytes)), "what was sent as bytes");
    Ok(())
}

pub(super) async fn own_sockets_have_it_when_broadcast_returns(servers: &Servers) -> Verdict {
    let event = event("hello", 1);
    servers.adapter(0).broadcast(&event, &BroadcastOptions::everyone()).map_err(failed)?;
    let got = [servers.got(0, 'a'), servers.got(0, 'b')];
    ensure_eq!(got, [[event.clone()], [event]], "what both sockets got at once");
    Ok(())
}

pub(super) async fn a_confirmed_broadcast_reaches_everyone_once(servers: &Servers) -> Verdict {
    let event = event("hello", 1);
    let confirmed = servers.adapter(0).broadcast_confirmed(&event, &BroadcastOptions::everyone());
    confirmed.await.map_err(failed)?;
    servers.only(&event, |_, _| true).await
}

pub(super) async fn broadcasts_keep_their_order(servers: &Servers) -> Verdict {
    let events: Vec<_> = (0..100).map(|n| event("n", n)).collect();
    for event in &events {
        servers.adapter(0).broadcast(event, &BroadcastOptions::everyone()).map_err(failed)?;
    }
    servers.settle().await?;
    for (n, which) in servers.all() {
        ensure!(servers.got(n, which) == events, "socket {which} of server {n} got another order");
    }
    Ok(())
}

pub(super) async fn a_broadcast_to_a_room(servers: &Servers) -> Verdict {
    reaches(servers, BroadcastOptions::to("all-a"), |_, which| which == 'a').await
}

pub(super) async fn a_broadcast_to_a_numeric_room(servers: &Servers) -> Verdict {
    reaches(servers, BroadcastOptions::to("42"), |_, which| which == 'a').await
}

pub(super) async fn a_broadcast_to_several_rooms_reaches_members_of_both_once(servers: &Servers) -> Verdict {
    let last = servers.len() - 1;
    let rooms = ["all-a".to_owned(), format!("on-{last}")];
    reaches(servers, BroadcastOptions::to(rooms), |n, which| which == 'a' || n == last).await
}

pub(super) async fn a_broadcast_to_a_room_with_strange_characters(servers: &Servers) -> Verdict {
    let last = servers.len() - 1;
    for room in ["a#b", "*[?]", "né 房间", "\"q\\", "a room with a name of more than twenty-four bytes"] {
        let room = Room::from(room);
        let options = BroadcastOptions::to(id(last, 'b'));
        servers.adapter(0).join(&options, std::slice::from_ref(&room)).map_err(failed)?;
        servers.settle().await?;
        let event = Payload::event("hello", &*room).map_err(|error| error.to_string())?;
        servers.adapter(0).broadcast(&event, &BroadcastOptions::to(&room)).map_err(failed)?;
        servers.only(&event, |n, which| (n, which) == (last, 'b')).await?;
    }
    Ok(())
}

pub(super) async fn a_broadcast_except_a_room(servers: &Servers) -> Verdict {
    reaches(servers, BroadcastOptions::everyone().except("all-a"), |_, which| which == 'b').await
}

pub(super) async fn a_broadcast_except_a_socket(servers: &Servers) -> Verdict {
    let last = servers.len() - 1;
    let options = BroadcastOptions::everyone().except(id(last, 'a'));
    reaches(servers, options, |n, which| (n, which) != (last, 'a')).await
}

pub(super) async fn a_broadcast_to_a_room_except_another(servers: &Servers) -> Verdict {
    let options = BroadcastOptions::to("all-b").except("on-0");
    reaches(servers, options, |n, which| n != 0 && which == 'b').await
}

pub(super) async fn a_local_broadcast_stays_here(servers: &Servers) -> Verdict {
    reaches(servers, BroadcastOptions::everyone().local(), |n, _| n == 0).await
}

pub(super) async fn a_broadcast_to_one_socket_by_id(servers: &Servers) -> Verdict {
    for target in servers.all().collect::<Vec<_>>() {
        let event = Payload::event("private", &target).map_err(|error| error.to_string())?;
        let options = BroadcastOptions::to(id(target.0, target.1));
        servers.adapter(0).broadcast(&event, &options).map_err(failed)?;
        servers.only(&event, |n, which| (n, which) == target).await?;
    }
    Ok(())
}

pub(super) async fn an_empty_list_of_rooms_is_nobody(servers: &Servers) -> Verdict {
    let nobody = BroadcastOptions::to(Vec::<Room>::new());
    let adapter = servers.adapter(0);
    adapter.join(&nobody, &["joined".into()]).map_err(failed)?;
    adapter.leave(&nobody, &["all-a".into()]).map_err(failed)?;
    adapter.disconnect(&nobody, true).map_err(failed)?;
    adapter.broadcast_confirmed(&event("hello", 2), &nobody).await.map_err(failed)?;
    ensure_eq!(adapter.fetch_sockets(&nobody).await.map_err(failed)?.sockets.len(), 0, "sockets fetched");
    ensure_eq!(adapter.count(&nobody).await.map_err(failed)?.sockets, 0, "sockets counted");
    reaches(servers, nobody, |_, _| false).await?;
    for (n, which) in servers.all() {
        ensure!(servers.log(n, which).is_empty(), "something happened to socket {which} of server {n}");
        let rooms = servers.node(n).namespace.socket(&id(n, which)).map(|socket| socket.rooms);
        let rooms = rooms.unwrap_or_default();
        ensure!(!rooms.contains("joined"), "socket {which} of server {n} joined");
        ensure!(which == 'b' || rooms.contains("all-a"), "socket {which} of server {n} left");
    }
    Ok(())
}

pub(super) async fn flags_travel(servers: &Servers) -> Verdict {
    let flags = Flags { volatile: true, compress: Some(false), ..Flags::default() };
    let options = BroadcastOptions { flags, ..BroadcastOptions::everyone() };
    servers.adapter(0).broadcast(&event("hello", 1), &options).map_err(failed)?;
    servers.settle().await?;
    for n in 0..servers.len() {
        match &servers.log(n, 'a')[..] {
            [Happened::Event { flags, .. }] if flags.volatile && flags.compress == Some(false) => {}
            other => return Err(format!("server {n} got {other:?}")),
        }
    }
    Ok(())
}

pub(super) async fn namespaces_are_separate(servers: &Servers) -> Verdict {
    let others = servers.other_namespace("/other").await?;
    for (n, node) in others.iter().enumerate() {
        node.namespace.connect(&id(n, 'c'), &["all-a"]);
    }
    servers.settle_nodes(&others).await?;
    let here = event("in the main namespace", 1);
    let there = event("in the other namespace", 1);
    servers.adapter(0).broadcast(&here, &BroadcastOptions::to("all-a")).map_err(failed)?;
    others[0].adapter.broadcast(&there, &BroadcastOptions::to("all-a")).map_err(failed)?;
    servers.only(&here, |_, which| which == 'a').await?;
    servers.only(&there, |_, _| false).await?;
    servers.settle_nodes(&others).await?;
    for (n, node) in others.iter().enumerate() {
        let got = node.namespace.socket(&id(n, 'c')).map_or(0, |socket| socket.log.len());
        ensure_eq!(got, 1, "packets in the other namespace");
        node.adapter.close().await;
    }
    Ok(())
}
