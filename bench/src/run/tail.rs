//! Tail latency: now and then a broadcast to very many, while other connections, driven by a second generator in a thread
//! of its own, ask for acks at a steady pace. How late is the broadcast's last receiver, how long is the server's `emit`,
//! and how late are the acks of the others while it is on its way?

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use hdrhistogram::Histogram;

use super::{Round, Spent, ack::ack, latencies, record};
use crate::{
    generator::{Generator, Network, Silence, Traffic, Way, clip},
    measurement::{EMIT, Figure, Measurement, OTHERS, P99},
};

/// Connections that ask for acks.
const OTHER_CLIENTS: usize = 100;
/// One of them asks so often.
const PACE: Duration = Duration::from_millis(1);
/// So long nothing comes before a request to leave the room is taken for lost.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 5;
/// Between the last receipt of a broadcast and the next broadcast.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn run(round: &mut Round<'_>, receivers: usize) -> anyhow::Result<Measurement> {
    let others = Others::start(round.target.address)?;
    round.greet(receivers)?;
    round.wait_until_at_rest()?;
    let mut tail = Tail::new(receivers);
    let mut windows = Vec::new();
    let mut spent = Spent::default();
    let warm = Instant::now() + round.effort.warm_up;
    round.began = Instant::now();
    while windows.is_empty() || !round.enough(&spent) {
        let before = round.read()?;
        tail.send(round.generator.network());
        round.generator.network().flush()?;
        while !tail.is_over() {
            round.generator.step(&mut tail).with_context(|| format!("{} receipts missing", tail.missing))?;
        }
        if Instant::now() < warm {
            tail.latencies.reset();
            tail.emits.reset();
            round.began = Instant::now();
        } else {
            windows.push((before.at, Instant::now()));
            spent = spent + round.since(&before)?;
        }
        round.generator.serve_for(PAUSE, &mut Silence)?;
    }
    let acks = others.stop()?;
    let mut meanwhile = latencies();
    for (asked, took) in acks {
        if windows.iter().any(|(begin, end)| asked < *end && asked + took > *begin) {
            record(&mut meanwhile, took);
        }
    }
    ensure!(!meanwhile.is_empty(), "no ack was asked for during a broadcast");

    let p99 = |times: &Histogram<u64>| Duration::from_micros(times.value_at_quantile(0.99));
    let mut measurement = round.measurement((windows.len() * receivers) as u64, spent, &tail.latencies);
    measurement.figures.sort_by_key(|figure| figure.name != P99);
    measurement.figures.push(Figure::time(EMIT, Duration::from_micros(tail.emits.max())));
    measurement.figures.push(Figure::time(OTHERS, p99(&meanwhile)));
    Ok(measurement)
}

/// One broadcast at a time, by client 0, who is told how long `emit` took.
struct Tail {
    receivers: usize,
    number: u32,
    sent: Instant,
    /// By client: which broadcast it got last.
    got: Vec<u32>,
    missing: usize,
    acked: bool,
    packet: String,
    latencies: Histogram<u64>,
    emits: Histogram<u64>,
}

/// Bytes of the texts, and of what stands in a broadcast's behind its number.
const SHORT: usize = 128;
const FILLER_LEN: usize = SHORT - 8;
const HEAD: &str = "42[\"b\",\"";

impl Tail {
    fn new(receivers: usize) -> Self {
        Self {
            receivers,
            number: 0,
            sent: Instant::now(),
            got: vec![0; receivers],
            missing: 0,
            acked: true,
            packet: String::new(),
            latencies: latencies(),
            emits: latencies(),
        }
    }

    fn send(&mut self, network: &mut Network) {
        use std::fmt::Write;
        self.number += 1;
        self.sent = Instant::now();
        (self.missing, self.acked) = (self.receivers, false);
        self.packet.clear();
        write!(self.packet, "420[\"timed\",\"{:08x}{:x<FILLER_LEN$}\"]", self.number, "")
            .expect("a String takes all");
        network.send(0, &self.packet);
    }

    fn is_over(&self) -> bool {
        self.missing == 0 && self.acked
    }
}

impl Traffic for Tail {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        if let Some(argument) = text.strip_prefix(HEAD) {
            let number = argument.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let filler = argument.get(8..).and_then(|rest| rest.strip_suffix("\"]"));
            ensure!(filler.is_some_and(|it| it.len() == FILLER_LEN), "broadcast {number:?} came mutilated");
            if number != Some(self.number) || self.got[client] == self.number {
                bail!("LOST OR DOUBLED: client {client} got {number:?} instead of {}", self.number);
            }
            self.got[client] = self.number;
            self.missing -= 1;
            record(&mut self.latencies, network.now.saturating_duration_since(self.sent));
        } else {
            let (_, nanoseconds) = ack(text).with_context(|| format!("not ours: `{}`", clip(text)))?;
            let nanoseconds = nanoseconds.trim_end_matches(']').parse().context("not the time of `emit`")?;
            ensure!(!self.acked, "a second ack");
            self.acked = true;
            record(&mut self.emits, Duration::from_nanos(nanoseconds));
        }
        Ok(())
    }
}

/// When an ack was due to be asked for, and how long after that it came.
type Asked = (Instant, Duration);

/// The second generator.
struct Others {
    thread: thread::JoinHandle<anyhow::Result<Vec<Asked>>>,
    over: Arc<AtomicBool>,
}

impl Others {
    /// Returns when its clients are connected.
    fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let mut generator = Generator::new(server)?;
        generator.open(OTHER_CLIENTS, Way::WebSocket, &mut Silence)?;
        // They leave the room to which the broadcasts go; again where it was too early, because some servers lose that.
        let (event, answer) = ("[\"leave\",\"r\"]".into(), "true]".into());
        let mut acks = Acks { event, answer, ..Acks::default() };
        let mut tries = 0;
        loop {
            for client in 0..OTHER_CLIENTS {
                acks.ask(generator.network(), client, Instant::now());
            }
            generator.network().flush()?;
            while !acks.asked.is_empty() && generator.turn(&mut acks, PATIENCE)? {}
            if acks.asked.is_empty() {
                break;
            }
            tries += 1;
            ensure!(tries < TRIES, "no answer to {} of {OTHER_CLIENTS}", acks.asked.len());
            acks.forget();
        }
        acks.came.clear();
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let over = Arc::clone(&over);
            move || ask(&mut generator, acks, &over)
        });
        Ok(Self { thread, over })
    }

    fn stop(self) -> anyhow::Result<Vec<Asked>> {
        self.over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the second generator panicked"))?
    }
}

/// Asks at a steady pace, whether answers come or not, and counts from when it should have asked: a server that stalls
/// would otherwise be asked less while it does.
fn ask(generator: &mut Generator, mut acks: Acks, over: &AtomicBool) -> anyhow::Result<Vec<Asked>> {
    let mut due = Instant::now();
    let mut client = 0;
    let text = "x".repeat(SHORT);
    (acks.event, acks.answer) = (format!("[\"ack\",\"{text}\"]"), format!("\"{text}\"]"));
    while !over.load(Ordering::Acquire) {
        due += PACE;
        generator.serve_for(due.saturating_duration_since(Instant::now()), &mut acks)?;
        acks.ask(generator.network(), client, due);
        generator.network().flush()?;
        client = (client + 1) % OTHER_CLIENTS;
    }
    while !acks.asked.is_empty() {
        generator.step(&mut acks).context("acks of the others")?;
    }
    Ok(acks.came)
}

#[derive(Default)]
struct Acks {
    /// What is asked, and what the answer must hold.
    event: String,
    answer: String,
    next: u32,
    /// By number: who asked, and when it was due.
    asked: HashMap<u32, (usize, Instant)>,
    /// Numbers below are not waited for any more, but may be answered.
    forgotten: u32,
    came: Vec<Asked>,
}

impl Acks {
    fn ask(&mut self, network: &mut Network, client: usize, due: Instant) {
        network.send(client, &format!("42{}{}", self.next, self.event));
        self.asked.insert(self.next, (client, due));
        self.next += 1;
    }

    fn forget(&mut self) {
        self.asked.clear();
        self.forgotten = self.next;
    }
}

impl Traffic for Acks {
    fn packet(&mut self, network: &mut Network, client: usize, text: &str) -> anyhow::Result<()> {
        let (id, answer) = ack(text).with_context(|| format!("not ours: `{}`", clip(text)))?;
        if id < self.forgotten {
            return Ok(());
        }
        let (asker, due) = self.asked.remove(&id).with_context(|| format!("ack {id} came twice"))?;
        ensure!(asker == client && answer == self.answer, "ack {id} is not what {asker} asked for");
        self.came.push((due, network.now.saturating_duration_since(due)));
        Ok(())
    }
}
