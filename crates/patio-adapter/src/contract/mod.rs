//! The contract suite: what every adapter must do, whatever carries its messages.
//!
//! A test gives [`Contract`] a way to make servers that form a cluster (three, or one that stands alone) and runs
//! the [`CASES`]. Each case gets fresh servers, a [`TestNamespace`] behind each adapter, two sockets on each. The
//! list covers what Node's adapters are held to. Time may be paused; with a real broker it passes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use patio_adapter::{AdapterFactory, InProcess, contract::Contract};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let contract = Contract::new(|| {
//!     let bus = InProcess::new(); // yours: a prefix, a channel or a database that no other test uses
//!     let servers = (0..3).map(|_| Arc::new(bus.node()) as Arc<dyn AdapterFactory>).collect();
//!     std::future::ready(servers)
//! });
//! contract.run_all().await.assert_passed(50);
//! # });
//! ```

mod cases;
pub mod namespace;

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_core::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use crate::{Adapter, AdapterFactory, BroadcastOptions, Local, Payload, Room};
pub use cases::CASES;
pub use namespace::TestNamespace;
use namespace::{Happened, fence};

/// What a case returns: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

/// One case of the contract.
pub struct Case {
    /// Its name, which says what must hold.
    pub name: &'static str,
    /// What it needs.
    pub needs: Needs,
    run: for<'a> fn(&'a Servers) -> BoxFuture<'a, Verdict>,
}

/// What a case needs of the adapters; others are not held to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any number of servers.
    Any,
    /// Three servers.
    Three,
    /// Own sockets are served before the call returns: not so where the broker loops commands back.
    Immediate,
    /// Connection state recovery.
    Recovery,
}

type Make = Box<dyn Fn() -> BoxFuture<'static, Vec<Arc<dyn AdapterFactory>>> + Send + Sync>;

/// The adapters that are held to the contract.
pub struct Contract {
    make: Make,
    patience: Duration,
    settle: Duration,
    immediate: bool,
}

impl Contract {
    /// `make` returns the factories of a new cluster that nobody else is in: three, or one that stands alone.
    pub fn new<F>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Vec<Arc<dyn AdapterFactory>>> + Send + 'static,
    {
        Self {
            make: Box::new(move || Box::pin(make())),
            patience: Duration::from_secs(3),
            settle: Duration::ZERO,
            immediate: true,
        }
    }

    /// How long something that must happen may take; 3 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a change (a join, a message on another channel than the fence's) may be under way after the fence has
    /// arrived; 0.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// The broker loops commands back: own sockets are served a little later.
    pub fn loops_back(mut self) -> Self {
        self.immediate = false;
        self
    }

    /// Runs every case that applies.
    pub async fn run_all(&self) -> Report {
        let mut report = Report { outcomes: Vec::new() };
        for case in CASES {
            if let Some(verdict) = self.run(case).await {
                report.outcomes.push((case.name, verdict));
            }
        }
        report
    }

    /// Runs one case, if it applies to these adapters.
    pub async fn run(&self, case: &Case) -> Option<Verdict> {
        let factories = (self.make)().await;
        let applies = match case.needs {
            Needs::Any | Needs::Recovery => true,
            Needs::Three => factories.len() >= 3,
            Needs::Immediate => self.immediate,
        };
        if !applies {
            return None;
        }
        let servers = match Servers::start(self, factories).await {
            Ok(servers) => servers,
            Err(error) => return Some(Err(format!("the cluster did not form: {error}"))),
        };
        if case.needs == Needs::Recovery && !servers.nodes.iter().all(|node| node.adapter.recovery()) {
            servers.close().await;
            return None;
        }
        let verdict = (case.run)(&servers).await;
        servers.close().await;
        Some(verdict)
    }
}

/// What became of each case.
#[derive(Debug)]
pub struct Report {
    /// The cases that applied, by name.
    pub outcomes: Vec<(&'static str, Verdict)>,
}

impl Report {
    /// The names of the cases that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.outcomes.iter().filter(|(_, verdict)| verdict.is_err()).map(|(name, _)| *name).collect()
    }

    /// Panics with all that is wrong, unless `at_least` cases ran and all passed.
    #[track_caller]
    pub fn assert_passed(&self, at_least: usize) {
        let mut wrong = String::new();
        for (name, verdict) in &self.outcomes {
            if let Err(what) = verdict {
                let _ = writeln!(wrong, "  {name}: {what}");
            }
        }
        assert!(wrong.is_empty(), "the adapter breaks the contract:\n{wrong}");
        assert!(self.outcomes.len() >= at_least, "only {} cases ran", self.outcomes.len());
    }
}

/// The servers of one case.
pub(crate) struct Servers {
    nodes: Vec<Node>,
    factories: Vec<Arc<dyn AdapterFactory>>,
    patience: Duration,
    settle: Duration,
    last_fence: AtomicU64,
}

/// One server: a namespace and its adapter.
pub(crate) struct Node {
    pub(crate) namespace: Arc<TestNamespace>,
    pub(crate) adapter: Arc<dyn Adapter>,
}

impl Node {
    async fn start(factory: &dyn AdapterFactory, name: &str, server: usize) -> Result<Self, String> {
        let namespace = TestNamespace::with_id_tag(name, &id_tag(server));
        let local: Arc<dyn Local> = namespace.clone();
        let adapter = factory.create(name, Arc::downgrade(&local));
        namespace.set_adapter(&adapter);
        adapter.init().await.map_err(|error| error.to_string())?;
        Ok(Self { namespace, adapter })
    }
}

/// The id of socket `which` (`'a'` or `'b'`) on server `server`: 20 characters, as all ids have.
pub(crate) fn id(server: usize, which: char) -> Room {
    Room::from(format!("{}-is-its-socket-{which}", id_tag(server)))
}

/// What the ids on this server begin with.
fn id_tag(server: usize) -> String {
    format!("sv{server:02}")
}

impl Servers {
    /// Starts a server per factory. On each, socket a is in `all-a`, in `on-N` (N is the server) and in `42`, socket b
    /// in `all-b` and in `on-N`.
    async fn start(contract: &Contract, factories: Vec<Arc<dyn AdapterFactory>>) -> Result<Self, String> {
        let mut nodes = Vec::new();
        for (n, factory) in factories.iter().enumerate() {
            nodes.push(Node::start(&**factory, "/", n).await?);
        }
        for (n, node) in nodes.iter().enumerate() {
            let on = format!("on-{n}");
            node.namespace.connect(&id(n, 'a'), &["all-a", &on, "42"]);
            node.namespace.connect(&id(n, 'b'), &["all-b", &on]);
        }
        let Contract { patience, settle, .. } = *contract;
        let servers = Self { nodes, factories, patience, settle, last_fence: AtomicU64::new(0) };
        servers.know_each_other(&servers.nodes).await?;
        servers.settle().await?;
        Ok(servers)
    }

    /// The same cluster's servers with another namespace, without sockets.
    pub(crate) async fn other_namespace(&self, name: &str) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        for (n, factory) in self.factories.iter().enumerate() {
            nodes.push(Node::start(&**factory, name, n).await?);
        }
        self.know_each_other(&nodes).await?;
        Ok(nodes)
    }

    async fn know_each_other(&self, nodes: &[Node]) -> Verdict {
        let started = Instant::now();
        for node in nodes {
            loop {
                let count = node.adapter.server_count().await.map_err(|error| error.to_string())?;
                if count >= nodes.len() {
                    break;
                }
                if started.elapsed() > self.patience {
                    return Err(format!("a server knows {count} of {}", nodes.len()));
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    async fn close(&self) {
        for node in &self.nodes {
            node.adapter.close().await;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    pub(crate) fn adapter(&self, n: usize) -> &dyn Adapter {
        &*self.nodes[n].adapter
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Waits until everything that was sent so far has arrived everywhere: each server sends a fence to all, and
    /// messages of one server keep their order. Then what sockets have joined meanwhile is subscribed to.
    pub(crate) async fn settle(&self) -> Verdict {
        self.settle_nodes(&self.nodes).await
    }

    pub(crate) async fn settle_nodes(&self, nodes: &[Node]) -> Verdict {
        for sender in nodes {
            let n = self.last_fence.fetch_add(1, Relaxed);
            let sent = sender.adapter.broadcast(&fence(n), &BroadcastOptions::everyone());
            sent.map_err(|error| error.to_string())?;
            self.eventually("a fence", || nodes.iter().all(|node| node.namespace.has_fence(n))).await?;
        }
        for node in nodes {
            let joined = node.adapter.joined(&node.namespace.rooms());
            timeout(self.patience, joined).await.map_err(|_| "what was joined is not subscribed to")?;
        }
        sleep(self.settle).await;
        Ok(())
    }

    /// Waits for something that must become true.
    pub(crate) async fn eventually(&self, what: &str, mut check: impl FnMut() -> bool) -> Verdict {
        let started = Instant::now();
        while !check() {
            if started.elapsed() > self.patience {
                return Err(format!("{what} did not come in {:?}", self.patience));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What socket `which` of server `n` got so far: events with and without ack, in order.
    pub(crate) fn got(&self, n: usize, which: char) -> Vec<Payload> {
        let log = self.log(n, which);
        log.into_iter()
            .filter_map(|happened| match happened {
                Happened::Event { payload, .. } | Happened::Asked(payload) => Some(payload),
                Happened::Disconnected(_) => None,
            })
            .collect()
    }

    pub(crate) fn log(&self, n: usize, which: char) -> Vec<Happened> {
        self.nodes[n].namespace.socket(&id(n, which)).map(|socket| socket.log).unwrap_or_default()
    }

    /// All sockets: server and letter.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, char)> {
        (0..self.len()).flat_map(|n| [(n, 'a'), (n, 'b')])
    }

    /// After everything has arrived: exactly the sockets for which `expected` is true got `event`, and exactly once.
    pub(crate) async fn only(&self, event: &Payload, expected: impl Fn(usize, char) -> bool) -> Verdict {
        let times = |n, which| self.got(n, which).iter().filter(|got| *got == event).count();
        self.settle().await?;
        // It may have another way than the fences. Whoever gets it too often or wrongly has it by then.
        let late =
            self.eventually("", || self.all().all(|(n, which)| !expected(n, which) || times(n, which) > 0));
        // What has not come is said below.
        let _ = late.await;
        for (n, which) in self.all() {
            let times = times(n, which);
            let should = usize::from(expected(n, which));
            if times != should {
                return Err(format!(
                    "socket {which} of server {n} got {event:?} {times} times, not {should}"
                ));
            }
        }
        Ok(())
    }
}
