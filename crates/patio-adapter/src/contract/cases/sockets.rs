//! Sockets of all servers join, leave and are disconnected.

use super::{Servers, ensure, ensure_eq, event, failed};
use crate::{
    BroadcastOptions, Room,
    contract::{Verdict, id, namespace::Happened},
};

/// After everything has arrived: exactly the sockets for which `expected` is true are in `room`.
async fn members(servers: &Servers, room: &str, expected: impl Fn(usize, char) -> bool) -> Verdict {
    servers.settle().await?;
    for (n, which) in servers.all() {
        let socket = servers.node(n).namespace.socket(&id(n, which));
        let is_in = socket.is_some_and(|socket| socket.rooms.contains(room));
        ensure!(is_in == expected(n, which), "socket {which} of server {n} in {room}: {is_in}");
    }
    Ok(())
}

async fn join(
    servers: &Servers,
    options: BroadcastOptions,
    expected: impl Fn(usize, char) -> bool,
) -> Verdict {
    servers.adapter(0).join(&options, &["new".into(), "newer".into()]).map_err(failed)?;
    members(servers, "new", &expected).await?;
    members(servers, "newer", &expected).await
}

async fn leave(
    servers: &Servers,
    options: BroadcastOptions,
    still_in: impl Fn(usize, char) -> bool,
) -> Verdict {
    servers.adapter(0).leave(&options, &["all-a".into(), "all-b".into()]).map_err(failed)?;
    members(servers, "all-a", |n, which| which == 'a' && still_in(n, which)).await?;
    members(servers, "all-b", |n, which| which == 'b' && still_in(n, which)).await
}

fn last(servers: &Servers) -> usize {
    servers.len() - 1
}

pub(super) async fn everyone_joins(servers: &Servers) -> Verdict {
    join(servers, BroadcastOptions::everyone(), |_, _| true).await
}

pub(super) async fn members_of_a_room_join(servers: &Servers) -> Verdict {
    join(servers, BroadcastOptions::to("all-a").except("on-0"), |n, which| n != 0 && which == 'a').await
}

pub(super) async fn one_socket_joins_by_id(servers: &Servers) -> Verdict {
    let target = (last(servers), 'b');
    join(servers, BroadcastOptions::to(id(target.0, target.1)), |n, which| (n, which) == target).await
}

pub(super) async fn only_sockets_of_this_server_join(servers: &Servers) -> Verdict {
    join(servers, BroadcastOptions::everyone().local(), |n, _| n == 0).await
}

pub(super) async fn everyone_leaves(servers: &Servers) -> Verdict {
    leave(servers, BroadcastOptions::everyone(), |_, _| false).await
}

pub(super) async fn members_of_a_room_leave(servers: &Servers) -> Verdict {
    leave(servers, BroadcastOptions::to("all-a"), |_, which| which != 'a').await
}

pub(super) async fn one_socket_leaves_by_id(servers: &Servers) -> Verdict {
    let target = (last(servers), 'a');
    leave(servers, BroadcastOptions::to(id(target.0, target.1)), |n, which| (n, which) != target).await
}

pub(super) async fn a_joined_room_is_reached_and_a_left_one_is_not(servers: &Servers) -> Verdict {
    let target = (last(servers), 'b');
    let one = BroadcastOptions::to(id(target.0, target.1));
    servers.adapter(0).join(&one, &["new".into()]).map_err(failed)?;
    servers.settle().await?;
    servers.adapter(0).broadcast(&event("joined", 1), &BroadcastOptions::to("new")).map_err(failed)?;
    servers.only(&event("joined", 1), |n, which| (n, which) == target).await?;
    servers.adapter(0).leave(&one, &["new".into()]).map_err(failed)?;
    servers.settle().await?;
    servers.adapter(0).broadcast(&event("left", 1), &BroadcastOptions::to("new")).map_err(failed)?;
    servers.only(&event("left", 1), |_, _| false).await?;
    servers.adapter(0).join(&one, &["new".into()]).map_err(failed)?;
    servers.settle().await?;
    servers.adapter(0).broadcast(&event("again", 1), &BroadcastOptions::to("new")).map_err(failed)?;
    servers.only(&event("again", 1), |n, which| (n, which) == target).await
}

async fn disconnect(
    servers: &Servers,
    options: BroadcastOptions,
    close: bool,
    expected: impl Fn(usize, char) -> bool,
) -> Verdict {
    servers.adapter(0).disconnect(&options, close).map_err(failed)?;
    servers.settle().await?;
    for (n, which) in servers.all() {
        let expected = if expected(n, which) { vec![Happened::Disconnected(close)] } else { Vec::new() };
        ensure_eq!(servers.log(n, which), expected, "what happened to a socket");
    }
    Ok(())
}

pub(super) async fn everyone_is_disconnected(servers: &Servers) -> Verdict {
    disconnect(servers, BroadcastOptions::everyone(), false, |_, _| true).await
}

pub(super) async fn members_of_a_room_are_disconnected_with_their_connections(servers: &Servers) -> Verdict {
    disconnect(servers, BroadcastOptions::to("all-b"), true, |_, which| which == 'b').await
}

pub(super) async fn only_sockets_of_this_server_are_disconnected(servers: &Servers) -> Verdict {
    disconnect(servers, BroadcastOptions::everyone().local(), false, |n, _| n == 0).await
}

pub(super) async fn a_packet_precedes_the_disconnection(servers: &Servers) -> Verdict {
    let everyone = BroadcastOptions::everyone();
    servers.adapter(0).broadcast(&event("bye", 1), &everyone).map_err(failed)?;
    servers.adapter(0).disconnect(&everyone, true).map_err(failed)?;
    servers.adapter(0).join(&everyone, &[Room::from("too late")]).map_err(failed)?;
    servers.settle().await?;
    for (n, which) in servers.all() {
        match &servers.log(n, which)[..] {
            [Happened::Event { payload, .. }, Happened::Disconnected(true)]
                if *payload == event("bye", 1) => {}
            other => return Err(format!("to socket {which} of server {n} happened {other:?}")),
        }
    }
    Ok(())
}
