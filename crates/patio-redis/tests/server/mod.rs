//! A real redis-server: its own process on a port of its own, ended with the test. `PATIO_REDIS_SERVER` names another
//! program, such as Valkey's.

pub(crate) mod cluster;
pub(crate) mod proxy;

use std::{
    env, fs,
    io::Write,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use patio_adapter::{Adapter, AdapterFactory, Local, contract::namespace::TestNamespace};
use tempfile::TempDir;

pub(crate) struct Redis {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(|_| Vec::new())
    }

    /// With more arguments, which may name files in the server's folder.
    pub(crate) fn with(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let arguments = arguments(folder.path());
        let mut redis = Self { port: free_port(), folder, arguments, process: None };
        // Another test's server may have been faster to take the port.
        for _ in 0..20 {
            if redis.try_start() {
                return redis;
            }
            redis.port = free_port();
        }
        let log = fs::read_to_string(redis.folder.path().join("redis.log")).unwrap_or_default();
        panic!("redis-server ends at once: {log}")
    }

    /// A server at the same address as before.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_start(), "redis-server has ended: see redis.log");
    }

    fn try_start(&mut self) -> bool {
        let program = env::var_os("PATIO_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(program);
        if self.folder.path().join("redis.conf").exists() {
            command.arg("redis.conf");
        }
        let child = command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--logfile", "redis.log"])
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, of the package of that name");
        let mut child = child;
        let began = Instant::now();
        loop {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            let log = fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default();
            let ready = log.rsplit(" is starting").next().unwrap_or_default();
            let is_ready = ready.contains("Ready to accept connections") || ready.contains("Sentinel ID");
            if is_ready && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                self.process = Some(child);
                return true;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "redis-server does not listen: {log}");
            sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What a command gives, as redis-cli prints it.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.command_with(words, None)
    }

    /// Publishes any bytes.
    pub(crate) fn publish(&self, channel: &str, payload: &[u8]) {
        self.command_with(&["PUBLISH", channel], Some(payload));
    }

    /// As [`publish`](Self::publish), by sharded pub/sub.
    pub(crate) fn publish_to_shard(&self, channel: &str, payload: &[u8]) {
        self.command_with(&["SPUBLISH", channel], Some(payload));
    }

    /// What a command gives, also if it is refused.
    pub(crate) fn try_command(&self, words: &[&str]) -> String {
        self.run(words, None)
    }

    fn command_with(&self, words: &[&str], last: Option<&[u8]>) -> String {
        let answer = self.run(words, last);
        assert!(!answer.starts_with("ERR"), "{words:?}: {answer}");
        answer
    }

    fn run(&self, words: &[&str], last: Option<&[u8]>) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if last.is_some() {
            command.arg("-x");
        }
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("redis-cli, of the package redis-tools");
        child.stdin.take().unwrap().write_all(last.unwrap_or_default()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One server's namespace and its adapter.
pub(crate) struct Node {
    pub(crate) namespace: Arc<TestNamespace>,
    pub(crate) adapter: Arc<dyn Adapter>,
}

impl Node {
    /// A namespace whose adapter has not joined yet.
    pub(crate) fn new(factory: &dyn AdapterFactory, name: &str) -> Self {
        Self::with_id_tag(factory, name, "")
    }

    /// One whose sockets' ids begin alike.
    pub(crate) fn with_id_tag(factory: &dyn AdapterFactory, name: &str, id_tag: &str) -> Self {
        let namespace = TestNamespace::with_id_tag(name, id_tag);
        let local: Arc<dyn Local> = namespace.clone();
        let adapter = factory.create(name, Arc::downgrade(&local));
        namespace.set_adapter(&adapter);
        Self { namespace, adapter }
    }

    /// One that takes part.
    pub(crate) async fn join(factory: &dyn AdapterFactory, name: &str) -> Self {
        let node = Self::new(factory, name);
        node.adapter.init().await.unwrap();
        node
    }
}

/// Waits for something that must become true.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
