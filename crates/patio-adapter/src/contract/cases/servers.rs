//! Events between servers, and servers that go.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use tokio::time::Instant;

use super::{Servers, ensure, ensure_eq, event, failed};
use crate::{
    BroadcastOptions, ServerAnswer,
    contract::{Verdict, namespace::args},
};

pub(super) async fn servers_are_counted(servers: &Servers) -> Verdict {
    for node in servers.nodes() {
        let count = node.adapter.server_count().await.map_err(failed)?;
        ensure_eq!(count, servers.len(), "servers");
    }
    Ok(())
}

pub(super) async fn an_event_reaches_the_other_servers_only(servers: &Servers) -> Verdict {
    let event = event("hello servers", 1);
    servers.adapter(0).server_side_emit(&event).map_err(failed)?;
    let arrived = || servers.nodes()[1..].iter().all(|node| !node.namespace.server_events().is_empty());
    servers.eventually("the event", arrived).await?;
    // It may have another way than the fences.
    let came = || servers.nodes().iter().skip(1).all(|node| !node.namespace.server_events().is_empty());
    servers.eventually("an event of a server", came).await?;
    servers.settle().await?;
    for (n, node) in servers.nodes().iter().enumerate() {
        let expected = if n == 0 { vec![] } else { vec![event.clone()] };
        ensure_eq!(node.namespace.server_events(), expected, "events of servers");
    }
    Ok(())
}

/// The answers, sorted, and how many are missing.
async fn ask(servers: &Servers, timeout: Duration) -> Result<(Vec<String>, usize), String> {
    let mut answers = Vec::new();
    let mut missing = 0;
    let mut events = servers.adapter(0).server_side_emit_with_ack(&event("question", 1), timeout);
    while let Some(event) = events.next().await {
        ensure!(missing == 0, "something came after Missing: {event:?}");
        match event {
            ServerAnswer::Answer { value, .. } => {
                answers.push(value.read_args::<String>(0).map_err(|error| error.to_string())?);
            }
            ServerAnswer::Missing(n) => missing = n,
        }
    }
    answers.sort();
    Ok((answers, missing))
}

pub(super) async fn other_servers_answer(servers: &Servers) -> Verdict {
    for (n, node) in servers.nodes().iter().enumerate() {
        node.namespace.answer_servers(Some(args(&format!("server {n}"))));
    }
    let started = Instant::now();
    let (answers, missing) = ask(servers, Duration::from_secs(5)).await?;
    let expected: Vec<_> = (1..servers.len()).map(|n| format!("server {n}")).collect();
    ensure_eq!(answers, expected, "answers");
    ensure_eq!(missing, 0, "missing");
    ensure!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    ensure!(servers.node(0).namespace.server_events().is_empty(), "the event came back");
    Ok(())
}

pub(super) async fn a_silent_server_is_counted(servers: &Servers) -> Verdict {
    servers.node(1).namespace.answer_servers(Some(args("server 1")));
    let started = Instant::now();
    let outcome = ask(servers, Duration::from_millis(500)).await?;
    ensure_eq!(outcome, (vec!["server 1".to_owned()], 1), "answers and missing");
    let took = started.elapsed();
    ensure!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "it took {took:?}");
    Ok(())
}

pub(super) async fn a_closed_server_is_gone(servers: &Servers) -> Verdict {
    let last = servers.len() - 1;
    servers.adapter(last).close().await;
    let started = Instant::now();
    loop {
        let count = servers.adapter(0).server_count().await.map_err(failed)?;
        if count == last {
            break;
        }
        ensure!(started.elapsed() < Duration::from_secs(15), "{count} servers are counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let event = event("hello", 1);
    servers.adapter(0).broadcast(&event, &BroadcastOptions::everyone()).map_err(failed)?;
    servers.settle_nodes(&servers.nodes()[..last]).await?;
    ensure_eq!(servers.got(1, 'a'), [event], "events of a server that is there");
    ensure_eq!(servers.got(last, 'a'), [], "events of the closed server");
    let fetched = servers.adapter(0).fetch_sockets(&BroadcastOptions::everyone()).await.map_err(failed)?;
    ensure_eq!((fetched.sockets.len(), fetched.missing), (2 * last, 0), "sockets, servers missing");
    Ok(())
}

pub(super) async fn a_closed_server_serves_its_own(servers: &Servers) -> Verdict {
    let here = servers.adapter(0);
    here.close().await;
    here.close().await;
    let event = event("hello", 1);
    here.broadcast(&event, &BroadcastOptions::everyone()).map_err(failed)?;
    here.broadcast_confirmed(&event, &BroadcastOptions::everyone()).await.map_err(failed)?;
    let got: BTreeSet<_> = ['a', 'b'].map(|which| servers.got(0, which).len()).into();
    ensure_eq!(got, BTreeSet::from([2]), "own events");
    let fetched = here.fetch_sockets(&BroadcastOptions::everyone()).await.map_err(failed)?;
    ensure_eq!((fetched.sockets.len(), fetched.missing), (2, 0), "own sockets, servers missing");
    let mut acks = here.broadcast_with_ack(&event, &BroadcastOptions::everyone());
    let mut events = 0;
    while acks.next().await.is_some() {
        events += 1;
    }
    ensure_eq!(events, 3, "one report and two answers");
    for n in 1..servers.len() {
        ensure_eq!(servers.got(n, 'a'), [], "events of the others");
    }
    Ok(())
}
