//! What becomes of an event that a client sends: a request to this server itself (`patio:join`, `patio:leave`,
//! `patio:refresh`), or what the first rule that fits says. Whoever waits for an answer gets one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use patio::{
    Payload, Room, Socket, Value,
    extract::{Ack, Args, Event, RawData},
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{Clients, gate};
use crate::{
    auth::tokens::Denial,
    hooks::{
        HookError, HookUrl, Job, Message, Queue,
        bodies::{self, Answered},
    },
    ops::{operation::OWN_EVENTS, rooms},
    rules::{Action, Bucket, Rate, Rule},
};

/// What is left of one socket's rates.
#[derive(Debug, Default)]
struct Buckets(Mutex<Vec<(Of, Bucket)>>);

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// All events.
    Events,
    /// The bytes of all events.
    Bytes,
    /// Those that the rule of this number is for.
    Rule(usize),
}

/// What an event has come to: an answer, or a call of the backend that will bring one.
enum Outcome {
    Answered(Json),
    Called(HookUrl),
}

pub(super) async fn arrived(
    clients: &Arc<Clients>,
    socket: &Socket,
    Event(event): Event,
    ack: Ack,
    RawData(payload): RawData,
) {
    let size = payload.size();
    let outcome = outcome(clients, socket, &event, &payload, size).await;
    match outcome {
        Ok((Outcome::Answered(answer), _)) => reply(ack, &answer),
        Ok((Outcome::Called(url), values)) => call(clients, socket, url, &event, &values, ack),
        Err(denial) => {
            tracing::debug!(%event, code = denial.code(), "an event is refused");
            clients.refused(denial.code());
            reply(ack, &denial.to_json());
        }
    }
}

/// What becomes of it, and its arguments. Only requests to this server may have to wait: everything else is decided at once,
/// in the order in which it came.
async fn outcome(
    clients: &Clients,
    socket: &Socket,
    event: &str,
    payload: &Payload,
    size: usize,
) -> Result<(Outcome, Vec<Value>), Denial> {
    let mut values = payload.values().map_err(|error| Denial::new("invalid_arguments", error.to_string()))?;
    let (events, bytes) = clients.rates;
    is_within(socket, Of::Events, events, 1)?;
    is_within(socket, Of::Bytes, bytes, size)?;
    values.drain(..values.len().min(1));
    let outcome = match event.strip_prefix(OWN_EVENTS) {
        Some(request) => Outcome::Answered(own(clients, socket, request, &values).await?),
        None => by_rule(clients, socket, event, &values, size)?,
    };
    Ok((outcome, values))
}

fn reply(ack: Ack, answer: &Json) {
    if ack.is_requested() {
        // JSON is always written.
        let _ = ack.send(answer);
    }
}

/// Calls the backend, after what this socket has sent before. Its answer is the client's, and no other is.
fn call(clients: &Arc<Clients>, socket: &Socket, url: HookUrl, event: &str, values: &[Value], ack: Ack) {
    let Some(hooks) = clients.hooks.clone() else { return };
    let waits = ack.is_requested();
    let user = gate::user_of(socket);
    let body = bodies::Event {
        sid: socket.id(),
        nsp: socket.namespace(),
        user: user.as_deref(),
        data: socket.data(),
        event,
        args: bodies::arguments(values),
        ack: waits,
    };
    let message = Message::new(&body);
    let (this, called, at) = (clients.clone(), hooks.clone(), url.clone());
    let settle = move |answer: Result<Json, HookError>| -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A failed call has been counted.
            let answered = answer
                .and_then(|answer| Answered::read(answer).inspect_err(|error| called.failed(&at, error)));
            match answered {
                Ok(Answered { ack: answer, ops }) => {
                    this.perform(ops).await;
                    // Values of JSON are always written.
                    let _ = ack.send(&answer);
                }
                Err(error) => {
                    let denial = failed(&error);
                    this.refused(denial.code());
                    reply(ack, &denial.to_json());
                }
            }
        })
    };
    let extensions = socket.extensions();
    let queue = extensions.get::<Queue>().unwrap_or_else(|| {
        let queue = Queue::default();
        extensions.insert(queue.clone());
        queue
    });
    let job = Job { url, message, repeats: !waits, settle: Box::new(settle) };
    queue.push(job, &hooks, &clients.tasks);
}

/// What a client hears of a failure: not more than it must know.
fn failed(error: &HookError) -> Denial {
    match error {
        HookError::Busy => Denial::new("overloaded", "too many events wait for an answer"),
        _ => Denial::new("hook_failed", "the event could not be handled"),
    }
}

/// The most rooms that a socket may be in by its own wish, with those that it was put into.
const MAX_ROOMS: usize = 200;

/// Requests to this server.
async fn own(clients: &Clients, socket: &Socket, request: &str, arguments: &[Value]) -> Result<Json, Denial> {
    let first = |member: &str| {
        let first = arguments.first();
        let text = first.and_then(|first| first.as_str().or_else(|| first.get(member)?.as_str()));
        text.ok_or_else(|| {
            Denial::new("invalid_arguments", format!("the first argument must be the {member}"))
        })
    };
    match request {
        "join" => {
            let room = first("room")?;
            let token = arguments.first().and_then(|first| first.get("token")?.as_str());
            let room = match token {
                Some(token) => by_token(clients, socket, room, token).await?,
                None => public(clients, room)?,
            };
            if socket.rooms().len() >= MAX_ROOMS {
                return Err(Denial::new("too_many_rooms", "this socket is in too many rooms"));
            }
            drop(socket.join(room));
        }
        "leave" => socket.leave(public(clients, first("room")?)?),
        "refresh" => {
            let expires_at = gate::refresh(clients, socket, first("token")?).await?;
            return Ok(json!({ "ok": true, "expires_at": expires_at }));
        }
        _ => return Err(Denial::new("no_rule", "there is no such request")),
    }
    Ok(json!({ "ok": true }))
}

/// A room that clients may enter and leave by themselves: never one that the server keeps itself.
fn public(clients: &Clients, room: &str) -> Result<Room, Denial> {
    rooms::check_open(room).map_err(|error| Denial::new("reserved_room", error.to_string()))?;
    match room.chars().count() <= rooms::MAX_NAME && clients.rules.is_public(room) {
        true => Ok(Room::from(room)),
        false => Err(Denial::new("forbidden_room", "clients may not enter or leave this room by themselves")),
    }
}

/// A room that the backend has let this client enter, by a token.
async fn by_token(clients: &Clients, socket: &Socket, room: &str, token: &str) -> Result<Room, Denial> {
    rooms::check_open(room).map_err(|error| Denial::new("reserved_room", error.to_string()))?;
    let tokens =
        clients.tokens.as_ref().ok_or_else(|| Denial::new("token_key", "there are no tokens here"))?;
    tokens.opens(token, room, gate::user_of(socket).as_deref()).await?;
    Ok(Room::from(room))
}

fn by_rule(
    clients: &Clients,
    socket: &Socket,
    event: &str,
    values: &[Value],
    size: usize,
) -> Result<Outcome, Denial> {
    let Some((number, rule)) = clients.rules.find(socket.namespace(), event) else {
        return Err(Denial::new("no_rule", "no rule allows this event"));
    };
    if rule.max_bytes.is_some_and(|most| size > most) {
        return Err(Denial::new("too_large", "the event is too large"));
    }
    is_within(socket, Of::Rule(number), rule.rate, 1)?;
    match &rule.action {
        Action::Hook(url) => return Ok(Outcome::Called(url.clone())),
        Action::Relay => relay(socket, rule, event, values),
        Action::Drop => {}
    }
    Ok(Outcome::Answered(json!({ "ok": true })))
}

/// To the other sockets in the sender's rooms.
fn relay(socket: &Socket, rule: &Rule, event: &str, values: &[Value]) {
    let is_chosen = |room: &Room| match &rule.rooms {
        Some(patterns) => patterns.iter().any(|pattern| pattern.fits(room)),
        None => true,
    };
    let rooms = socket.rooms().into_iter().filter(|room| rooms::check_open(room).is_ok() && is_chosen(room));
    if let Err(error) = socket.to(rooms.collect::<Vec<_>>()).emit(event, &Args(values.to_vec())) {
        // Those on this server have it.
        tracing::debug!(%error, "a relayed event did not reach other servers");
    }
}

/// Whether a rate, if there is one, allows so many more.
fn is_within(socket: &Socket, of: Of, rate: Option<Rate>, many: usize) -> Result<(), Denial> {
    let Some(rate) = rate else { return Ok(()) };
    let now = Instant::now();
    let extensions = socket.extensions();
    // The handlers of one socket begin one after the other.
    let buckets = extensions.get::<Arc<Buckets>>().unwrap_or_else(|| {
        let buckets = Arc::<Buckets>::default();
        extensions.insert(buckets.clone());
        buckets
    });
    let mut buckets = buckets.0.lock();
    let at = buckets.iter().position(|(known, _)| *known == of).unwrap_or_else(|| {
        buckets.push((of, Bucket::full(rate, now)));
        buckets.len() - 1
    });
    match buckets[at].1.take_many(rate, now, many as f64) {
        true => Ok(()),
        false => Err(Denial::new("rate_limited", "too much in a second")),
    }
}
