//! The binary from outside: what it prints, what it serves, and how it ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How long anything may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn it_prints_its_address_and_serves_page_and_socket_io() {
    let patio = Patio::start(&["--listen", "127.0.0.1:0"]);
    assert!(patio.printed.contains(&format!("open http://{}/ ", patio.address)), "{}", patio.printed);

    let page = patio.get("/");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("<script type=\"module\" src=\"app.js\">"), "{page}");
    assert!(patio.get("/nowhere").starts_with("HTTP/1.1 404 Not Found\r\n"));

    let handshake = patio.get("/socket.io/?EIO=4&transport=polling");
    assert!(handshake.contains("0{\"sid\":\""), "{handshake}");
    assert!(
        patio.get("/socket.io/?EIO=3&transport=polling").contains(":0{\"sid\":\""),
        "old clients may connect"
    );
}

#[test]
fn a_taken_port_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output =
        Command::new(env!("CARGO_BIN_EXE_patio")).args(["serve", "--listen", &listen]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("{listen} is taken")), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn nonsense_to_listen_on_is_said_in_one_line() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_patio")).env("PATIO_LISTEN", "here").arg("serve").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        said,
        "patio: listen: here is not an address with a port, like 127.0.0.1:3000 (PATIO_LISTEN)\n"
    );
}

#[cfg(unix)]
#[test]
fn signals_end_it_in_order_while_clients_are_there() {
    for signal in ["-INT", "-TERM"] {
        let mut patio = Patio::start(&["serve", "--listen", "127.0.0.1:0"]);
        let sid = patio.handshake();
        let mut poll = TcpStream::connect(patio.address).unwrap();
        write!(poll, "GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: patio\r\n\r\n")
            .unwrap();
        let began = Instant::now();
        patio.signal(signal);
        let status = patio.ended();
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(began.elapsed() < Duration::from_secs(8), "{signal}: {:?}", began.elapsed());
        // Whether the signal or the poll came first nobody can say from outside; whatever was answered is whole.
        let mut answer = String::new();
        let read = poll.read_to_string(&mut answer).is_ok();
        let late = r#"{"code":1,"message":"Session ID unknown"}"#;
        let whole = answer.ends_with("\r\n\r\n1") || answer.ends_with(late) || answer.is_empty();
        assert!(whole, "{signal}: {read} {answer:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_it_at_once() {
    let mut patio = Patio::start(&["--listen", "127.0.0.1:0"]);
    // The shutdown gives a WebSocket some seconds to end its side; this one never does.
    let mut websocket = TcpStream::connect(patio.address).unwrap();
    write!(
        websocket,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: patio\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut head = [0; 12];
    websocket.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let began = Instant::now();
    patio.signal("-INT");
    patio.signal("-TERM");
    assert_eq!(patio.ended().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// A running binary. It is killed when dropped.
struct Patio {
    child: Child,
    address: SocketAddr,
    printed: String,
}

impl Patio {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_patio"))
            .args(arguments)
            .env_remove("PATIO_LISTEN")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, address, printed: lines.next().unwrap().unwrap() }
    }

    fn get(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: patio\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The id of a new session, over polling.
    #[cfg(unix)]
    fn handshake(&self) -> String {
        let answer = self.get("/socket.io/?EIO=4&transport=polling");
        answer.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success()
        );
    }

    #[cfg(unix)]
    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Patio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
