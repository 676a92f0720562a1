//! The soak: 100,000 clients that connect, join, emit and go, over all transports and both protocols, politely or cut in
//! the middle of something; then nothing of them is left in the server, and its memory is what it was.
//!
//! The server is a process of its own ([`server`]), so that its memory is its own; it is this program again, told so by
//! its command line. Each client is one [`life`]. What is asked of the server before, after the first 1,000 lives and in
//! the end, becomes the [`figures`], each of which is one test; the last line is `N passed, N failed, N skipped`. A
//! second, shorter run has connection state recovery on.
//!
//! ```sh
//! cargo run --profile soak -p e2e --bin soak --all-features
//! ```

mod child;
mod client;
mod figures;
mod kinds;
mod life;
mod network;
mod server;

// Written for the boundary tests of `patio`, and used as it is.
#[expect(dead_code, reason = "the tests of patio use the rest")]
#[path = "../../../../crates/patio/tests/support/clients/mod.rs"]
mod raw;

use std::{
    alloc::System,
    ops::Range,
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, bail};
use cap::Cap;
use clap::Parser as _;
use futures_util::FutureExt;
use tokio::task::JoinSet;

use self::{
    child::Child,
    figures::{Figures, TASKS},
    network::Network,
};

// It counts what is allocated, to the byte.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

#[derive(Clone, Debug, clap::Parser)]
struct Flags {
    /// Clients of the run without recovery; the one with it has a tenth of them, at least 2,000.
    #[arg(long, default_value_t = 100_000)]
    cycles: u64,
    /// After so many the memory is measured that the end is compared with.
    #[arg(long, default_value_t = 1_000)]
    first: u64,
    /// Clients at a time. The first ones come eight times as many: an allocator keeps what was in use at the busiest
    /// moment, and that shall lie before the first measurement.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Which clients do what; the one that is printed gives the same again.
    #[arg(long)]
    seed: Option<u64>,
    /// Be the server. Used by this program itself.
    #[arg(long, hide = true)]
    serve: bool,
    /// With connection state recovery.
    #[arg(long, hide = true)]
    recovery: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    // The same number of threads wherever it runs, so that the number of tasks is the same.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if flags.serve {
        runtime.block_on(server::serve(flags.recovery))?;
        return Ok(ExitCode::SUCCESS);
    }
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("seed {seed}");
    let mut figures = Figures::default();
    for (recovery, cycles) in [(false, flags.cycles), (true, (flags.cycles / 10).max(2_000))] {
        figures.begin(if recovery { "with recovery" } else { "without recovery" });
        let soak = Soak { seed, cycles, recovery, flags: flags.clone() };
        runtime.block_on(soak.run(&mut figures))?;
    }
    println!("{} passed, {} failed, 0 skipped", figures.passed, figures.failed);
    Ok(if figures.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// After so many lives that went wrong the others are not begun: the server is broken.
const TOO_MANY: u64 = 20;

/// One run: one server and its clients.
struct Soak {
    seed: u64,
    cycles: u64,
    recovery: bool,
    flags: Flags,
}

impl Soak {
    async fn run(&self, figures: &mut Figures) -> anyhow::Result<()> {
        let mut server = Child::start(self.recovery)?;
        let network = Arc::new(Network::new(server.address));
        let before = server.settle(0).await?;
        let began = Instant::now();
        let wrong = Arc::new(AtomicU64::new(0));
        let first = self.flags.first.min(self.cycles);
        self.live(0..first, 8 * self.flags.clients, &network, &wrong).await?;
        let after_first = server.settle(TASKS).await?;
        self.live(first..self.cycles, self.flags.clients, &network, &wrong).await?;
        let last = server.settle(TASKS).await?;
        let lives = figures::Lives { cycles: self.cycles, wrong: wrong.load(Ordering::Relaxed) };
        figures.judge(&lives, &before, &after_first, &last, self.recovery);
        println!("        {} lives in {:.1} s", self.cycles, began.elapsed().as_secs_f64());
        server.end().context("the server did not end well")
    }

    /// Has these clients live, so many at a time.
    async fn live(
        &self,
        numbers: Range<u64>,
        at_a_time: usize,
        network: &Arc<Network>,
        wrong: &Arc<AtomicU64>,
    ) -> anyhow::Result<()> {
        let next = Arc::new(AtomicU64::new(numbers.start));
        let mut workers = JoinSet::new();
        for _ in 0..at_a_time {
            let (next, network, wrong) = (Arc::clone(&next), Arc::clone(network), Arc::clone(wrong));
            let (seed, first, end, recovery) = (self.seed, self.flags.first, numbers.end, self.recovery);
            workers.spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= end || wrong.load(Ordering::Relaxed) >= TOO_MANY {
                        return;
                    }
                    let life = life::Life::nth(seed, n, n < first, recovery);
                    let what = life.to_string();
                    // What a client does not get as it should is a panic, with its place.
                    if AssertUnwindSafe(life.live(&network)).catch_unwind().await.is_err() {
                        wrong.fetch_add(1, Ordering::Relaxed);
                        println!("FAILED  client {n}: {what}");
                    }
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        if wrong.load(Ordering::Relaxed) >= TOO_MANY {
            bail!("{TOO_MANY} clients were not served as they should");
        }
        Ok(())
    }
}
