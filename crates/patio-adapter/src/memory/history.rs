//! What recovery keeps in memory: recorded packets in order, and sessions of sockets that went away.
//!
//! Both are bounded in age, number and bytes. What leaves early is counted, and a session that needs it is not
//! restored: a client is told that it missed something, it is never left to guess.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{MemoryRecovery, yeast};
use crate::{BroadcastOptions, Offset, Payload, Replayed, Restored, Room, SessionRecord, counters::Counters};

/// Node sweeps by a timer of this period; here the sweep happens with the first record after it.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes of a kept packet beside its payload: the entry, its rooms.
const PACKET_OVERHEAD: usize = 200;

pub(super) struct History {
    limits: MemoryRecovery,
    counters: Arc<Counters>,
    yeast: yeast::Yeast,
    packets: VecDeque<Recorded>,
    /// Payload bytes and overhead of `packets`.
    bytes: usize,
    /// Everything up to here has left the history.
    forgotten: (u64, u64),
    sessions: HashMap<String, Kept>,
    /// When which session was persisted, oldest first. A session persisted again is in it twice; bounded as `sessions`.
    persisted: VecDeque<(Instant, String)>,
    last_sweep: Instant,
}

struct Recorded {
    offset: Offset,
    payload: Payload,
    options: BroadcastOptions,
    at: Instant,
}

struct Kept {
    session: SessionRecord,
    at: Instant,
}

impl History {
    pub(super) fn new(limits: MemoryRecovery, counters: Arc<Counters>) -> Self {
        Self {
            limits,
            counters,
            yeast: yeast::Yeast::new(),
            packets: VecDeque::new(),
            bytes: 0,
            forgotten: (0, 0),
            sessions: HashMap::new(),
            persisted: VecDeque::new(),
            last_sweep: Instant::now(),
        }
    }

    /// Records a packet and gives it its offset.
    pub(super) fn record(&mut self, payload: &Payload, options: &BroadcastOptions) -> Offset {
        let now = Instant::now();
        self.sweep(now);
        let offset = self.yeast.next();
        self.bytes += payload.size() + PACKET_OVERHEAD;
        self.packets.push_back(Recorded {
            offset: offset.clone(),
            payload: payload.clone(),
            options: options.clone(),
            at: now,
        });
        while self.packets.len() > self.limits.max_packets || self.bytes > self.limits.max_bytes {
            if !self.forget_oldest() {
                break;
            }
            self.counters.trimmed_packets.add();
        }
        offset
    }

    /// Keeps a session.
    pub(super) fn persist(&mut self, session: SessionRecord) {
        let now = Instant::now();
        self.sweep(now);
        self.persisted.push_back((now, session.pid.clone()));
        self.sessions.insert(session.pid.clone(), Kept { session, at: now });
        while self.persisted.len() > self.limits.max_sessions {
            if self.forget_oldest_session() {
                self.counters.trimmed_sessions.add();
            }
        }
    }

    /// The session `pid` and what it missed after `offset`. It is not consumed: a client whose first attempt was cut
    /// off may try again.
    pub(super) fn restore(&mut self, pid: &str, offset: &str) -> Option<Restored> {
        let kept = self.sessions.get(pid)?;
        if kept.at.elapsed() > self.limits.max_disconnection {
            self.sessions.remove(pid);
            return None;
        }
        let position = yeast::position(offset)?;
        let index = self.packets.binary_search_by(|packet| packet.offset.position().cmp(&position)).ok()?;
        let missed = self.missed(index + 1, &kept.session.rooms);
        let cursor = self.yeast.last();
        Some(Restored { session: kept.session.clone(), missed, cursor, vouched: true })
    }

    /// What `rooms` would have got after `cursor`.
    pub(super) fn replay(&mut self, cursor: &Offset, rooms: &[Room]) -> Option<Replayed> {
        if cursor.position() < self.forgotten {
            return None;
        }
        let index = self.packets.partition_point(|packet| packet.offset <= *cursor);
        Some(Replayed { missed: self.missed(index, rooms), cursor: self.yeast.last() })
    }

    fn missed(&self, from: usize, rooms: &[Room]) -> Vec<(Payload, Offset)> {
        let rooms: HashSet<&Room> = rooms.iter().collect();
        self.packets
            .range(from..)
            .filter(|packet| packet.options.includes(|room| rooms.contains(room)))
            .map(|packet| (packet.payload.clone(), packet.offset.clone()))
            .collect()
    }

    /// Forgets what is too old, at most once in a while.
    fn sweep(&mut self, now: Instant) {
        if now - self.last_sweep < SWEEP_INTERVAL {
            return;
        }
        self.last_sweep = now;
        let max_age = self.limits.max_disconnection;
        let too_old = |at: Instant| now - at > max_age;
        while self.packets.front().is_some_and(|packet| too_old(packet.at)) {
            self.forget_oldest();
        }
        while self.persisted.front().is_some_and(|(at, _)| too_old(*at)) {
            self.forget_oldest_session();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(packet) = self.packets.pop_front() else { return false };
        self.bytes -= packet.payload.size() + PACKET_OVERHEAD;
        self.forgotten = packet.offset.position();
        true
    }

    /// True if that forgot a session; false if it had been persisted again, or expired, since.
    fn forget_oldest_session(&mut self) -> bool {
        let Some((at, pid)) = self.persisted.pop_front() else { return false };
        let is_that = self.sessions.get(&pid).is_some_and(|kept| kept.at == at);
        is_that && self.sessions.remove(&pid).is_some()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn history(limits: MemoryRecovery) -> History {
        History::new(limits, Arc::default())
    }

    fn session(pid: &str, rooms: &[&str]) -> SessionRecord {
        let rooms = rooms.iter().map(|room| Room::from(*room)).collect();
        SessionRecord { sid: "sid".into(), pid: pid.into(), rooms, data: serde_json::json!({"u": 1}) }
    }

    fn event(n: u32) -> Payload {
        Payload::event("n", &n).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_gets_what_its_rooms_missed() {
        let mut history = history(MemoryRecovery::default());
        let seen = history.record(&event(0), &BroadcastOptions::everyone());
        history.persist(session("pid", &["sid", "a"]));
        let everyone = history.record(&event(1), &BroadcastOptions::everyone());
        let room = history.record(&event(2), &BroadcastOptions::to(["a", "b"]));
        history.record(&event(3), &BroadcastOptions::to("b"));
        history.record(&event(4), &BroadcastOptions::everyone().except("a"));
        history.record(&event(5), &BroadcastOptions::to("a").except("sid"));

        let restored = history.restore("pid", seen.as_str()).unwrap();
        assert_eq!(restored.session, session("pid", &["sid", "a"]));
        assert_eq!(restored.missed, [(event(1), everyone.clone()), (event(2), room)]);
        assert!(history.restore("pid", everyone.as_str()).unwrap().missed.len() == 1, "not consumed");
        assert!(history.restore("other", seen.as_str()).is_none());
        assert!(history.restore("pid", "nonsense").is_none());
        assert!(history.restore("pid", "").is_none());

        let late = history.record(&event(6), &BroadcastOptions::to("a"));
        let replayed = history.replay(&restored.cursor, &restored.session.rooms).unwrap();
        assert_eq!(replayed.missed, [(event(6), late.clone())]);
        assert_eq!(replayed.cursor, late);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_and_packets_expire() {
        let mut history = history(MemoryRecovery::default());
        let seen = history.record(&event(0), &BroadcastOptions::everyone());
        history.persist(session("pid", &["sid"]));
        advance(Duration::from_secs(119)).await;
        assert!(history.restore("pid", seen.as_str()).is_some());
        advance(Duration::from_secs(2)).await;
        assert!(history.restore("pid", seen.as_str()).is_none());
        history.persist(session("other", &["sid"]));
        assert_eq!(history.sessions.len(), 1);
        assert!(history.packets.is_empty() && history.bytes == 0);
        assert_eq!(history.counters.stats().trimmed_packets, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trimmed_history_does_not_pretend() {
        for limits in [
            MemoryRecovery { max_packets: 2, ..MemoryRecovery::default() },
            MemoryRecovery {
                max_bytes: 2 * (PACKET_OVERHEAD + event(0).size()),
                ..MemoryRecovery::default()
            },
        ] {
            let mut history = history(limits);
            let offsets: Vec<_> =
                (0..4).map(|n| history.record(&event(n), &BroadcastOptions::everyone())).collect();
            history.persist(session("pid", &["sid"]));
            assert!(history.restore("pid", offsets[1].as_str()).is_none());
            assert!(history.restore("pid", offsets[2].as_str()).is_some());
            assert!(history.replay(&offsets[0], &[]).is_none());
            assert_eq!(history.replay(&offsets[1], &[]).unwrap().missed.len(), 2);
            assert_eq!(history.counters.stats().trimmed_packets, 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded() {
        let mut history = history(MemoryRecovery { max_sessions: 2, ..MemoryRecovery::default() });
        let seen = history.record(&event(0), &BroadcastOptions::everyone());
        for _ in 0..5 {
            history.persist(session("again", &["sid"]));
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(history.counters.stats().trimmed_sessions, 0);
        history.persist(session("b", &["sid"]));
        history.persist(session("c", &["sid"]));
        assert!(history.restore("again", seen.as_str()).is_none());
        assert!(history.restore("c", seen.as_str()).is_some());
        assert_eq!((history.sessions.len(), history.persisted.len()), (2, 2));
        assert_eq!(history.counters.stats().trimmed_sessions, 1);
    }
}
