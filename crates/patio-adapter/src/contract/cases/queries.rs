//! What is known of sockets and rooms on all servers.

use std::collections::BTreeSet;

use super::{Servers, ensure, ensure_eq, failed};
use crate::{
    BroadcastOptions, Room, SocketSnapshot,
    contract::{Verdict, id, namespace::data},
};

async fn fetch(
    servers: &Servers,
    options: BroadcastOptions,
    expected: impl Fn(usize, char) -> bool,
) -> Result<Vec<SocketSnapshot>, String> {
    let fetched = servers.adapter(0).fetch_sockets(&options).await.map_err(failed)?;
    let mut ids: Vec<_> = fetched.sockets.iter().map(|socket| socket.id.clone()).collect();
    ids.sort();
    let mut wanted: Vec<_> =
        servers.all().filter(|&(n, which)| expected(n, which)).map(|(n, which)| id(n, which)).collect();
    wanted.sort();
    ensure_eq!(ids, wanted, "sockets fetched");
    ensure_eq!(fetched.missing, 0, "servers that did not answer");
    Ok(fetched.sockets)
}

pub(super) async fn all_sockets_are_fetched_once(servers: &Servers) -> Verdict {
    for socket in fetch(servers, BroadcastOptions::everyone(), |_, _| true).await? {
        ensure!(socket.rooms.contains(&socket.id), "a socket is not in its own room: {:?}", socket.rooms);
        ensure_eq!(socket.rooms.len(), if socket.rooms.contains(&"all-a".into()) { 4 } else { 3 }, "rooms");
        ensure_eq!(socket.data, data(&socket.id), "data");
        let handshake: serde_json::Value = socket.handshake.read().map_err(|error| error.to_string())?;
        ensure_eq!(handshake["auth"]["id"], *socket.id, "auth in the handshake");
        ensure_eq!(handshake["issued"], 1_795_340_645_303_u64, "issued in the handshake");
        ensure_eq!(handshake["headers"]["user-agent"], "test", "headers in the handshake");
    }
    Ok(())
}

pub(super) async fn sockets_of_a_room_are_fetched(servers: &Servers) -> Verdict {
    fetch(servers, BroadcastOptions::to("all-a"), |_, which| which == 'a').await?;
    let options = BroadcastOptions::to(["all-a", "on-0"]).except(id(0, 'a'));
    fetch(servers, options, |n, which| (n == 0) == (which == 'b')).await?;
    fetch(servers, BroadcastOptions::to("nobody is here"), |_, _| false).await?;
    Ok(())
}

pub(super) async fn one_socket_is_fetched_by_id(servers: &Servers) -> Verdict {
    for target in servers.all().collect::<Vec<_>>() {
        let options = BroadcastOptions::to(id(target.0, target.1));
        fetch(servers, options, |n, which| (n, which) == target).await?;
    }
    Ok(())
}

pub(super) async fn sockets_of_this_server_are_fetched(servers: &Servers) -> Verdict {
    fetch(servers, BroadcastOptions::everyone().local(), |n, _| n == 0).await?;
    Ok(())
}

pub(super) async fn sockets_are_counted(servers: &Servers) -> Verdict {
    let all = servers.len();
    for (options, number) in [
        (BroadcastOptions::everyone(), 2 * all),
        (BroadcastOptions::to("all-a"), all),
        (BroadcastOptions::everyone().except("on-0"), 2 * (all - 1)),
        (BroadcastOptions::everyone().local(), 2),
        (BroadcastOptions::to("nobody is here"), 0),
    ] {
        let counted = servers.adapter(0).count(&options).await.map_err(failed)?;
        ensure_eq!((counted.sockets, counted.missing), (number, 0), "sockets counted, servers missing");
    }
    Ok(())
}

pub(super) async fn all_rooms_are_listed(servers: &Servers) -> Verdict {
    let listed = match servers.adapter(0).all_rooms().await {
        Ok(listed) => listed,
        // Node's cluster protocol has no message for it.
        Err(error) if error.is_unsupported() => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut wanted: BTreeSet<Room> = ["all-a".into(), "all-b".into(), "42".into()].into();
    for (n, which) in servers.all() {
        wanted.insert(id(n, which));
        wanted.insert(Room::from(format!("on-{n}")));
    }
    ensure_eq!(listed.rooms.len(), wanted.len(), "number of rooms");
    ensure_eq!(listed.rooms.into_iter().collect::<BTreeSet<_>>(), wanted, "rooms");
    ensure_eq!(listed.missing, 0, "servers that did not answer");
    Ok(())
}

pub(super) async fn queries_at_once_do_not_mix(servers: &Servers) -> Verdict {
    let queries = (0..30).map(|n| async move {
        let letter = if n % 2 == 0 { 'a' } else { 'b' };
        fetch(servers, BroadcastOptions::to(format!("all-{letter}")), |_, which| which == letter).await
    });
    for outcome in futures_util::future::join_all(queries).await {
        outcome?;
    }
    Ok(())
}
