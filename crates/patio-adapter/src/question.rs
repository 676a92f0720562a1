//! One question to many, and the wait for its answers: how long, for whom, and who is missing in the end.
//!
//! A [`Question`] is shared by those who answer (this server's sockets, messages of other servers) and by the
//! [`Answers`] stream that the caller polls. It bounds what it keeps by what was promised, and no task runs for it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{future::BoxFuture, stream::Stream};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::{
    AdapterError, AnswerSink, Asked, NodeId, Payload, Room, SocketSnapshot,
    cluster::{Attendance, broker::Others},
};

/// Answers of a server that may arrive before its report of how many there will be.
const MAX_EARLY: usize = 1 << 16;

/// The other servers, when they have been counted.
pub(crate) type Counting = BoxFuture<'static, Result<Others, AdapterError>>;

/// What another server, or a socket, said.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A server told its sockets.
    Sockets(Vec<SocketSnapshot>),
    /// A server told how many sockets it has.
    Count(usize),
    /// A server told its rooms.
    Rooms(Vec<Room>),
    /// A server answered a `serverSideEmit`.
    Value(Payload),
    /// A server has asked that many sockets.
    Asked(usize),
    /// A socket answered. `None`: a socket of another server.
    Ack(Option<Room>, Payload),
}

/// Who did not answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Missing {
    /// Sockets of this server.
    pub(crate) sids: Vec<Room>,
    /// Sockets that other servers have asked.
    pub(crate) unknown: usize,
    /// Servers that said nothing.
    pub(crate) servers: usize,
}

/// What [`Answers`] yields: everything heard, then once who is missing.
#[derive(Debug)]
pub(crate) enum Answer {
    Heard(Option<NodeId>, Heard),
    End(Missing),
}

/// The shared half: where answers arrive.
pub(crate) struct Question {
    state: Mutex<State>,
    /// Wakes the stream; it is the only waiter.
    waker: AtomicWaker,
    /// For questions that every server answers: who did so last.
    attendance: Option<Arc<Attendance>>,
}

#[derive(Default)]
struct State {
    /// What the stream has not taken yet. Bounded: each server reports once, each socket answers once.
    queue: VecDeque<(Option<NodeId>, Heard)>,
    servers: Servers,
    /// Servers that have reported, where the protocol tells who.
    reported: HashSet<NodeId>,
    /// How many reports came.
    reports: usize,
    /// Promised minus received acks of each server; negative while acks come before the promise.
    owed: HashMap<Option<NodeId>, isize>,
    /// Promised acks of servers that have left.
    lost: usize,
    /// Servers that left before it was known who has to report.
    left: HashSet<NodeId>,
    sockets: Sockets,
    gone: Vec<Room>,
}

/// The other servers.
#[derive(Default)]
enum Servers {
    /// They are being counted.
    #[default]
    Unknown,
    /// They could not be counted.
    Uncountable,
    /// Of so many that many must report.
    Count { others: usize, awaited: usize },
    /// These have not reported yet.
    Waiting(HashSet<NodeId>),
    /// The question could not be sent to them: so many are missing.
    Unreachable(usize),
}

/// This server's sockets.
enum Sockets {
    /// They are being asked; these have been heard of already.
    Asking(HashSet<Room>),
    /// These have not answered yet.
    Waiting(HashSet<Room>),
}

impl Default for Sockets {
    fn default() -> Self {
        Self::Asking(HashSet::new())
    }
}

impl Question {
    /// A question whose receivers are not known yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), waker: AtomicWaker::new(), attendance: None })
    }

    /// A question that every server answers, so that those who did not last time are not waited for.
    pub(crate) fn attended(attendance: Arc<Attendance>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), waker: AtomicWaker::new(), attendance: Some(attendance) })
    }

    /// Says which other servers have to report.
    pub(crate) fn expect_servers(&self, others: Others) {
        let mut state = self.state.lock();
        state.servers = match others {
            Others::Count(others) => {
                let attendance = self.attendance.as_ref();
                let awaited = attendance.map_or(others, |attendance| attendance.to_await(others));
                Servers::Count { others, awaited }
            }
            Others::Nodes(mut nodes) => {
                nodes.retain(|node| !state.reported.contains(node) && !state.left.contains(node));
                Servers::Waiting(nodes)
            }
        };
        drop(state);
        self.waker.wake();
    }

    /// The question could not be sent to the other servers.
    pub(crate) fn cannot_send(&self) {
        let mut state = self.state.lock();
        let n = match &state.servers {
            Servers::Count { others, .. } => *others,
            Servers::Waiting(waiting) => waiting.len(),
            Servers::Unknown | Servers::Uncountable | Servers::Unreachable(_) => 1,
        };
        state.servers = Servers::Unreachable(n);
    }

    /// The other servers have been counted. If that failed, whoever answers is heard until the deadline.
    pub(crate) fn counted(&self, others: Result<Others, AdapterError>) {
        match others {
            Ok(others) => self.expect_servers(others),
            Err(_) => self.state.lock().servers = Servers::Uncountable,
        }
    }

    /// Says which sockets of this server were asked. `node` is this server.
    pub(crate) fn expect_sockets(&self, node: Option<NodeId>, sids: &[Room]) {
        let mut state = self.state.lock();
        state.queue.push_front((node, Heard::Asked(sids.len())));
        if let Sockets::Asking(heard) = &state.sockets {
            let waiting = sids.iter().filter(|sid| !heard.contains(*sid)).cloned().collect();
            state.sockets = Sockets::Waiting(waiting);
        }
        drop(state);
        self.waker.wake();
    }

    /// No socket of this server has to answer.
    pub(crate) fn no_sockets(&self) {
        self.state.lock().sockets = Sockets::Waiting(HashSet::new());
    }

    /// Where this server's sockets answer. It does not keep the question alive.
    pub(crate) fn sink(self: &Arc<Self>) -> AnswerSink {
        let question = Arc::downgrade(self);
        AnswerSink::new(move |sid, value| {
            if let Some(question) = question.upgrade() {
                question.hear_socket(sid, value);
            }
        })
    }

    fn hear_socket(&self, sid: Room, value: Option<Payload>) {
        let mut state = self.state.lock();
        let first = match &mut state.sockets {
            Sockets::Asking(heard) => heard.insert(sid.clone()),
            Sockets::Waiting(waiting) => waiting.remove(&sid),
        };
        if !first {
            return;
        }
        match value {
            Some(value) => state.queue.push_back((None, Heard::Ack(Some(sid), value))),
            None => state.gone.push(sid),
        }
        drop(state);
        self.waker.wake();
    }

    /// Takes what another server said. False: nobody waits for that, it is dropped.
    pub(crate) fn hear(&self, from: Option<NodeId>, heard: Heard) -> bool {
        let mut state = self.state.lock();
        let accepted = match &heard {
            Heard::Ack(..) => state.accept_ack(&from),
            Heard::Asked(n) => {
                let n = isize::try_from(*n).unwrap_or(isize::MAX);
                let accepted = state.accept_report(from.as_ref());
                if accepted {
                    let owed = state.owed.entry(from.clone()).or_default();
                    *owed = owed.saturating_add(n);
                }
                accepted
            }
            _ => state.accept_report(from.as_ref()),
        };
        if accepted {
            state.queue.push_back((from, heard));
            drop(state);
            self.waker.wake();
        }
        accepted
    }

    /// A server has left: nothing more comes from it.
    pub(crate) fn server_left(&self, node: &NodeId) {
        let mut state = self.state.lock();
        match &mut state.servers {
            Servers::Waiting(waiting) => _ = waiting.remove(node),
            _ => _ = state.left.insert(node.clone()),
        }
        if let Some(owed) = state.owed.remove(&Some(node.clone())) {
            state.lost += usize::try_from(owed).unwrap_or(0);
        }
        drop(state);
        self.waker.wake();
    }
}

impl State {
    fn accept_report(&mut self, from: Option<&NodeId>) -> bool {
        let expected = match (&mut self.servers, from) {
            (Servers::Waiting(waiting), Some(from)) => waiting.remove(from),
            (Servers::Waiting(_), None) => false,
            _ => true,
        };
        let first = from.is_none_or(|from| self.reported.insert(from.clone()));
        self.reports += usize::from(expected && first);
        expected && first
    }

    fn accept_ack(&mut self, from: &Option<NodeId>) -> bool {
        let all_reported = match from {
            Some(from) => self.reported.contains(from),
            None => self.servers_done(),
        };
        let owed = self.owed.entry(from.clone()).or_default();
        let accepted = *owed > 0 || (!all_reported && owed.unsigned_abs() < MAX_EARLY);
        if accepted {
            *owed -= 1;
        }
        accepted
    }

    fn servers_done(&self) -> bool {
        match &self.servers {
            Servers::Unknown | Servers::Uncountable => false,
            Servers::Unreachable(_) => true,
            Servers::Count { awaited, .. } => self.reports >= *awaited,
            Servers::Waiting(waiting) => waiting.is_empty(),
        }
    }

    fn done(&self) -> bool {
        let sockets_done = matches!(&self.sockets, Sockets::Waiting(waiting) if waiting.is_empty());
        sockets_done && self.servers_done() && self.owed.values().all(|&owed| owed <= 0)
    }

    fn missing(&mut self) -> Missing {
        let mut sids = std::mem::take(&mut self.gone);
        if let Sockets::Waiting(waiting) = &mut self.sockets {
            sids.extend(waiting.drain());
        }
        sids.sort_unstable();
        let owed: isize = self.owed.values().map(|&owed| owed.max(0)).fold(0, isize::saturating_add);
        let servers = match &self.servers {
            // At least one: who cannot count cannot say that all have answered.
            Servers::Unknown | Servers::Uncountable => 1,
            Servers::Count { others, .. } => others.saturating_sub(self.reports),
            Servers::Waiting(waiting) => waiting.len(),
            Servers::Unreachable(n) => *n,
        };
        Missing { sids, unknown: owed.unsigned_abs() + self.lost, servers }
    }
}

/// The waiting half: a stream of everything heard, which ends with one [`Answer::End`].
pub(crate) struct Answers {
    question: Arc<Question>,
    deadline: Instant,
    /// Made at the first poll, so that asking needs no runtime.
    sleep: Option<Pin<Box<Sleep>>>,
    /// How the other servers are counted, until that is known.
    counting: Option<Counting>,
    /// Dropped at the end of the wait: the local question, and the entry in the table of requests.
    owned: Option<(Option<Asked>, Box<dyn Send>)>,
}

impl Answers {
    /// Waits until `deadline` at the latest. `asked` and `registration` are dropped when the wait ends.
    pub(crate) fn new(
        question: Arc<Question>,
        deadline: Instant,
        asked: Option<Asked>,
        registration: Box<dyn Send>,
    ) -> Self {
        Self { question, deadline, sleep: None, counting: None, owned: Some((asked, registration)) }
    }

    /// The other servers are still being counted, if `others` is there.
    pub(crate) fn counting(mut self, others: Option<Counting>) -> Self {
        self.counting = others;
        self
    }
}

impl Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = &mut *self;
        if this.owned.is_none() {
            return Poll::Ready(None);
        }
        this.question.waker.register(cx.waker());
        if let Some(counting) = &mut this.counting
            && let Poll::Ready(others) = counting.as_mut().poll(cx)
        {
            this.counting = None;
            this.question.counted(others);
        }
        let mut state = this.question.state.lock();
        if let Some((from, heard)) = state.queue.pop_front() {
            return Poll::Ready(Some(Answer::Heard(from, heard)));
        }
        if !state.done() {
            drop(state);
            let deadline = this.deadline;
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            state = this.question.state.lock();
        }
        // What came between the look at the queue and the deadline is not lost.
        if let Some((from, heard)) = state.queue.pop_front() {
            return Poll::Ready(Some(Answer::Heard(from, heard)));
        }
        let missing = state.missing();
        if let (Some(attendance), Servers::Count { others, .. }) = (&this.question.attendance, &state.servers)
        {
            attendance.note(*others, state.reports);
        }
        drop(state);
        this.owned = None;
        Poll::Ready(Some(Answer::End(missing)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;

    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::new(id)
    }

    fn answer() -> Payload {
        Payload::args(&1).unwrap()
    }

    async fn end_of(question: &Arc<Question>) -> (usize, Missing, Duration) {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(5);
        let mut answers = Answers::new(question.clone(), deadline, None, Box::new(()));
        let mut heard = 0;
        loop {
            match answers.next().await.unwrap() {
                Answer::Heard(..) => heard += 1,
                Answer::End(missing) => {
                    assert!(answers.next().await.is_none());
                    return (heard, missing, start.elapsed());
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ends_at_once_when_all_have_answered() {
        let question = Question::new();
        question.expect_sockets(None, &["a".into(), "b".into()]);
        question.expect_servers(Others::Nodes([node("n1")].into()));
        assert!(question.hear(Some(node("n1")), Heard::Asked(1)));
        assert!(question.hear(Some(node("n1")), Heard::Ack(None, answer())));
        question.sink().answer("a".into(), answer());
        question.sink().answer("b".into(), answer());
        assert_eq!(end_of(&question).await, (5, Missing::default(), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn names_who_is_missing_at_the_deadline() {
        let question = Question::new();
        question.expect_sockets(None, &["a".into(), "b".into(), "c".into()]);
        question.expect_servers(Others::Nodes([node("n1"), node("n2")].into()));
        question.hear(Some(node("n1")), Heard::Asked(3));
        question.hear(Some(node("n1")), Heard::Ack(None, answer()));
        question.sink().answer("b".into(), answer());
        question.sink().gone("c".into());
        let (_, missing, waited) = end_of(&question).await;
        assert_eq!(missing.sids, ["a", "c"]);
        assert_eq!((missing.unknown, missing.servers), (2, 1));
        assert_eq!(waited, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_before_the_report_counts_and_a_second_one_does_not() {
        let question = Question::new();
        question.sink().answer("a".into(), answer());
        question.sink().answer("a".into(), answer());
        question.expect_sockets(None, &["a".into()]);
        question.expect_servers(Others::Count(2));
        assert!(question.hear(Some(node("n1")), Heard::Ack(None, answer())));
        assert!(question.hear(Some(node("n1")), Heard::Asked(1)));
        assert!(!question.hear(Some(node("n1")), Heard::Ack(None, answer())));
        assert!(!question.hear(Some(node("n1")), Heard::Asked(1)));
        assert!(question.hear(Some(node("n2")), Heard::Asked(0)));
        assert_eq!(end_of(&question).await, (5, Missing::default(), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_leave_are_not_awaited() {
        let question = Question::new();
        question.no_sockets();
        question.expect_servers(Others::Nodes([node("n1"), node("n2")].into()));
        question.hear(Some(node("n1")), Heard::Asked(2));
        question.server_left(&node("n1"));
        question.server_left(&node("n2"));
        let (heard, missing, waited) = end_of(&question).await;
        assert_eq!((heard, missing.unknown, missing.servers, waited), (1, 2, 0, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_wakes_the_stream() {
        let question = Question::new();
        question.expect_sockets(None, &["a".into()]);
        question.expect_servers(Others::Count(0));
        let sink = question.sink();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            sink.answer("a".into(), answer());
        });
        assert_eq!(end_of(&question).await.2, Duration::from_millis(100));
    }
}
