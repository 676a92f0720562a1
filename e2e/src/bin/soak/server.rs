//! The server: what README shows, with all defaults but the times after which a silent client is gone, and an account
//! of what it holds, given for each line on its standard input.

use std::{
    collections::VecDeque,
    fs,
    io::stdin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use parking_lot::Mutex;
use patio::{
    ConnectionStateRecovery, EmitError, Namespace, Reply, Server, Socket, Value,
    adapter::memory::{Memory, MemoryRecovery},
    extract::{Data, State},
};
use serde::{Deserialize, Serialize};

use crate::ALLOCATOR;

/// A client that is cut between two polls is gone after twice this time. Long enough for a busy machine: no client lives
/// for a second.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// How many of the sockets that were asked last are looked at.
const WATCHED: usize = 1_000;

/// What the server holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Tasks of the runtime: `RuntimeMetrics::num_alive_tasks`.
    pub(crate) tasks: usize,
    /// Open files, TCP sockets among them.
    pub(crate) files: usize,
    pub(crate) connections: usize,
    pub(crate) namespaces: usize,
    pub(crate) sockets: usize,
    pub(crate) rooms: usize,
    pub(crate) timers: usize,
    /// Entries in the tables of acks of sockets that ended, and of those that are there.
    pub(crate) acks: usize,
    /// Handlers that wait for a client's answer, or for their socket's end.
    pub(crate) waiting: usize,
    /// Bytes that are allocated.
    pub(crate) heap: u64,
    /// Resident memory in bytes.
    pub(crate) resident: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) panics: u64,
    pub(crate) recovered: usize,
}

/// What the handlers count.
#[derive(Clone, Default)]
struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    recovered: AtomicUsize,
    /// Sockets that were asked something last. They are held, so that what their tables kept would be seen.
    asked: Mutex<VecDeque<Socket>>,
}

impl Tally {
    /// Counts one that waits, until the result is dropped.
    fn wait(&self) -> Waits {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(self.clone())
    }

    fn asks(&self, socket: &Socket) {
        let mut asked = self.0.asked.lock();
        if asked.len() == WATCHED {
            asked.pop_front();
        }
        asked.push_back(socket.clone());
    }
}

struct Waits(Tally);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves until the standard input ends.
pub(crate) async fn serve(recovery: bool) -> anyhow::Result<()> {
    let tally = Tally::default();
    let mut builder = Server::builder()
        .allow_eio3(true)
        .ping_interval(SILENCE)
        .ping_timeout(SILENCE)
        .cleanup_empty_child_namespaces(true)
        .state(tally.clone())
        .namespace("/", namespace())
        .namespace("/chat", namespace());
    if recovery {
        let recovery = ConnectionStateRecovery { max_disconnection: SILENCE, ..Default::default() };
        // A history that the first clients fill: then it is as large in the end.
        let history = MemoryRecovery {
            max_disconnection: SILENCE,
            max_packets: 200,
            max_sessions: 20,
            ..Default::default()
        };
        builder = builder.connection_state_recovery(recovery).adapter(Memory::with_recovery(history));
    }
    let io = builder.build()?;
    io.of_dynamic("/made-{n}", namespace());

    // An address of its own, so that the ports of runs before do not matter.
    let own = 1 + (std::process::id() % 250) as u8;
    let listener = patio::listen(([127, own, 7, own], 0).into())?;
    println!("{}", listener.local_addr()?);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (accountant, ticker) = (io.clone(), io.clone());
    let runtime = tokio::runtime::Handle::current();
    // Threads of their own: tasks would be counted.
    std::thread::spawn(move || {
        for _ in stdin().lines() {
            let report = report(&accountant, &tally, &runtime);
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        }
        drop(end);
    });
    // Emits from outside any connection are written by the flusher.
    std::thread::spawn(move || {
        for n in 0_u64.. {
            if ticker.emit("tick", &n).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let drain = io.clone();
    patio::serve(listener, io)
        .with_graceful_shutdown(async move { drop(ended.await) })
        .drain(async move { drain.close().await })
        .await?;
    Ok(())
}

/// What clients may do; the same in every namespace.
fn namespace() -> Namespace {
    Namespace::new()
        .on_connect(connected)
        .on("enter", async |socket: Socket, Data(room): Data<String>| {
            socket.join(&room);
            Reply(socket.rooms().len())
        })
        .on("say", async |socket: Socket, Data((room, what)): Data<(String, Value)>| {
            socket.to(&room).emit("said", &what)
        })
        .on("ask", ask)
        .on("ask_room", ask_room)
        .on("stay", stay)
}

async fn connected(socket: Socket, State(tally): State<Tally>) -> Result<(), EmitError> {
    if socket.recovered() {
        tally.0.recovered.fetch_add(1, Ordering::Relaxed);
    }
    let own = socket.clone();
    // A closure that holds its own socket.
    socket.on("own", async move || Reply(own.id().clone()));
    socket.emit("welcome", socket.id())
}

/// Asks the client, and tells it what it said.
async fn ask(socket: Socket, State(tally): State<Tally>) -> Result<(), EmitError> {
    tally.asks(&socket);
    let _waits = tally.wait();
    match socket.emit_with_ack::<Value>("ask", &()).await {
        Ok(answer) => socket.emit("answered", &answer),
        Err(_) => Ok(()),
    }
}

/// Asks everyone in a room.
async fn ask_room(
    socket: Socket,
    State(tally): State<Tally>,
    Data(room): Data<String>,
) -> Result<(), EmitError> {
    tally.asks(&socket);
    let _waits = tally.wait();
    let answers = socket.server().of(socket.namespace()).to(&room).emit_with_ack::<Value>("ask_room", &());
    match answers.all().await {
        Ok(answers) => socket.emit("answered", &answers.len()),
        Err(partial) => socket.emit("answered", &partial.answers.len()),
    }
}

/// A handler that is still there when its socket ends.
async fn stay(socket: Socket, State(tally): State<Tally>, Data(room): Data<String>) -> Result<(), EmitError> {
    let _waits = tally.wait();
    socket.emit("staying", &())?;
    socket.closed().await;
    socket.server().to(&room).emit("left", socket.id())
}

fn report(io: &Server, tally: &Tally, runtime: &tokio::runtime::Handle) -> Report {
    let namespaces: Vec<_> = io.namespaces().into_iter().map(|name| io.of(name)).collect();
    let sockets: Vec<_> = namespaces.iter().flat_map(|namespace| namespace.sockets()).collect();
    let asked = std::mem::take(&mut *tally.0.asked.lock());
    let counters = io.counters();
    let mut report = Report {
        tasks: runtime.metrics().num_alive_tasks(),
        files: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        connections: io.engine().clients_count(),
        namespaces: namespaces.len(),
        sockets: sockets.len(),
        rooms: namespaces.iter().map(|namespace| namespace.rooms().len()).sum(),
        timers: io.engine().listed_timers(),
        acks: sockets.iter().chain(&asked).map(Socket::pending_acks).sum(),
        waiting: tally.0.waiting.load(Ordering::Relaxed),
        opened: counters.opened,
        closed: counters.closed,
        panics: counters.panics,
        recovered: tally.0.recovered.load(Ordering::Relaxed),
        heap: 0,
        resident: 0,
    };
    drop((namespaces, sockets, asked));
    report.heap = ALLOCATOR.allocated() as u64;
    report.resident = resident().unwrap_or_default();
    report
}

/// Resident memory in bytes. `smaps_rollup` counts pages; `VmRSS` of `status` adds up counters that each CPU keeps and
/// may be off by some hundred kilobytes.
fn resident() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
