//! Every scenario once, small, against the limit; and a server that pings while the handshake is under way.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bench::{
    generator::{Generator, Silence},
    process::Process,
    run::{Effort, Target, round},
};
use patio_proto::ws;

const SMALL: Effort = Effort {
    warm_up: Duration::from_millis(30),
    cpu: Duration::from_millis(30),
    longest: Duration::from_secs(2),
    rest: Duration::from_millis(30),
};

/// The limit as a process of its own, which ends with the test.
struct Limit {
    child: Child,
    address: SocketAddr,
}

impl Limit {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_limit"))
            .arg("--until-eof")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "the limit ends when its input ends");
    }
}

#[test]
fn every_scenario_runs() {
    let limit = Limit::start();
    let process = Process::new(limit.child.id()).unwrap();
    let target = Target { address: limit.address, process: Some(process) };
    for name in
        ["idle:60", "connect:80", "broadcast:30x4/2", "broadcast:5x2@70000", "ack:10x4", "ack:3x2@300"]
    {
        let measurement = round(name.parse().unwrap(), target, SMALL).expect(name);
        assert_eq!(measurement.scenario, name);
        assert_eq!(measurement.disordered, 0, "{name}");
        assert!(measurement.units > 0, "{name}");
        assert!(measurement.figure().is_some(), "{name}");
        assert_eq!(measurement.memory.is_some(), name.starts_with("idle"), "{name}");
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
        stream.write_all(&ws::text_frame("40{}")).unwrap();
        (from, got, stream)
    });
    let mut generator = Generator::new(address).unwrap();
    generator.open(1, &mut Silence).unwrap();
    let (from, got, _stream) = server.join().unwrap();
    assert_eq!(got, [ws::Message::Text("40".into()), ws::Message::Text("3".into())]);
    assert_ne!(from.ip().to_string(), "127.0.0.1", "clients come from many addresses");
}
