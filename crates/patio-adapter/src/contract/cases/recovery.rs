//! Connection state recovery: the session on one server, what it missed from another, the return to a third.

use super::{Servers, ensure, ensure_eq, event, failed};
use crate::{
    BroadcastOptions, Offset, SessionRecord,
    contract::{
        Verdict, id,
        namespace::{Happened, data, is_fence},
    },
};

/// Sends an event to everyone, and returns the offset with which socket a of server 0 got it.
async fn seen(servers: &Servers) -> Result<Offset, String> {
    servers.adapter(0).broadcast(&event("seen", 1), &BroadcastOptions::everyone()).map_err(failed)?;
    servers.settle().await?;
    offsets(servers, 0, 'a').pop().ok_or_else(|| "the event came without offset".to_owned())
}

fn offsets(servers: &Servers, n: usize, which: char) -> Vec<Offset> {
    let log = servers.log(n, which);
    log.into_iter()
        .filter_map(|happened| match happened {
            Happened::Event { offset, .. } => offset,
            _ => None,
        })
        .collect()
}

/// The session of socket a of server 0.
fn session() -> SessionRecord {
    let sid = id(0, 'a');
    let data = data(&sid);
    SessionRecord { rooms: vec![sid.clone(), "all-a".into()], sid, pid: "a-private-id-20-chars".into(), data }
}

async fn persist(servers: &Servers) -> Verdict {
    servers.adapter(0).persist(session());
    // Persisting may be under way to a store.
    servers.settle().await
}

fn last(servers: &Servers) -> usize {
    servers.len() - 1
}

pub(super) async fn a_session_is_restored_with_what_it_missed(servers: &Servers) -> Verdict {
    let seen = seen(servers).await?;
    persist(servers).await?;
    let sender = servers.adapter(last(servers) / 2);
    sender.broadcast(&event("missed", 1), &BroadcastOptions::everyone()).map_err(failed)?;
    sender.broadcast(&event("missed", 2), &BroadcastOptions::to("all-a")).map_err(failed)?;
    sender.broadcast(&event("missed", 3), &BroadcastOptions::to(id(0, 'a'))).map_err(failed)?;
    servers.settle().await?;
    let restored = servers.adapter(last(servers)).restore(&session().pid, seen.as_str()).await;
    let restored = restored.ok_or("the session was not restored")?;
    ensure_eq!(restored.session, session(), "session");
    let missed = restored.missed.iter().map(|(payload, _)| payload.clone());
    let missed: Vec<_> = missed.filter(|payload| !is_fence(payload)).collect();
    ensure_eq!(missed, [event("missed", 1), event("missed", 2), event("missed", 3)], "missed packets");
    let mut previous = seen;
    for (_, offset) in restored.missed {
        ensure!(offset > previous, "{offset} is not after {previous}");
        previous = offset;
    }
    ensure!(restored.cursor >= previous, "the cursor {} is before {previous}", restored.cursor);
    Ok(())
}

pub(super) async fn what_a_session_would_not_have_got_is_not_replayed(servers: &Servers) -> Verdict {
    let seen = seen(servers).await?;
    persist(servers).await?;
    let adapter = servers.adapter(last(servers));
    adapter.broadcast(&event("not", 1), &BroadcastOptions::to("all-b")).map_err(failed)?;
    adapter.broadcast(&event("not", 2), &BroadcastOptions::everyone().except("all-a")).map_err(failed)?;
    adapter.broadcast(&event("not", 3), &BroadcastOptions::to("all-a").except(id(0, 'a'))).map_err(failed)?;
    drop(adapter.broadcast_with_ack(&event("not", 4), &BroadcastOptions::everyone()));
    servers.settle().await?;
    let restored = adapter.restore(&session().pid, seen.as_str()).await.ok_or("not restored")?;
    for (payload, _) in restored.missed {
        ensure!(payload.event_name().as_deref() != Some("not"), "{payload:?} was replayed");
    }
    Ok(())
}

pub(super) async fn an_unknown_session_is_not_restored(servers: &Servers) -> Verdict {
    let seen = seen(servers).await?;
    persist(servers).await?;
    for pid in ["", "another-private-id-20", "*"] {
        let restored = servers.adapter(0).restore(pid, seen.as_str()).await;
        ensure!(restored.is_none(), "{pid:?} was restored");
    }
    Ok(())
}

pub(super) async fn an_unknown_offset_is_not_restored(servers: &Servers) -> Verdict {
    for offset in ["", "x", "0", "0-0", "-", "+", "1-1", "99999999999999999999-1", "é"] {
        persist(servers).await?;
        let restored = servers.adapter(0).restore(&session().pid, offset).await;
        ensure!(restored.is_none(), "it was restored from {offset:?}");
    }
    Ok(())
}

pub(super) async fn a_replay_continues_at_the_cursor(servers: &Servers) -> Verdict {
    let seen = seen(servers).await?;
    persist(servers).await?;
    let adapter = servers.adapter(last(servers));
    let restored = adapter.restore(&session().pid, seen.as_str()).await.ok_or("not restored")?;
    adapter.broadcast(&event("later", 1), &BroadcastOptions::to("all-a")).map_err(failed)?;
    adapter.broadcast(&event("not", 1), &BroadcastOptions::to("all-b")).map_err(failed)?;
    servers.settle().await?;
    let replayed = adapter.replay(&restored.cursor, &restored.session.rooms).await.ok_or("no replay")?;
    let names: Vec<_> = replayed.missed.iter().filter_map(|(payload, _)| payload.event_name()).collect();
    ensure_eq!(names.iter().filter(|name| *name == "later").count(), 1, "later packets");
    ensure_eq!(names.iter().filter(|name| *name == "not").count(), 0, "packets for others");
    ensure!(replayed.cursor > restored.cursor, "the cursor did not move");
    Ok(())
}

pub(super) async fn offsets_grow_in_the_order_of_delivery(servers: &Servers) -> Verdict {
    for n in 0..50 {
        let sender = servers.adapter(n % servers.len());
        sender.broadcast(&event("n", n), &BroadcastOptions::everyone()).map_err(failed)?;
    }
    servers.settle().await?;
    for (n, which) in servers.all() {
        let offsets = offsets(servers, n, which);
        ensure_eq!(offsets.len(), 50, "packets with an offset");
        ensure!(offsets.is_sorted_by(|a, b| a < b), "offsets do not grow: {offsets:?}");
    }
    Ok(())
}
