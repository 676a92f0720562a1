//! Every scenario once, small, against Patio and the limit, or two servers of Patio on one Redis; and a server that pings while the handshake is under way.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bench::{
    generator::{Generator, Silence, Way},
    goals::GOALS,
    process::Process,
    redis::RedisServer,
    run::{Effort, Host, Target, round},
    scenario::Scenario,
};
use patio_proto::ws;

const SMALL: Effort = Effort {
    warm_up: Duration::from_millis(30),
    cpu: Duration::from_millis(30),
    longest: Duration::from_secs(2),
    rest: Duration::from_millis(30),
};

/// A server as a process of its own, which ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
    program: &'static str,
}

impl Server {
    fn start(program: &'static str, listen: &str) -> Self {
        Self::start_with(program, &["--listen", listen])
    }

    fn start_with(program: &'static str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .arg("--until-eof")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, address, program }
    }

    fn target(&self) -> Target {
        Target::alone(self.address, Some(Process::new(self.child.id()).unwrap()))
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "{} ends when its input ends", self.program);
    }
}

impl Host for Server {
    fn restart(&mut self) -> anyhow::Result<Target> {
        self.end();
        *self = Self::start(self.program, &self.address.to_string());
        Ok(self.target())
    }
}

/// One of each kind, as small as it can be.
const SCENARIOS: [&str; 14] = [
    "connect:80",
    "upgrade:40",
    "idle:60",
    "broadcast:30x4/2",
    "broadcast:5x2@70000",
    "binary:6x2@300",
    "rooms:4x3",
    "ack:10x4",
    "single:5x3",
    "churn:5x2",
    "mixed:40",
    "storm:80",
    "tail:30",
    "waves:20",
];

#[test]
fn every_scenario_runs() {
    for program in [env!("CARGO_BIN_EXE_limit"), env!("CARGO_BIN_EXE_patio_app")] {
        let mut server = Server::start(program, "127.0.0.1:0");
        for name in SCENARIOS {
            let scenario: Scenario = name.parse().unwrap();
            let target = server.target();
            let measurement = round(scenario, target, SMALL, &mut server);
            let measurement = measurement.unwrap_or_else(|error| panic!("{program}, {name}: {error:#}"));
            assert_eq!(measurement.disordered, 0, "{name}");
            assert!(measurement.units > 0, "{name}");
            assert!(measurement.figures.iter().all(|figure| figure.value.is_finite()), "{measurement:?}");
            assert!(!measurement.figures.is_empty(), "{name}");
            for goal in GOALS.iter().filter(|goal| goal.scenario.split(':').eq(name.split(':').take(1))) {
                assert!(measurement.figure(goal.figure).is_some(), "{name} has no {}", goal.figure);
            }
        }
        server.end();
    }
}

#[test]
fn every_scenario_of_a_cluster_runs() {
    let redis = RedisServer::start().unwrap();
    let start = || {
        Server::start_with(
            env!("CARGO_BIN_EXE_patio_app"),
            &["--listen", "127.0.0.1:0", "--redis", &redis.url()],
        )
    };
    let (mut first, second) = (start(), start());
    let (target, other) = (first.target(), second.target());
    let target = Target { second: other.process.map(|process| (other.address, process)), ..target };
    for name in ["cluster:6x2", "cluster-rooms:4x3"] {
        let measurement = round(name.parse().unwrap(), target, SMALL, &mut first);
        let measurement = measurement.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(measurement.units > 0 && measurement.disordered == 0, "{name}");
    }
}

#[test]
fn a_ping_during_the_handshake_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let mut buffer = vec![0; 4096];
        let n = stream.read(&mut buffer).unwrap();
        assert!(buffer[..n].ends_with(b"\r\n\r\n"));
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec();
        answer.extend_from_slice(&ws::text_frame("0{}"));
        answer.extend_from_slice(&ws::text_frame("2"));
        stream.write_all(&answer).unwrap();

        let mut decoder = ws::Decoder::new(ws::Role::Server, 1000);
        let mut got = Vec::new();
        while got.len() < 2 {
            let n = stream.read(&mut buffer).unwrap();
            let mut input = &mut buffer[..n];
            while let Some(message) = decoder.decode(&mut input).unwrap() {
                got.push(message);
            }
        }
        stream.write_all(&ws::text_frame(r#"40{"sid":"x"}"#)).unwrap();
        (from, got, stream)
    });
    let mut generator = Generator::new(address).unwrap();
    generator.open(1, Way::WebSocket, &mut Silence).unwrap();
    let (from, got, _stream) = server.join().unwrap();
    assert_eq!(got, [ws::Message::Text("40".into()), ws::Message::Text("3".into())]);
    assert_ne!(from.ip().to_string(), "127.0.0.1", "clients come from many addresses");
}
