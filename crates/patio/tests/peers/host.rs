//! The server in a process of its own, and what it says of itself.

use std::{collections::BTreeMap, env, io::stdin, ops::Deref, sync::Arc, time::Duration};

use parking_lot::Mutex;
use patio::{DisconnectReason, Reply, Socket, extract::Args};
use serde_json::{Value, json};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::{
    joined, ms, payload, polling,
    support::{
        Net, V4, Watched,
        process::{Process, memory, tell},
        soon,
    },
};

/// What a client may take where the test says so: each time that there is.
pub(crate) const SHORT: Duration = ms(1_000);

/// How late the end of a peer may be seen: the machine may be busy, and asking takes a while too.
const LATE: Duration = Duration::from_secs(4);

/// Where the process of the server finds its part.
const PART: &str = "PATIO_PEERS_SERVER";

/// The test that is the server when its part says so.
const SERVER: &str = "host::a_server_ends_with_the_test_that_started_it";

/// A server in a process of its own, warmed up: what it needs once is not counted to the peers.
pub(crate) struct Host {
    process: Process,
    net: Net,
    before: Figures,
}

/// What a server says of itself.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The most that was resident, in bytes.
    memory: usize,
    tasks: usize,
    clients: usize,
    /// How many polls waited, or wait.
    polls: usize,
    /// How often each reason was heard.
    reasons: BTreeMap<String, u64>,
}

impl Deref for Host {
    type Target = Net;

    fn deref(&self) -> &Net {
        &self.net
    }
}

impl Host {
    /// A server that waits as long as servers do by default.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// One whose every time is `time`; silence is two of them.
    pub(crate) async fn hasty(time: Duration) -> Self {
        Self::with(&time.as_millis().to_string()).await
    }

    async fn with(times: &str) -> Self {
        let mut process = Process::start(SERVER, &[(PART, times)]);
        let net = Net::at(process.said().parse().unwrap());
        let before = Figures { memory: 0, tasks: 0, clients: 0, polls: 0, reasons: BTreeMap::new() };
        let mut host = Self { process, net, before };
        host.warm_up().await;
        host
    }

    /// Each worker's buffers, and the tasks that a server starts once.
    async fn warm_up(&mut self) {
        for _ in 0..8 {
            let mut ws = joined(self, V4).await;
            ws.send(&format!("421[\"x\",\"{}\"]", "x".repeat(500_000))).await;
            while ws.text().await != "431[1]" {}
            let mut polling = polling(self, V4).await;
            assert_eq!(polling.post(payload(V4, "42[\"x\"]", 100)).await.status, 200);
            polling.send("1").await;
        }
        let mut same = 0;
        while same < 10 {
            sleep(ms(20)).await;
            let now = self.figures();
            same = if (now.clients, now.tasks) == (0, self.before.tasks) { same + 1 } else { 0 };
            self.before = now;
        }
        self.say("forget");
        self.before = self.figures();
    }

    fn say(&mut self, command: &str) {
        self.process.say(command);
        assert_eq!(self.process.said(), "done");
    }

    /// Sends each client an event of so many bytes, which it shares with nobody.
    pub(crate) fn emit(&mut self, bytes: usize) {
        self.say(&format!("emit {bytes}"));
    }

    pub(crate) fn figures(&mut self) -> Figures {
        self.process.say("figures");
        let said: Value = serde_json::from_str(&self.process.said()).unwrap();
        let number = |name: &str| said[name].as_u64().unwrap() as usize;
        Figures {
            memory: number("memory"),
            tasks: number("tasks"),
            clients: number("clients"),
            polls: number("polls"),
            reasons: serde_json::from_value(said["reasons"].clone()).unwrap(),
        }
    }

    /// That it has no more tasks beside its own than these now.
    #[track_caller]
    pub(crate) fn has_tasks(&mut self, most: usize) {
        let tasks = self.figures().tasks - self.before.tasks;
        println!("{}: {tasks} tasks of {most}", std::panic::Location::caller());
        assert!(tasks <= most, "{tasks} tasks");
    }

    /// That so many clients are there now.
    #[track_caller]
    pub(crate) fn has_clients(&mut self, clients: usize) {
        assert_eq!(self.figures().clients, clients);
    }

    /// Waits until so many more polls wait, or have waited.
    pub(crate) async fn polls(&mut self, polls: usize) {
        soon(async {
            while self.figures().polls < self.before.polls + polls {
                sleep(ms(1)).await;
            }
        })
        .await;
    }

    /// That all peers are let go and nothing of them is left after `time`, with these reasons, and that they never
    /// took more than `most` bytes.
    #[track_caller]
    pub(crate) fn lets_go(
        mut self,
        time: Duration,
        most: usize,
        reasons: &[(&str, u64)],
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let start = Instant::now();
            let figures = loop {
                let figures = self.figures();
                if figures.clients == 0 && figures.tasks <= self.before.tasks {
                    break figures;
                }
                assert!(start.elapsed() < time + LATE, "at {caller} still {figures:?}; {:?}", self.before);
                sleep(ms(10)).await;
            };
            let took = start.elapsed();
            let grown = figures.memory.saturating_sub(self.before.memory);
            println!("{caller}: {} kB of {} kB, let go after {took:?}", grown / 1_024, most / 1_024);
            assert!(grown <= most, "{} kB at {caller}", grown / 1_024);
            let expected: BTreeMap<_, _> =
                reasons.iter().map(|&(reason, times)| (reason.to_owned(), times)).collect();
            assert_eq!(figures.reasons, expected, "at {caller}");
        }
    }
}

#[test]
fn a_server_ends_with_the_test_that_started_it() {
    if let Ok(times) = env::var(PART) {
        return serve(times.parse().ok().map(Duration::from_millis));
    }
    let mut server = Process::start(SERVER, &[(PART, "")]);
    assert!(server.said().starts_with("127."));
    assert!(server.ended().success());
}

#[tokio::main(worker_threads = 2)]
async fn serve(hasty: Option<Duration>) {
    let mut builder = patio::Server::builder().allow_eio3(true);
    if let Some(time) = hasty {
        builder = builder.ping_interval(time).ping_timeout(time).upgrade_timeout(time);
        builder = builder.connect_timeout(time).attachment_timeout(time);
    }
    #[cfg(feature = "deflate")]
    let builder = builder.per_message_deflate(1_024);
    let io = builder.build().unwrap();
    io.on("x", async |Args(args): Args| Reply(args.len()));
    let reasons = Arc::new(Mutex::new(BTreeMap::<_, u64>::new()));
    let heard = Arc::clone(&reasons);
    io.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
        *heard.lock().entry(reason.to_string()).or_default() += 1;
    });

    // An address of its own, so that the ports of runs before do not matter.
    let own = 1 + (std::process::id() % 250) as u8;
    let listener = patio::listen(([127, own, 8, own], 0).into()).unwrap();
    tell(listener.local_addr().unwrap());
    let (service, polls) = Watched::new(io.service());
    let mut serve = patio::serve(listener, service);
    if let Some(time) = hasty {
        serve = serve.header_read_timeout(time).write_timeout(time);
    }
    tokio::spawn(serve.into_future());

    let runtime = Handle::current();
    let answer = move || {
        for line in stdin().lines() {
            let line = line.unwrap();
            let answer = match line.split_once(' ') {
                Some(("emit", bytes)) => {
                    let bytes: usize = bytes.parse().unwrap();
                    for socket in io.of("/").sockets() {
                        // It may have gone.
                        let _ = socket.emit("flood", &"x".repeat(bytes));
                    }
                    "done".to_owned()
                }
                None if line == "figures" => {
                    let figures = json!({
                        "memory": memory("VmHWM"),
                        "tasks": runtime.metrics().num_alive_tasks(),
                        "clients": io.engine().clients_count(),
                        "polls": polls.available_permits(),
                        "reasons": *reasons.lock(),
                    });
                    figures.to_string()
                }
                None if line == "forget" => {
                    reasons.lock().clear();
                    // From now on the most is counted anew, where the kernel does that.
                    let _ = std::fs::write("/proc/self/clear_refs", "5");
                    "done".to_owned()
                }
                _ => panic!("{line}"),
            };
            tell(answer);
        }
    };
    tokio::task::spawn_blocking(answer).await.unwrap();
}
