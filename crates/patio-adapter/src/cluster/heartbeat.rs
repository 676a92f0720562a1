//! Which servers are there, by their messages: for message systems that cannot count subscribers.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::broker::Heartbeat;
use crate::NodeId;

/// How often silent servers are looked for, as in Node.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A peer that invents ids must not fill the memory.
const MAX_NODES: usize = 10_000;

/// The servers that were heard of lately.
pub(super) struct Members {
    rhythm: Heartbeat,
    state: Mutex<State>,
}

struct State {
    /// When each was last heard.
    heard: HashMap<NodeId, Instant>,
    /// When this server last published anything.
    published: Instant,
    next_sweep: Instant,
}

/// What is to be done now.
pub(super) struct Due {
    /// Say that this server is here.
    pub(super) heartbeat: bool,
    /// These servers have fallen silent and are members no more.
    pub(super) lost: Vec<NodeId>,
    /// When to look again.
    pub(super) next: Instant,
}

impl Members {
    pub(super) fn new(rhythm: Heartbeat) -> Self {
        let now = Instant::now();
        let state = State { heard: HashMap::new(), published: now, next_sweep: now };
        Self { rhythm, state: Mutex::new(state) }
    }

    /// `node` has said something.
    pub(super) fn heard(&self, node: &NodeId) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if let Some(at) = state.heard.get_mut(node) {
            *at = now;
        } else if state.heard.len() < MAX_NODES {
            state.heard.insert(node.clone(), now);
        }
    }

    /// `node` has left.
    pub(super) fn left(&self, node: &NodeId) {
        self.state.lock().heard.remove(node);
    }

    /// This server has published something, which is as good as a heartbeat.
    pub(super) fn published(&self) {
        self.state.lock().published = Instant::now();
    }

    /// The members, without this server.
    pub(super) fn nodes(&self) -> HashSet<NodeId> {
        self.state.lock().heard.keys().cloned().collect()
    }

    /// What is due at `now`.
    pub(super) fn due(&self, now: Instant) -> Due {
        let mut state = self.state.lock();
        let mut lost = Vec::new();
        if now >= state.next_sweep {
            state.next_sweep = now + SWEEP_INTERVAL;
            let timeout = self.rhythm.timeout;
            lost = state.heard.extract_if(|_, at| now - *at > timeout).map(|(node, _)| node).collect();
        }
        let heartbeat = now >= state.published + self.rhythm.interval;
        if heartbeat {
            state.published = now;
        }
        Due { heartbeat, lost, next: state.next_sweep.min(state.published + self.rhythm.interval) }
    }
}
