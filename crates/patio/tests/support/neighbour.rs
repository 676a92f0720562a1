//! An ordinary client beside those that cross limits: what it feels of them is measured.
//!
//! It sends an event and waits for the acknowledgement, again and again, before and while others do their worst. What
//! it feels of a round trip is the clock's time without the time in which its thread, which is also the server's, was
//! ready to run and other processes had the processors. So the figures are nearly those of the server, however busy the
//! machine is, and a server that computes, sleeps or waits for a lock is felt in full.
//!
//! ```ignore
//! let server = Server::apart(builder()).await;      // a thread of its own: what clients compute is not its time
//! let neighbour = server.neighbour().await;         // has had its first round trips
//! …                                                 // cross the limit
//! neighbour.felt_nothing().await;
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use patio::Socket;
use tokio::{sync::oneshot, task::JoinHandle, time};

use super::{Connector, Server, V4, WsClient, soon};

/// Round trips that are measured before, and at least while a limit is crossed.
const TRIPS: usize = 100;

/// How much longer the usual round trip may become. Others are served in between, so some take twice the time.
const USUAL: u32 = 3;

/// How many usual ones a single one may last: a tenth of a second, without optimisation. What one read of 64 KiB brings is
/// dealt with in one go: ten thousand empty frames, the worst of it, take a hundred round trips' time.
const LONGEST: u32 = 500;

/// A usual round trip is not taken for shorter than this: the clock and the scheduler are no more exact.
const FLOOR: Duration = Duration::from_micros(250);

/// The longest round trips that may be longer than [`LONGEST`]: these, and one more of so many. A hypervisor takes a
/// processor away now and then, and does not say so, but never for as long as [`STALL`]. What a limit's crossing causes,
/// each crossing causes, and most tests cross their limit more often than that.
const UNTOLD: usize = 2;
const UNTOLD_OF: usize = 1_000;
const STALL: Duration = Duration::from_secs(1);

/// How often it sends with paused time: the clock goes on only while it waits too.
const PAUSE: Duration = Duration::from_millis(10);

/// A client that does nothing wrong. It is in the main namespace, and in the room `neighbour`.
#[must_use = "what it felt is told by `felt_nothing`"]
pub(crate) struct Neighbour {
    before: Felt,
    crossed: Arc<AtomicBool>,
    task: JoinHandle<Felt>,
}

impl Neighbour {
    /// One that has had its first round trips. With `paused` time each must end in the instant in which it began:
    /// nothing waits for a timer.
    pub(super) async fn of(server: &Server, paused: bool) -> Self {
        server.io.on("neighbour", async |socket: Socket| socket.join("neighbour"));
        let crossed = Arc::new(AtomicBool::new(false));
        let (tell, before) = oneshot::channel();
        let task = server.handle().spawn(stay(server.connector(), paused, tell, Arc::clone(&crossed)));
        Self { before: soon(before).await.unwrap(), crossed, task }
    }

    /// That it felt nothing since it came: neither is its usual round trip longer than before, nor any single one.
    #[track_caller]
    pub(crate) fn felt_nothing(self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.crossed.store(true, Ordering::Relaxed);
            let (before, after) = (self.before, soon(self.task).await.unwrap());
            println!("{caller}: a neighbour's round trips: {before}; then {after}");
            let usual = after.usual <= before.usual.max(FLOOR) * USUAL;
            let longest = after.longest <= before.usual.max(FLOOR) * LONGEST;
            assert!(after.stall <= STALL, "a neighbour stood still at {caller}: {after}");
            assert!(usual && longest, "a neighbour felt it at {caller}: {before}; then {after}");
        }
    }
}

/// Round trips of a client: `before` is told when it has had enough to compare with, then it goes on until `crossed`.
async fn stay(
    connector: Connector,
    paused: bool,
    before: oneshot::Sender<Felt>,
    crossed: Arc<AtomicBool>,
) -> Felt {
    let mut ws = WsClient::open(connector().await, V4, "", &[]).await;
    ws.join("/").await;
    let mut trips = Trips { ws, paused, sent: 0 };
    // The first ones pay for what is made once.
    trips.measure(|trips| trips == TRIPS / 4).await;
    // The test may have failed.
    let _ = before.send(trips.measure(|trips| trips == TRIPS).await);
    trips.measure(|trips| trips >= TRIPS && crossed.load(Ordering::Relaxed)).await
}

struct Trips {
    ws: WsClient,
    paused: bool,
    sent: usize,
}

impl Trips {
    async fn measure(&mut self, is_over: impl Fn(usize) -> bool) -> Felt {
        let mut felt = Vec::new();
        while !is_over(felt.len()) {
            let start = Moment::now();
            if self.paused {
                // What others do meanwhile is felt too.
                time::sleep(PAUSE).await;
            }
            let virtually = time::Instant::now();
            self.trip().await;
            if self.paused {
                assert_eq!(virtually.elapsed(), Duration::ZERO, "a neighbour waits for a timer");
            }
            felt.push(start.felt());
        }
        Felt::of(felt)
    }

    /// One round trip. What is sent to everyone is read on the way, and pings are answered.
    async fn trip(&mut self) {
        self.sent += 1;
        self.ws.send(&format!("42{}[\"neighbour\"]", self.sent)).await;
        let ack = format!("43{}[]", self.sent);
        loop {
            match self.ws.text().await {
                packet if packet == ack => return,
                packet if packet == "2" => self.ws.send("3").await,
                _ => {}
            }
        }
    }
}

/// A moment, and how long this thread has waited for a processor until then.
struct Moment(Instant, Duration);

impl Moment {
    fn now() -> Self {
        // Time on a processor, time ready to run, slices; nothing where the system does not tell.
        let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited = told.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        Self(Instant::now(), Duration::from_nanos(waited))
    }

    /// What was felt since then.
    fn felt(&self) -> Duration {
        let now = Self::now();
        (now.0 - self.0).saturating_sub(now.1.saturating_sub(self.1))
    }
}

/// What round trips took: the median, the longest that is no exception, and the longest.
#[derive(Clone, Copy)]
struct Felt {
    usual: Duration,
    longest: Duration,
    stall: Duration,
    trips: usize,
}

impl Felt {
    fn of(mut felt: Vec<Duration>) -> Self {
        felt.sort_unstable();
        let untold = UNTOLD + felt.len() / UNTOLD_OF;
        Self {
            usual: felt[felt.len() / 2],
            longest: felt[felt.len() - 1 - untold],
            stall: felt[felt.len() - 1],
            trips: felt.len(),
        }
    }
}

impl std::fmt::Display for Felt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, at most {:?}, once {:?} ({})", self.usual, self.longest, self.stall, self.trips)
    }
}
