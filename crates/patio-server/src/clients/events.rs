//! What becomes of an event that a client sends: a request to this server itself (`patio:join`, `patio:leave`,
//! `patio:refresh`), or what the first rule that fits says. Whoever waits for an answer gets one.

use std::sync::Arc;

use parking_lot::Mutex;
use patio::{
    Room, Socket, Value,
    extract::{Ack, Args, Event, RawData},
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{Clients, gate};
use crate::{
    auth::tokens::Denial,
    ops::{operation::OWN_EVENTS, rooms},
    rules::{Action, Bucket, Rule},
};

/// The rates of one socket, by the numbers of their rules.
#[derive(Debug, Default)]
struct Buckets(Mutex<Vec<(usize, Bucket)>>);

pub(super) fn arrived(
    clients: &Clients,
    socket: &Socket,
    Event(event): Event,
    ack: Ack,
    RawData(payload): RawData,
) {
    let size = payload.size();
    let answer = payload
        .values()
        .map_err(|error| Denial::new("invalid_arguments", error.to_string()))
        .and_then(|mut values| {
            values.drain(..values.len().min(1));
            match event.strip_prefix(OWN_EVENTS) {
                Some(request) => own(clients, socket, request, &values),
                None => by_rule(clients, socket, &event, Args(values), size),
            }
        });
    let answer = answer.unwrap_or_else(|denial| {
        tracing::debug!(%event, code = denial.code(), "an event is refused");
        denial.to_json()
    });
    if ack.is_requested() {
        // JSON is always written.
        let _ = ack.send(&answer);
    }
}

/// Requests to this server.
fn own(clients: &Clients, socket: &Socket, request: &str, arguments: &[Value]) -> Result<Json, Denial> {
    let first = |member: &str| {
        let first = arguments.first();
        let text = first.and_then(|first| first.as_str().or_else(|| first.get(member)?.as_str()));
        text.ok_or_else(|| {
            Denial::new("invalid_arguments", format!("the first argument must be the {member}"))
        })
    };
    match request {
        "join" => {
            let room = public(clients, first("room")?)?;
            drop(socket.join(room));
        }
        "leave" => socket.leave(public(clients, first("room")?)?),
        "refresh" => {
            let expires_at = gate::refresh(clients, socket, first("token")?)?;
            return Ok(json!({ "ok": true, "expires_at": expires_at }));
        }
        _ => return Err(Denial::new("no_rule", "there is no such request")),
    }
    Ok(json!({ "ok": true }))
}

/// A room that clients may enter and leave by themselves: never one that the server keeps itself.
fn public(clients: &Clients, room: &str) -> Result<Room, Denial> {
    rooms::check_open(room).map_err(|error| Denial::new("reserved_room", error.to_string()))?;
    match room.len() <= rooms::MAX_NAME && clients.rules.is_public(room) {
        true => Ok(Room::from(room)),
        false => Err(Denial::new("forbidden_room", "clients may not enter or leave this room by themselves")),
    }
}

fn by_rule(clients: &Clients, socket: &Socket, event: &str, args: Args, size: usize) -> Result<Json, Denial> {
    let Some((number, rule)) = clients.rules.find(socket.namespace(), event) else {
        return Err(Denial::new("no_rule", "no rule allows this event"));
    };
    if rule.max_bytes.is_some_and(|most| size > most) {
        return Err(Denial::new("too_large", "the event is too large"));
    }
    if !is_within_rate(socket, number, rule) {
        return Err(Denial::new("rate_limited", "too many events in a second"));
    }
    if rule.action == Action::Relay {
        let is_chosen = |room: &Room| match &rule.rooms {
            Some(patterns) => patterns.iter().any(|pattern| pattern.fits(room)),
            None => true,
        };
        let rooms =
            socket.rooms().into_iter().filter(|room| rooms::check_open(room).is_ok() && is_chosen(room));
        if let Err(error) = socket.to(rooms.collect::<Vec<_>>()).emit(event, &args) {
            // Those on this server have it.
            tracing::debug!(%error, "a relayed event did not reach other servers");
        }
    }
    Ok(json!({ "ok": true }))
}

fn is_within_rate(socket: &Socket, number: usize, rule: &Rule) -> bool {
    let Some(rate) = rule.rate else { return true };
    let now = Instant::now();
    let extensions = socket.extensions();
    // The handlers of one socket begin one after the other.
    let buckets = extensions.get::<Arc<Buckets>>().unwrap_or_else(|| {
        let buckets = Arc::<Buckets>::default();
        extensions.insert(buckets.clone());
        buckets
    });
    let mut buckets = buckets.0.lock();
    match buckets.iter_mut().find(|(of, _)| *of == number) {
        Some((_, bucket)) => bucket.take(rate, now),
        None => {
            let mut bucket = Bucket::full(rate, now);
            let allowed = bucket.take(rate, now);
            buckets.push((number, bucket));
            allowed
        }
    }
}
