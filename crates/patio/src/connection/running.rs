//! What runs for a connection: handlers, middlewares, and the end of sockets.
//!
//! Each job is polled once where it is started; one that waits goes on in a set of bounded size, so that an event costs
//! no task.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    FutureExt, Stream,
    future::{BoxFuture, join_all},
    task::noop_waker_ref,
};
use patio_adapter::{Replayed, Restored};

use super::{Command, Driver, Member, events::Event};
use crate::{
    engine::flush::Turn,
    guard::Kept,
    handler::{
        Call, HandlerError, erased,
        kind::{Kind as HandlerKind, Running},
    },
    reason::DisconnectReason,
    refusal::Refusal,
    socket::{Socket, setup},
};

/// Something that runs for a connection.
pub(super) struct Job(Work);

enum Work {
    /// One handler of one event. The event's name, for what goes wrong, stands here once the handler waits.
    Event {
        socket: Socket,
        event: Box<str>,
        future: Kept<Running<Result<(), HandlerError>>>,
    },
    Flow(BoxFuture<'static, Done>),
}

/// What a job led to.
pub(super) enum Done {
    Nothing,
    /// A handler of an event has failed.
    Failed {
        socket: Socket,
        event: Box<str>,
        error: HandlerError,
    },
    /// The middlewares have spoken about a CONNECT.
    Connect {
        socket: Socket,
        verdict: Result<(), Refusal>,
        restored: Option<Restored>,
    },
    /// The history was read up to the present for a client that came back; `None`: it is not complete.
    Replayed {
        socket: Socket,
        restored: Restored,
        replayed: Option<Replayed>,
    },
    /// The connect handlers have ended.
    SetUp(Socket),
    /// The packet middlewares let an event pass.
    Pass(Event),
}

impl Future for Job {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        match &mut self.0 {
            Work::Event { socket, event, future } => {
                let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx)));
                let polled = polled.unwrap_or_else(|panic| Poll::Ready(Err(HandlerError::panicked(panic))));
                polled.map(|outcome| match outcome {
                    Ok(()) => Done::Nothing,
                    Err(error) => {
                        Done::Failed { socket: socket.clone(), event: std::mem::take(event), error }
                    }
                })
            }
            // Flows catch the panics of what they run themselves.
            Work::Flow(future) => future.as_mut().poll(cx),
        }
    }
}

impl Job {
    /// Polls the job where it stands. If it waits, it is polled again at once by the set that it goes into.
    fn poll_once(&mut self) -> Poll<Done> {
        Pin::new(self).poll(&mut Context::from_waker(noop_waker_ref()))
    }
}

/// What runs.
impl Driver<'_> {
    /// Runs something that leads to more.
    pub(super) fn start_flow(&mut self, flow: impl Future<Output = Done> + Send + 'static) {
        self.start(Job(Work::Flow(Box::pin(flow))));
    }

    /// Runs a handler of an event, whose name is noted only once it may still be needed.
    pub(super) fn start_handler(&mut self, event: &Event, future: Kept<Running<Result<(), HandlerError>>>) {
        let mut job = Job(Work::Event { socket: event.socket.clone(), event: Box::default(), future });
        match job.poll_once() {
            Poll::Ready(Done::Failed { socket, error, .. }) => {
                self.done(Done::Failed { socket, event: event.name(), error });
            }
            Poll::Ready(done) => self.done(done),
            Poll::Pending => {
                if let Work::Event { event: name, .. } = &mut job.0 {
                    *name = event.name();
                }
                self.keep(job);
            }
        }
    }

    fn start(&mut self, mut job: Job) {
        match job.poll_once() {
            Poll::Ready(done) => self.done(done),
            Poll::Pending => self.keep(job),
        }
    }

    /// Lets a job that waits go on in the set, with a waker of its own.
    fn keep(&mut self, job: Job) {
        self.inbox.running.get_or_insert_default().push(job);
        self.measure();
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Failed { socket, event, error } => {
                socket.server().handler_failed(&socket, Some(&event), &error);
            }
            Done::Connect { socket, verdict, restored } => self.verdict(socket, verdict, restored),
            Done::Replayed { socket, restored, replayed } => self.replayed(socket, restored, replayed),
            Done::SetUp(socket) => {
                socket.set_setup(setup::DONE);
                self.unpark();
            }
            Done::Pass(event) => self.deliver(event),
        }
    }

    pub(super) fn run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.commands();
            let Some(running) = &mut self.inbox.running else { break };
            match Pin::new(&mut **running).poll_next(cx) {
                // A connect handler may listen now to what waits, and what goes on has not been polled.
                Poll::Pending if self.unpark() => {}
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(done)) => {
                    self.done(done);
                    self.unpark();
                }
                // An idle connection keeps no set.
                Poll::Ready(None) => self.inbox.running = None,
            }
        }
        Poll::Ready(())
    }

    /// Does what other tasks asked for.
    pub(super) fn commands(&mut self) {
        loop {
            let commands = std::mem::take(&mut self.session.app.state.lock().commands);
            if commands.is_empty() {
                return;
            }
            for command in commands {
                match command {
                    Command::Ended(socket, reason) => self.ended(socket, reason),
                }
            }
        }
    }

    /// Runs the handlers of a socket's end; it is in no room any more.
    fn ended(&mut self, socket: Socket, reason: DisconnectReason) {
        let turn = Turn::of_connection();
        for member in &mut self.session.app.state.lock().namespaces {
            if let Member::Connected(other) | Member::Restoring(other) = member
                && *other == socket
            {
                *member = Member::Left(socket.hub().nsp());
                self.inbox.left = true;
            }
        }
        self.forget_parked_of(&socket);
        let declared = socket.hub().declared();
        let mut disconnecting = declared.disconnecting.clone();
        let mut disconnect = declared.disconnect.clone();
        drop(declared);
        socket.with_listeners(|listeners| {
            disconnecting.append(&mut listeners.disconnecting);
            disconnect.append(&mut listeners.disconnect);
        });
        let hub = Arc::clone(socket.hub());
        if disconnecting.is_empty() && disconnect.is_empty() {
            socket.clear();
        } else {
            self.start_flow(async move {
                let call = Call::disconnect(socket.clone(), reason);
                let mut first = Box::pin(run_all(disconnecting, call.clone()));
                // Both have started when this returns, as in Node; only the first saw the rooms.
                let first_is_over = futures_util::poll!(&mut first).is_ready();
                socket.forget_rooms();
                let then = run_all(disconnect, call);
                if first_is_over {
                    then.await;
                } else {
                    futures_util::join!(first, then);
                }
                // Only now: a closure that holds its own socket would keep it alive for ever.
                socket.clear();
                Done::Nothing
            });
        }
        let engine = self.engine();
        engine.shared.clean_up(engine, &hub);
        drop(turn);
    }
}

/// Runs handlers side by side, each on its own: one that fails or panics does not touch the others.
pub(super) async fn run_all<K>(handlers: Vec<erased::Erased<K>>, call: Call)
where
    K: HandlerKind<Output = Result<(), HandlerError>>,
{
    let handlers = handlers.into_iter().map(|handler| {
        let call = call.clone();
        async move {
            let socket = call.socket.clone();
            let ran = AssertUnwindSafe(async { handler.call(call)?.await }).catch_unwind().await;
            if let Err(error) = ran.unwrap_or_else(|panic| Err(HandlerError::panicked(panic))) {
                socket.server().handler_failed(&socket, None, &error);
            }
        }
    });
    join_all(handlers).await;
}
