//! What the models have in common: the schedules, and connections to try them on.

use std::sync::{Arc, LazyLock};
#[cfg(unix)]
use std::{
    io::{ErrorKind, Read},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use libtest_mimic::Trial;
use patio_proto::{
    encode::{Encoded, Form},
    engine::{self, Message, Protocol, Transport},
    ws,
};
use shuttle::{
    Config as Shuttle, MaxSteps, Runner,
    future::JoinHandle,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use tokio::{
    io::{AsyncReadExt, DuplexStream},
    runtime::{Builder, EnterGuard, Runtime},
    time::Instant,
};

use crate::engine::{
    Application, Engine, Handshake,
    driver::Driver,
    flush::{Flush, Flusher, Turn},
    session::{Answer, PollTurn, Session, Sink},
    transport::websocket::Stream,
};

/// Schedules of each kind, for each model: 20 s of one core for all. Each of 15 faults that were put in by hand, and the
/// three that were there, was found by so many.
const SCHEDULES: usize = 300;

/// Preemptions of a schedule by priorities. Most faults need one or two.
const DEPTH: usize = 3;

/// What is drawn is drawn again in the next run.
const SEED: u64 = 2011;

/// A test: the model in many schedules.
pub(super) fn trial(name: &str, model: fn()) -> Trial {
    Trial::test(name, move || {
        // A thread of its own: a model that fails leaves the runtime that it entered behind.
        let both = std::thread::spawn(move || {
            run(RandomScheduler::new_from_seed(SEED, SCHEDULES), model);
            run(PctScheduler::new_from_seed(SEED, DEPTH, SCHEDULES), model);
        });
        both.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(())
    })
}

fn run(scheduler: impl Scheduler + 'static, model: fn()) {
    let mut config = Shuttle::new();
    // Unoptimised, the way from a request to a write is deep.
    config.stack_size = 512 * 1024;
    config.max_steps = MaxSteps::FailAfter(100_000);
    // That it knows no weak memory: the root says so.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(model);
}

/// Timers and streams of tokio are made inside a runtime. None of its tasks runs here, and no time limit comes.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

pub(super) fn enter_runtime() -> EnterGuard<'static> {
    RUNTIME.enter()
}

/// A client's connection on this server: its session and its driver.
pub(super) struct Connected<A: Application> {
    pub(super) session: Arc<Session<A>>,
    driver: JoinHandle<()>,
}

/// The workers of an engine's flusher.
pub(super) struct Workers([JoinHandle<()>; 2]);

impl<A: Application> Connected<A> {
    /// A client that polls. With protocol 3 it is in the main namespace at once, under its session's id.
    pub(super) fn polling(engine: &Arc<Engine<A>>, sid: &str, protocol: Protocol) -> Self {
        Self::start(engine, sid, protocol, (Transport::Polling, Sink::Polling(None)), None)
    }

    /// A client with a WebSocket over a pipe that holds so many bytes.
    pub(super) fn websocket(engine: &Arc<Engine<A>>, buffer: usize) -> (Self, Far) {
        let (near, far) = tokio::io::duplex(buffer);
        let stream = Box::new(Stream::boxed(Box::new(near), bytes::Bytes::new(), 1_000));
        let sink = (Transport::WebSocket, stream.sink());
        let connected = Self::start(engine, "sid", Protocol::V4, sink, Some(stream));
        (connected, Far { pipe: far, decoder: ws::Decoder::new(ws::Role::Client, 1_000), buffer: Vec::new() })
    }

    /// A client with a WebSocket on a stream of the kernel, which any thread writes. A pair of local sockets does what
    /// TCP does, as far as it is used here, and without ports.
    #[cfg(unix)]
    pub(super) fn websocket_on_tcp(engine: &Arc<Engine<A>>) -> (Self, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let near = std::net::TcpStream::from(OwnedFd::from(near));
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let near = tokio::net::TcpStream::from_std(near).unwrap();
        RUNTIME.block_on(near.writable()).unwrap();
        let stream = Box::new(Stream::tcp(near, bytes::Bytes::new(), 1_000));
        let sink = (Transport::WebSocket, stream.sink());
        (Self::start(engine, "sid", Protocol::V4, sink, Some(stream)), far)
    }

    fn start(
        engine: &Arc<Engine<A>>,
        sid: &str,
        protocol: Protocol,
        (transport, sink): (Transport, Sink),
        stream: Option<Box<Stream>>,
    ) -> Self {
        let (parts, ()) = http::Request::new(()).into_parts();
        let now = Instant::now().into_std();
        let session = Session::open(
            engine,
            Handshake::new(&parts, None),
            A::new(engine, &parts.extensions),
            sid.into(),
            false,
            engine::Session::open(protocol, transport, &engine.config.timing, now),
            (sink, None),
        );
        let driver = shuttle::future::spawn(Driver::new(Arc::clone(&session), stream).opened());
        Self { session, driver }
    }

    /// The workers of the flusher that this client's engine has.
    pub(super) fn workers(&self) -> Workers {
        Workers::start(self.session.flusher())
    }

    /// Waits until the driver has ended.
    pub(super) fn end(self) {
        shuttle::future::block_on(self.driver).unwrap();
    }
}

#[cfg(unix)]
impl<A: Application> Connected<A> {
    /// As [`Self::end`], where the driver waits for the kernel.
    pub(super) fn end_on_tcp(self) {
        while !self.driver.is_finished() {
            RUNTIME.block_on(tokio::task::yield_now());
            shuttle::thread::yield_now();
        }
        self.end();
    }
}

impl Workers {
    pub(super) fn start(flusher: &Flusher) -> Self {
        Self([(); 2].map(|()| shuttle::future::spawn(flusher.worker())))
    }

    /// Waits until they have ended: when nobody holds the engine any more.
    pub(super) fn end(self) {
        for worker in self.0 {
            shuttle::future::block_on(worker).unwrap();
        }
    }
}

/// Sends a text message, in the turn that there is.
pub(super) fn say<A: Application>(session: &Arc<Session<A>>, text: &str) {
    session.send(&Arc::new(Encoded::message(&Message::Text(text.into()))), false);
}

/// Sends each in a turn of its own, from outside of any connection.
pub(super) fn say_each<A: Application>(session: &Arc<Session<A>>, texts: &[&str]) {
    for text in texts {
        let turn = Turn::of_caller();
        say(session, text);
        drop(turn);
    }
}

/// That of what came, these came in this order.
#[track_caller]
pub(super) fn assert_order(came: &[String], order: &[&str]) {
    let found: Vec<_> = came.iter().filter(|text| order.contains(&text.as_str())).collect();
    assert_eq!(found, order, "{came:?}");
}

/// The client's end of a pipe.
pub(super) struct Far {
    pipe: DuplexStream,
    decoder: ws::Decoder,
    buffer: Vec<u8>,
}

impl Far {
    /// The next message, without the digit of Engine.IO; `None` when the server has closed.
    pub(super) async fn hear(&mut self) -> Option<String> {
        loop {
            let mut input = &mut self.buffer[..];
            let message = self.decoder.decode(&mut input).unwrap();
            let left = input.len();
            self.buffer.drain(..self.buffer.len() - left);
            match message {
                Some(ws::Message::Text(text)) => return Some(text[1..].to_owned()),
                Some(ws::Message::Close(_)) => return None,
                Some(other) => panic!("{other:?}"),
                None => assert_ne!(self.pipe.read_buf(&mut self.buffer).await.unwrap(), 0, "no close frame"),
            }
        }
    }

    /// The next so many messages.
    pub(super) async fn hear_all(&mut self, n: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < n {
            all.push(self.hear().await.expect("it goes on"));
        }
        all
    }
}

/// Reads until so many messages have come; one that never comes is waited for in vain, and the steps are bounded.
#[cfg(unix)]
pub(super) fn read_all(far: &mut UnixStream, n: usize) -> Vec<String> {
    let (mut decoder, mut all) = (ws::Decoder::new(ws::Role::Client, 1_000), Vec::new());
    while all.len() < n {
        let mut buffer = [0; 1_000];
        let mut input = match far.read(&mut buffer) {
            Ok(read) => &mut buffer[..read],
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                shuttle::thread::yield_now();
                continue;
            }
        };
        while let Some(message) = decoder.decode(&mut input).unwrap() {
            let ws::Message::Text(text) = message else { panic!("{message:?}") };
            all.push(text[1..].to_owned());
        }
    }
    all
}

/// Polls until so many messages have come.
pub(super) async fn poll_all<A: Application>(session: &Arc<Session<A>>, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < n {
        let answer = match session.poll() {
            PollTurn::Now(answer) => answer,
            PollTurn::Later(later) => later.await.unwrap(),
            PollTurn::Overlap => panic!("there is one poll"),
        };
        all.extend(texts(&answer));
    }
    all
}

fn texts(answer: &Answer) -> Vec<String> {
    let text = |packet: &Arc<Encoded>| String::from_utf8(packet.bytes(Form::PollV4).to_vec()).unwrap();
    answer.iter().map(|packet| text(packet)[1..].to_owned()).collect()
}
