//! Broadcasts that wait for acks: from the answers to a [`Question`] to the stream that the caller gets.

use std::{future::ready, sync::Arc, time::Duration};

use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{
    AckEvent, BroadcastOptions, Local, NodeId, Payload, ServerAnswer,
    cluster::broker::Others,
    counters::Counters,
    question::{Answer, Answers, Heard, Question},
};

/// Asks only the sockets of this server. Without a namespace nobody is asked.
pub(crate) fn local_only(
    local: Option<Arc<dyn Local>>,
    node: NodeId,
    payload: &Payload,
    options: &BroadcastOptions,
    counters: Arc<Counters>,
) -> BoxStream<'static, AckEvent> {
    let question = Question::new();
    let asked = local.map(|local| local.broadcast_with_ack(payload, options, question.sink()));
    question.expect_sockets(Some(node), asked.as_ref().map_or(&[], |asked| asked.sids()));
    question.expect_servers(Others::Count(0));
    events(Answers::new(question, deadline(options.timeout_or_default()), asked, Box::new(())), counters)
}

/// The answers to a broadcast, as its caller sees them.
pub(crate) fn events(answers: Answers, counters: Arc<Counters>) -> BoxStream<'static, AckEvent> {
    let events = answers.filter_map(move |answer| {
        ready(match answer {
            Answer::Heard(node, Heard::Asked(n)) => Some(AckEvent::Expected { node, n }),
            Answer::Heard(_, Heard::Ack(sid, value)) => Some(AckEvent::Answer { sid, value }),
            Answer::Heard(..) => None,
            Answer::End(missing) => {
                let none = missing.sids.is_empty() && missing.unknown == 0 && missing.servers == 0;
                if !none {
                    counters.incomplete_requests.add();
                }
                (!none).then_some(AckEvent::Missing {
                    sids: missing.sids,
                    unknown: missing.unknown,
                    servers: missing.servers,
                })
            }
        })
    });
    Box::pin(events)
}

/// The answers to a `serverSideEmit`, as its caller sees them.
pub(crate) fn server_answers(answers: Answers, counters: Arc<Counters>) -> BoxStream<'static, ServerAnswer> {
    let events = answers.filter_map(move |answer| {
        ready(match answer {
            Answer::Heard(node, Heard::Value(value)) => Some(ServerAnswer::Answer { node, value }),
            Answer::Heard(..) => None,
            Answer::End(missing) if missing.servers > 0 => {
                counters.incomplete_requests.add();
                Some(ServerAnswer::Missing(missing.servers))
            }
            Answer::End(_) => None,
        })
    });
    Box::pin(events)
}

/// The end of a wait that begins now. Durations beyond any clock are a year.
pub(crate) fn deadline(timeout: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}
