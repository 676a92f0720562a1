//! Acks in both directions: those that are sent to the client, and who waits for those of the client.

use patio_adapter::AnswerSink;
use patio_proto::{packet::Kind, payload::Payload};
use tokio::sync::oneshot;

use super::{Socket, status};
use crate::engine::flush::Turn;

/// Who waits for an ack.
pub(crate) enum Waiting {
    One(oneshot::Sender<Payload>),
    Many(AnswerSink),
}

impl Socket {
    pub(crate) fn send_ack(&self, id: u64, payload: Payload) {
        if self.is_connected() {
            let turn = Turn::of_caller();
            self.deliver_packet(Kind::Ack { id, payload });
            drop(turn);
        }
    }

    /// Remembers who waits for an ack. False: the socket has ended.
    pub(crate) fn expect_ack(&self, id: u64, waiting: Waiting) -> bool {
        let mut more = self.0.more.lock();
        // Looked at under the lock, so that the end of the socket finds the entry or is found here.
        if self.status() == status::DISCONNECTED {
            return false;
        }
        self.made(&mut more).acks.insert(id, waiting);
        true
    }

    pub(crate) fn forget_ack(&self, id: u64) -> bool {
        self.0.more.lock().as_mut().is_some_and(|more| more.acks.remove(&id).is_some())
    }

    /// An ack came.
    pub(crate) fn acknowledged(&self, id: u64, answer: Payload) {
        let waiting = self.0.more.lock().as_mut().and_then(|more| more.acks.remove(&id));
        match waiting {
            // Who waited may have given up.
            Some(Waiting::One(waiting)) => drop(waiting.send(answer)),
            Some(Waiting::Many(sink)) => sink.answer(self.0.id.clone(), answer),
            None => self.0.session.engine().counters.unknown_acks.add(1),
        }
    }

    /// How many acks of this client are waited for: for the tests that none is remembered for ever.
    #[doc(hidden)]
    pub fn pending_acks(&self) -> usize {
        self.0.more.lock().as_ref().map_or(0, |more| more.acks.len())
    }
}
