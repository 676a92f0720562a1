//! A real Redis Cluster: three masters, each with a replica.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Redis, free_port};

pub(crate) struct Cluster {
    pub(crate) servers: Vec<Redis>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let server = |_| {
            Redis::with(|_| {
                // The bus has a port of its own, which is 10,000 higher unless told.
                ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([free_port().to_string()])
                    .collect()
            })
        };
        let servers: Vec<_> = (0..6).map(server).collect();
        let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(addresses);
        let output = create.args(["--cluster-replicas", "1", "--cluster-yes"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { servers };
        cluster.until("all servers agree", |cluster| {
            cluster.servers.iter().all(|server| {
                let shards = server.command(&["CLUSTER", "SLOTS"]);
                server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && cluster.servers.iter().all(|other| shards.contains(&other.port.to_string()))
            })
        });
        cluster
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }

    /// Waits for something that must become true.
    pub(crate) fn until(&self, what: &str, check: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !check(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "not so: {what}");
            sleep(Duration::from_millis(20));
        }
    }

    /// The master of a key's slot, by its index, and the slot.
    pub(crate) fn owner(&self, key: &str) -> (usize, String) {
        let slot = self.servers[0].command(&["CLUSTER", "KEYSLOT", key]);
        let is_owner = |server: &&Redis| {
            // What belongs to somebody else is refused.
            !server.try_command(&["SPUBLISH", key, "{}"]).starts_with("MOVED")
                && server.command(&["ROLE"]).starts_with("master")
        };
        let owner = self.servers.iter().find(is_owner).unwrap();
        (self.servers.iter().position(|server| server.port == owner.port).unwrap(), slot)
    }

    /// Another master than this one.
    pub(crate) fn another(&self, owner: usize) -> usize {
        let is_master = |n: usize| self.servers[n].command(&["ROLE"]).starts_with("master");
        (0..self.servers.len()).find(|&n| n != owner && is_master(n)).unwrap()
    }

    /// Moves a slot, without keys, to another master.
    pub(crate) fn move_slot(&self, slot: &str, from: usize, to: usize) {
        self.begin_to_move(slot, from, to);
        self.end_the_move(slot, from, to);
    }

    /// From now on, both masters have a part of the slot's keys.
    pub(crate) fn begin_to_move(&self, slot: &str, from: usize, to: usize) {
        let id = |n: usize| self.servers[n].command(&["CLUSTER", "MYID"]);
        self.servers[to].command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(from)]);
        self.servers[from].command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(to)]);
    }

    /// Moves a key to another master.
    pub(crate) fn move_key(&self, key: &str, from: usize, to: usize) {
        let port = self.servers[to].port.to_string();
        let moved = self.servers[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        assert_eq!(moved, "OK", "{key}");
    }

    pub(crate) fn end_the_move(&self, slot: &str, from: usize, to: usize) {
        let target = self.servers[to].command(&["CLUSTER", "MYID"]);
        for n in [to, from] {
            self.servers[n].command(&["CLUSTER", "SETSLOT", slot, "NODE", &target]);
        }
    }
}
