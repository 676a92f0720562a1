//! Events to sockets that ask for acks.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt;
use patio_proto::value::Value;
use tokio::time::Instant;

use super::{Servers, ensure, ensure_eq, event};
use crate::{
    AckEvent, BroadcastOptions, Payload, Room,
    contract::{
        Verdict, id,
        namespace::{Answers, args},
    },
};

/// How long silent sockets are awaited.
const SHORT: Duration = Duration::from_millis(500);
/// How long sockets that do answer may take; a case that needs all of it is wrong.
const LONG: Duration = Duration::from_secs(5);

/// What came of a question.
struct Outcome {
    /// The first argument of each answer, sorted.
    answers: Vec<String>,
    /// The sum of what servers reported.
    expected: usize,
    /// How many servers reported.
    reports: usize,
    missing: Option<(Vec<Room>, usize, usize)>,
    took: Duration,
}

async fn ask(servers: &Servers, options: BroadcastOptions) -> Result<Outcome, String> {
    let started = Instant::now();
    let mut events = servers.adapter(0).broadcast_with_ack(&event("question", 1), &options);
    let mut outcome =
        Outcome { answers: vec![], expected: 0, reports: 0, missing: None, took: started.elapsed() };
    while let Some(event) = events.next().await {
        ensure!(outcome.missing.is_none(), "something came after Missing: {event:?}");
        match event {
            AckEvent::Expected { n, .. } => {
                outcome.expected += n;
                outcome.reports += 1;
            }
            AckEvent::Answer { value, .. } => {
                outcome.answers.push(value.read_args::<String>(0).map_err(|error| error.to_string())?);
            }
            AckEvent::Missing { sids, unknown, servers } => {
                outcome.missing = Some((sids, unknown, servers));
            }
        }
    }
    outcome.answers.sort();
    outcome.took = started.elapsed();
    Ok(outcome)
}

impl Outcome {
    /// Exactly these sockets answered, nobody is missing, and it ended before its time.
    fn complete(&self, servers: &Servers, expected: impl Fn(usize, char) -> bool) -> Verdict {
        let mut ids: Vec<String> = servers
            .all()
            .filter(|&(n, which)| expected(n, which))
            .map(|(n, which)| id(n, which).into())
            .collect();
        ids.sort();
        ensure_eq!(self.answers, ids, "answers");
        ensure_eq!(self.expected, ids.len(), "reported number of sockets");
        ensure_eq!(self.missing, None, "missing");
        ensure!(self.took < LONG, "it waited for {:?}", self.took);
        Ok(())
    }
}

fn long(options: BroadcastOptions) -> BroadcastOptions {
    options.timeout(LONG)
}

fn short(options: BroadcastOptions) -> BroadcastOptions {
    options.timeout(SHORT)
}

pub(super) async fn all_acks_come(servers: &Servers) -> Verdict {
    let outcome = ask(servers, long(BroadcastOptions::everyone())).await?;
    outcome.complete(servers, |_, _| true)?;
    ensure_eq!(outcome.reports, servers.len(), "servers that reported");
    servers.only(&event("question", 1), |_, _| true).await
}

pub(super) async fn binary_acks_stay_binary(servers: &Servers) -> Verdict {
    let last = servers.len() - 1;
    let value = Value::Binary(bytes::Bytes::from_static(&[1, 2, 255]));
    let answer = Payload::args(&value).map_err(|error| error.to_string())?;
    servers.node(last).namespace.answer_with(&id(last, 'a'), Answers::AtOnce(answer));
    let options = long(BroadcastOptions::to(id(last, 'a')));
    let mut events = servers.adapter(0).broadcast_with_ack(&event("question", 1), &options);
    let mut answers = Vec::new();
    while let Some(event) = events.next().await {
        if let AckEvent::Answer { value, .. } = event {
            answers.push(value.read_args::<Value>(0).map_err(|error| error.to_string())?);
        }
    }
    ensure_eq!(answers, [value], "answers");
    Ok(())
}

pub(super) async fn nobody_asked_is_no_answer(servers: &Servers) -> Verdict {
    ask(servers, long(BroadcastOptions::to("nobody is here"))).await?.complete(servers, |_, _| false)?;
    ask(servers, long(BroadcastOptions::to(Vec::<Room>::new()))).await?.complete(servers, |_, _| false)
}

pub(super) async fn slow_acks_come(servers: &Servers) -> Verdict {
    for (n, which) in servers.all() {
        let delay = Duration::from_millis(20 * (n as u64 + 1));
        let id = id(n, which);
        servers.node(n).namespace.answer_with(&id, Answers::After(delay, args(&id)));
    }
    ask(servers, long(BroadcastOptions::everyone())).await?.complete(servers, |_, _| true)
}

pub(super) async fn a_silent_socket_of_another_server_is_counted(servers: &Servers) -> Verdict {
    servers.node(1).namespace.answer_with(&id(1, 'b'), Answers::Never);
    let outcome = ask(servers, short(BroadcastOptions::everyone())).await?;
    ensure_eq!(outcome.answers.len(), 2 * servers.len() - 1, "answers");
    ensure_eq!(outcome.expected, 2 * servers.len(), "reported number of sockets");
    ensure_eq!(outcome.missing, Some((vec![], 1, 0)), "missing");
    ensure!(outcome.took >= SHORT && outcome.took < LONG, "it took {:?}", outcome.took);
    Ok(())
}

pub(super) async fn a_silent_socket_of_this_server_is_named(servers: &Servers) -> Verdict {
    servers.node(0).namespace.answer_with(&id(0, 'b'), Answers::Never);
    let outcome = ask(servers, short(BroadcastOptions::everyone())).await?;
    ensure_eq!(outcome.answers.len(), 2 * servers.len() - 1, "answers");
    ensure_eq!(outcome.missing, Some((vec![id(0, 'b')], 0, 0)), "missing");
    ensure!(outcome.took >= SHORT && outcome.took < LONG, "it took {:?}", outcome.took);
    Ok(())
}

pub(super) async fn a_socket_that_leaves_is_not_awaited(servers: &Servers) -> Verdict {
    servers.node(0).namespace.answer_with(&id(0, 'b'), Answers::Leaves);
    let outcome = ask(servers, long(BroadcastOptions::everyone())).await?;
    ensure_eq!(outcome.answers.len(), 2 * servers.len() - 1, "answers");
    ensure_eq!(outcome.missing, Some((vec![id(0, 'b')], 0, 0)), "missing");
    ensure!(outcome.took < LONG, "it took {:?}", outcome.took);
    Ok(())
}

pub(super) async fn a_late_ack_is_ignored(servers: &Servers) -> Verdict {
    let last = servers.len() - 1;
    let late = id(last, 'b');
    servers.node(last).namespace.answer_with(&late, Answers::After(2 * SHORT, args("too late")));
    let outcome = ask(servers, short(BroadcastOptions::everyone())).await?;
    ensure_eq!(outcome.answers.len(), 2 * servers.len() - 1, "answers");
    ensure!(outcome.missing.is_some(), "nobody is missing");
    servers.node(last).namespace.answer_with(&late, Answers::AtOnce(args(&late)));
    tokio::time::sleep(2 * SHORT).await;
    ask(servers, long(BroadcastOptions::everyone())).await?.complete(servers, |_, _| true)
}

pub(super) async fn an_ack_of_one_other_socket(servers: &Servers) -> Verdict {
    let mut options = long(BroadcastOptions::to(id(1, 'a')));
    options.flags.expect_single_response = true;
    ask(servers, options).await?.complete(servers, |n, which| (n, which) == (1, 'a'))
}

pub(super) async fn acks_with_except(servers: &Servers) -> Verdict {
    let options = long(BroadcastOptions::to("all-a").except("on-0"));
    ask(servers, options).await?.complete(servers, |n, which| n != 0 && which == 'a')
}

pub(super) async fn acks_of_this_server_only(servers: &Servers) -> Verdict {
    let outcome = ask(servers, long(BroadcastOptions::everyone().local())).await?;
    outcome.complete(servers, |n, _| n == 0)?;
    servers.only(&event("question", 1), |n, _| n == 0).await
}

pub(super) async fn questions_are_forgotten(servers: &Servers) -> Verdict {
    ask(servers, long(BroadcastOptions::everyone())).await?.complete(servers, |_, _| true)?;
    let forgotten = || servers.nodes().iter().all(|node| node.namespace.open_questions() == 0);
    servers.eventually("the end of an answered question", forgotten).await?;
    for (n, which) in servers.all() {
        servers.node(n).namespace.answer_with(&id(n, which), Answers::Never);
    }
    let outcome = ask(servers, short(BroadcastOptions::everyone())).await?;
    ensure_eq!(outcome.answers.len(), 0, "answers");
    servers.eventually("the end of an unanswered question", forgotten).await
}

pub(super) async fn a_dropped_question_is_forgotten(servers: &Servers) -> Verdict {
    for (n, which) in servers.all() {
        servers.node(n).namespace.answer_with(&id(n, which), Answers::Never);
    }
    let options = short(BroadcastOptions::everyone());
    drop(servers.adapter(0).broadcast_with_ack(&event("question", 1), &options));
    ensure_eq!(servers.node(0).namespace.open_questions(), 0, "open questions here");
    let forgotten = || servers.nodes().iter().all(|node| node.namespace.open_questions() == 0);
    servers.eventually("the end of a dropped question", forgotten).await?;
    // It was sent all the same.
    servers.only(&event("question", 1), |_, _| true).await
}

pub(super) async fn two_questions_do_not_mix(servers: &Servers) -> Verdict {
    for (n, which) in servers.all() {
        let id = id(n, which);
        servers.node(n).namespace.answer_with(&id, Answers::After(Duration::from_millis(10), args(&id)));
    }
    let questions = (0..20).map(|n| {
        let room = if n % 2 == 0 { "all-a" } else { "all-b" };
        ask(servers, long(BroadcastOptions::to(room)))
    });
    let outcomes = futures_util::future::join_all(questions).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let letter = if n % 2 == 0 { 'a' } else { 'b' };
        let outcome = outcome?;
        outcome.complete(servers, |_, which| which == letter)?;
        ensure_eq!(outcome.answers.iter().collect::<BTreeSet<_>>().len(), servers.len(), "different answers");
    }
    Ok(())
}
