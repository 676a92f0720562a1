//! Open questions: this server's own, and those of other servers that its sockets have not answered yet.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::message::{RequestId, Sender};
use crate::{
    Asked, NodeId, Payload, Room,
    question::{Heard, Question},
};

/// Questions of this server. Each is here as long as somebody waits for it.
#[derive(Default)]
pub(super) struct Requests {
    open: Mutex<HashMap<RequestId, Arc<Question>>>,
}

impl Requests {
    /// Opens a question, until the registration is dropped.
    pub(super) fn open(
        self: &Arc<Self>,
        id: RequestId,
        question: Arc<Question>,
    ) -> (Arc<Question>, Registration) {
        self.open.lock().insert(id.clone(), question.clone());
        (question, Registration { requests: self.clone(), id })
    }

    /// Gives an answer to the question it belongs to. False: nobody waits for it.
    pub(super) fn hear(&self, id: &RequestId, from: Option<NodeId>, heard: Heard) -> bool {
        let question = self.open.lock().get(id).cloned();
        question.is_some_and(|question| question.hear(from, heard))
    }

    /// A server has left: no question waits for it any more.
    pub(super) fn server_left(&self, node: &NodeId) {
        let questions: Vec<_> = self.open.lock().values().cloned().collect();
        questions.iter().for_each(|question| question.server_left(node));
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }

    pub(super) fn is_open(&self, id: &RequestId) -> bool {
        self.open.lock().contains_key(id)
    }
}

/// Keeps a question open.
pub(super) struct Registration {
    requests: Arc<Requests>,
    id: RequestId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.requests.open.lock().remove(&self.id);
    }
}

/// Questions of other servers to sockets of this one. Each is here until all have answered or its time is over.
#[derive(Default)]
pub(super) struct Foreign {
    open: Mutex<HashMap<u64, Pending>>,
    last_key: AtomicU64,
}

struct Pending {
    sender: Sender,
    request: RequestId,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// The sockets are being asked, their number is not reported yet: the first answers wait for that.
    Asking(Vec<(Room, Option<Payload>)>),
    /// These sockets have not answered.
    Waiting {
        sids: HashSet<Room>,
        /// Dropped with the entry: the namespace forgets the question.
        _asked: Asked,
    },
}

/// An ack that is to be sent to the server that asked.
pub(super) type Due = (Sender, RequestId, Payload);

impl Foreign {
    /// Begins a question; `None` if `max` are open already.
    pub(super) fn begin(
        &self,
        sender: Sender,
        request: RequestId,
        deadline: Instant,
        max: usize,
    ) -> Option<u64> {
        let mut open = self.open.lock();
        if open.len() >= max {
            return None;
        }
        let key = self.last_key.fetch_add(1, Relaxed);
        open.insert(key, Pending { sender, request, deadline, stage: Stage::Asking(Vec::new()) });
        Some(key)
    }

    /// The sockets have been asked and their number has been reported. Returns the answers that came meanwhile.
    pub(super) fn asked(&self, key: u64, asked: Asked) -> Vec<Due> {
        let mut open = self.open.lock();
        let Some(pending) = open.get_mut(&key) else { return Vec::new() };
        let sids = asked.sids().iter().cloned().collect();
        let early = std::mem::replace(&mut pending.stage, Stage::Waiting { sids, _asked: asked });
        let finished = pending.finished().then(|| open.remove(&key));
        drop(open);
        // Outside the lock: dropping it calls into the namespace.
        drop(finished);
        match early {
            Stage::Asking(early) => {
                early.into_iter().filter_map(|(sid, value)| self.answer(key, sid, value)).collect()
            }
            Stage::Waiting { .. } => Vec::new(),
        }
    }

    /// A socket has answered, or has gone. Returns the ack to send now, if any.
    pub(super) fn answer(&self, key: u64, sid: Room, value: Option<Payload>) -> Option<Due> {
        let mut open = self.open.lock();
        let pending = open.get_mut(&key)?;
        let due = match &mut pending.stage {
            Stage::Asking(early) => {
                early.push((sid, value));
                return None;
            }
            Stage::Waiting { sids, .. } => {
                let value = if sids.remove(&sid) { value } else { None };
                value.map(|value| (pending.sender.clone(), pending.request.clone(), value))
            }
        };
        let finished = pending.finished().then(|| open.remove(&key));
        drop(open);
        drop(finished);
        due
    }

    /// Forgets questions whose time is over; returns when the next one is due.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut open = self.open.lock();
        let expired: Vec<_> = open.extract_if(|_, pending| pending.deadline <= now).collect();
        let next = open.values().map(|pending| pending.deadline).min();
        drop(open);
        drop(expired);
        next
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        drop(open);
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }
}

impl Pending {
    fn finished(&self) -> bool {
        matches!(&self.stage, Stage::Waiting { sids, .. } if sids.is_empty())
    }
}
