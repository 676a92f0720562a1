//! One client's life: it connects, joins, emits, and goes, in one of the ways there are.
//!
//! Which way, and every choice on it, follows from the seed and the number of the client. Something that the client does
//! not get as it should is a panic.

use std::{fmt, time::Duration};

use fastrand::Rng;
use patio_proto::ws::Message;
use tokio::time::timeout;

use crate::{
    client::Client,
    kinds::{End, KINDS, Polling, Transport, Upgrade, WebSocket},
    network::Network,
    raw::{Connector, Eio, Http, PollingClient, V3, V4, WsClient, json, target},
};

/// The place of the first attachment.
const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// Clients that share a room.
const ROOM: u64 = 4;

/// Of so many clients one may go without the server noticing: it holds such a client for six seconds, and there shall
/// be no more of them at a time in the end than there were among the first, of whom all may.
const SILENT: u32 = 32;

/// How long nothing may come before a poll is believed to wait.
const QUIET: Duration = Duration::from_millis(20);

/// A client.
pub(crate) struct Life {
    n: u64,
    eio: Eio,
    transport: Transport,
    end: End,
    /// The namespace it acts in, as packets have it: nothing for the main one, or `/chat,`.
    nsp: String,
    room: String,
    /// Whether its connections end by a reset.
    reset: bool,
    /// Whether the server may not notice that it has gone, but by its silence. Else a client that polls is cut in the
    /// middle of a POST.
    silent: bool,
    random: Rng,
}

impl Life {
    /// The life of client `n`: all kinds come equally often.
    pub(crate) fn nth(seed: u64, n: u64, is_first: bool, recovery: bool) -> Self {
        let mut random = Rng::with_seed(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let eio = if n.is_multiple_of(2) { V4 } else { V3 };
        let at = (n / 2) as usize;
        let (transport, mut end) = match recovery && eio == V4 && at.is_multiple_of(4) {
            true => ([Polling, WebSocket, Upgrade][at / 4 % 3], End::Return),
            false => KINDS[at % KINDS.len()],
        };
        let silent = is_first || random.u32(..SILENT) == 0;
        if (transport, end) == (Polling, End::Unheard) && !silent {
            end = End::HalfHead;
        }
        let nsp = match random.u32(0..8) {
            _ if end == End::Return => String::new(),
            0 => "/chat,".to_owned(),
            1 => format!("/made-{},", random.u32(0..100)),
            _ => String::new(),
        };
        let reset = !matches!(end, End::Leave | End::Close) && random.bool();
        Self { n, eio, transport, end, nsp, room: format!("room {}", n / ROOM), reset, silent, random }
    }

    pub(crate) async fn live(mut self, network: &Network) {
        let silence = if self.may_be_silent() { Some(network.silence().await) } else { None };
        self.live_on(network).await;
        if let Some(silence) = silence {
            silence.begin();
        }
    }

    /// Whether the server may hold it for as long as it believes a silent client.
    fn may_be_silent(&self) -> bool {
        let polls = match self.end {
            End::Cut | End::Unheard | End::AckPending | End::AcksPending | End::HandlerRuns | End::Return => {
                self.transport == Polling
            }
            End::Candidate(_) => true,
            _ => false,
        };
        self.silent && polls
    }

    async fn live_on(&mut self, network: &Network) {
        let connector = network.connector(self.n, self.reset);
        let transport = if self.transport == WebSocket { "websocket" } else { "polling" };
        let open = target(&format!("EIO={}&transport={transport}", self.eio.number()));
        match self.end {
            End::HalfHead => {
                let head = format!("GET {open} HTTP/1.1\r\nhost: localhost\r\nconnection: ");
                return Http::new(connector().await).send_raw(head.as_bytes()).await;
            }
            End::Unheard => {
                let mut http = Http::new(connector().await);
                let upgrade = [
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-version", "13"),
                    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ];
                let headers = if self.transport == WebSocket { &upgrade[..] } else { &[] };
                return http.send("GET", &open, headers, b"").await;
            }
            _ => {}
        }
        let mut client = match self.transport {
            WebSocket => Client::Ws(WsClient::open(connector().await, self.eio, "", &[]).await),
            Polling | Upgrade => Client::Polling(PollingClient::open(&connector, self.eio, "", &[]).await),
        };
        // Old clients are in the main namespace without a word.
        let mut joined = self.eio == V3;
        if joined {
            client.heard("40").await;
        }
        if self.transport == Upgrade {
            if !joined && self.end != End::Return && self.random.bool() {
                client.join("").await;
                joined = true;
            }
            match self.upgrade(client, &connector).await {
                Some(upgraded) => client = upgraded,
                None => return,
            }
        }
        if self.end == End::Return {
            return self.come_back(client, &connector).await;
        }
        if !joined && (self.nsp.is_empty() || self.random.bool()) {
            client.join("").await;
        }
        if !self.nsp.is_empty() {
            client.join(&self.nsp).await;
        }
        self.act(&mut client).await;
        self.go(client).await;
    }

    /// Has a WebSocket take over. `None`: the client was cut on the way.
    async fn upgrade(&mut self, client: Client, connector: &Connector) -> Option<Client> {
        let Client::Polling(mut polling) = client else { unreachable!("it polls") };
        let query = format!("EIO={}&transport=websocket&sid={}", self.eio.number(), polling.sid());
        let stage = match self.end {
            End::Candidate(stage) => stage,
            _ => u8::MAX,
        };
        // A candidate that fails costs the session nothing.
        let survives = !self.silent || self.random.bool();
        let survivor = |polling| survives.then_some(Client::Polling(polling));
        if stage == 0 {
            let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\nupgrade: web", target(&query));
            Http::new(connector().await).send_raw(head.as_bytes()).await;
            return survivor(polling);
        }
        let mut ws = WsClient::handshake(connector().await, &target(&query), &[]).await.ok().unwrap();
        ws.send("2probe").await;
        if stage == 1 {
            return survivor(polling);
        }
        assert_eq!(ws.text().await, "3probe");
        if stage == 2 {
            return survivor(polling);
        }
        // The server releases a poll that waits, after up to 100 ms; most clients have none.
        if self.random.u32(0..8) == 0 {
            assert_eq!(polling.poll().await.status, 200);
        }
        ws.send("5").await;
        (stage != 3).then_some(Client::Ws(ws))
    }

    /// What every client does once it is there.
    async fn act(&mut self, client: &mut Client) {
        let (nsp, room) = (&self.nsp, &self.room);
        client.send(&format!(r#"42{nsp}1["enter","{room}"]"#)).await;
        let rooms = client.heard(&format!("43{nsp}1")).await;
        assert_eq!(rooms, "[2]", "the room and its own");
        if self.random.u32(0..4) == 0 {
            client.send(&format!(r#"451-{nsp}2["say","{room}",{PLACEHOLDER}]"#)).await;
            client.send_binary(b"some bytes").await;
        } else {
            client.send(&format!(r#"42{nsp}2["say","{room}","some words"]"#)).await;
        }
        client.heard(&format!("43{nsp}2[]")).await;
        if self.random.u32(0..4) == 0 {
            client.send(&format!(r#"42{nsp}3["own"]"#)).await;
            client.heard(&format!("43{nsp}3[")).await;
        }
        if self.random.u32(0..4) == 0 {
            let id = self.asked(client, "ask").await;
            client.send(&format!(r#"43{nsp}{id}["an answer"]"#)).await;
            client.heard(&format!(r#"42{nsp}["answered","an answer""#)).await;
        }
    }

    /// Has the server ask this client; the id of the ack that it waits for.
    async fn asked(&self, client: &mut Client, event: &str) -> String {
        let (nsp, room) = (&self.nsp, &self.room);
        client.send(&format!(r#"42{nsp}["{event}","{room}"]"#)).await;
        let asked = format!(r#"["{event}""#);
        client
            .hear(|text| {
                let rest = text.strip_prefix("42")?.strip_prefix(nsp.as_str())?;
                let id = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
                id.starts_with(&asked).then(|| rest[..rest.len() - id.len()].to_owned())
            })
            .await
    }

    async fn go(&mut self, mut client: Client) {
        let (nsp, room) = (&self.nsp, &self.room);
        match self.end {
            End::Leave => {
                client.send(&format!("41{nsp}")).await;
                return client.close().await;
            }
            End::Close => return client.close().await,
            End::PollWaits => {
                let Client::Polling(polling) = &mut client else { unreachable!("it polls") };
                polling.start_poll().await;
                while timeout(QUIET, polling.polled()).await.is_ok() {
                    polling.start_poll().await;
                }
                return;
            }
            End::HalfFrame => {
                let Client::Ws(ws) = &mut client else { unreachable!("it has a WebSocket") };
                let mut frame = Vec::new();
                let text = format!(r#"42{nsp}["say","{room}","{}"]"#, "x".repeat(300));
                let message = Message::Text(text.as_str().into());
                patio_proto::ws::encode_message(&mut frame, &message, Some([1, 2, 3, 4]));
                ws.send_raw(&frame[..self.random.usize(1..frame.len())]).await;
            }
            End::HalfPacket => {
                client
                    .send(&format!(r#"452-{nsp}["say",{PLACEHOLDER},{{"_placeholder":true,"num":1}}]"#))
                    .await;
                client.send_binary(b"one of two").await;
            }
            End::AckPending => drop(self.asked(&mut client, "ask").await),
            End::AcksPending => drop(self.asked(&mut client, "ask_room").await),
            End::HandlerRuns => {
                client.send(&format!(r#"42{nsp}["stay","{room}"]"#)).await;
                client.heard(&format!(r#"42{nsp}["staying""#)).await;
            }
            End::Cut | End::HalfPost | End::Candidate(_) => {}
            End::HalfHead | End::Unheard | End::Return => unreachable!("it has gone before"),
        }
        self.cut(client).await;
    }

    /// The client's connections are gone.
    async fn cut(&mut self, client: Client) {
        if let Client::Polling(mut polling) = client
            && (!self.silent || self.end == End::HalfPost)
        {
            let (target, length) = (polling.target(), self.random.usize(3..2_000));
            let half =
                format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n42");
            polling.posts.send_raw(half.as_bytes()).await;
        }
    }

    /// A client that loses its connection and wants its state back. The server may not have noticed the loss: then it
    /// begins anew.
    async fn come_back(&mut self, mut client: Client, connector: &Connector) {
        client.send("40").await;
        let answer = json(&client.heard("40").await);
        let welcome = json(&format!("[{}", client.heard(r#"42["welcome","#).await));
        let (pid, offset) = (&answer["pid"], &welcome[1]);
        assert!(pid.is_string() && offset.is_string(), "{answer} {welcome}");
        self.act(&mut client).await;
        self.cut(client).await;
        let mut client = Client::Ws(WsClient::open(connector().await, V4, "", &[]).await);
        client.send(&format!(r#"40{{"pid":{pid},"offset":{offset}}}"#)).await;
        client.heard("40").await;
        if self.random.bool() {
            client.close().await;
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?} {}", self.eio, self.transport, self.end, self.nsp)
    }
}
