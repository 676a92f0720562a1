//! How many servers answer, where only their number is known: so that a dead one, which the broker still counts, stalls
//! one question and not every one after it.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::message::RequestId;

/// How many questions that ended without all are remembered, to recognise an answer that comes after all.
const REMEMBERED: usize = 64;

/// Who came when all were last asked something that every server answers.
#[derive(Default)]
pub(crate) struct Attendance {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// After a wait in vain: how many there were, and how many of them answered.
    partial: Option<(usize, usize)>,
    /// The questions that ended so.
    ended: VecDeque<RequestId>,
}

impl Attendance {
    /// For how many of `others` to wait: for as many as answered last, while their number is the same.
    pub(crate) fn to_await(&self, others: usize) -> usize {
        match self.state.lock().partial {
            Some((were, answered)) if were == others => answered,
            _ => others,
        }
    }

    /// A question to `others` has ended with so many answers.
    pub(crate) fn note(&self, others: usize, answered: usize) {
        self.state.lock().partial = (answered < others).then_some((others, answered));
    }

    /// This question has ended without all.
    pub(crate) fn ended(&self, request: RequestId) {
        let mut state = self.state.lock();
        if state.ended.len() == REMEMBERED {
            state.ended.pop_front();
        }
        state.ended.push_back(request);
    }

    /// Whether this is a question that ended without all.
    pub(crate) fn is_awaited_no_more(&self, request: &RequestId) -> bool {
        self.state.lock().ended.contains(request)
    }

    /// An answer to such a question has come after all: whoever was slow is waited for again.
    pub(crate) fn came_late(&self, request: &RequestId) {
        let mut state = self.state.lock();
        if state.ended.contains(request) {
            state.partial = None;
        }
    }
}
