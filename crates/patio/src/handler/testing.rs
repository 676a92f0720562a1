//! Sockets for tests of handlers and extractors: their clients poll a server in this thread, without a network.

use std::ops::Deref;

use http::Request;
use http_body_util::{BodyExt, Full};
use tower_service::Service;

use crate::{builder::ServerBuilder, server::Server, socket::Socket};

/// A connected socket, and its client.
pub(crate) struct TestSocket {
    socket: Socket,
    server: Server,
    sid: String,
    /// Runs when the client asks for something.
    runtime: tokio::runtime::Runtime,
}

impl TestSocket {
    /// A socket of the server that `builder` builds, whose client sends `auth`.
    pub(crate) fn of(builder: ServerBuilder, auth: Option<serde_json::Value>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = builder.build().expect("the options are valid");
        let connect = format!("40{}", auth.map(|auth| auth.to_string()).unwrap_or_default());
        let (sid, id) = runtime.block_on(async {
            let open = request(&server, "", "").await;
            let sid = string_after(&open, "\"sid\":\"");
            request(&server, &sid, &connect).await;
            (sid.clone(), string_after(&request(&server, &sid, "").await, "40{\"sid\":\""))
        });
        let socket = server.of("/").socket(id).expect("the client has joined");
        Self { socket, server, sid, runtime }
    }

    /// A socket of a server with all options at their defaults.
    pub(crate) fn new() -> Self {
        Self::of(Server::builder(), None)
    }

    /// The acks that were sent since the last call, as `<id><JSON>`.
    pub(crate) fn acks(&self) -> Vec<String> {
        const END: &str = r#"42["end"]"#;
        self.socket.emit("end", &()).expect("a name is all there is");
        let mut packets = Vec::new();
        self.runtime.block_on(async {
            while packets.last().is_none_or(|last| last != END) {
                let payload = request(&self.server, &self.sid, "").await;
                packets.extend(payload.split('\u{1e}').map(str::to_owned));
            }
        });
        packets.iter().filter_map(|packet| packet.strip_prefix("43")).map(str::to_owned).collect()
    }
}

impl Deref for TestSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}

/// A POST of `body`, or a GET if that is empty; the answer's body.
async fn request(server: &Server, sid: &str, body: &str) -> String {
    let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = Request::builder().method(method).uri(format!("/socket.io/?EIO=4&transport=polling{sid}"));
    let request = request.body(Full::<bytes::Bytes>::from(body.to_owned())).expect("a valid request");
    let response = match server.service().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    assert_eq!(response.status(), 200);
    let Ok(body) = response.into_body().collect().await;
    String::from_utf8(body.to_bytes().into()).expect("packets are text")
}

/// What stands behind `start`, up to a quotation mark.
fn string_after(text: &str, start: &str) -> String {
    let (_, rest) = text.split_once(start).expect("it is there");
    rest.split('"').next().unwrap_or_default().to_owned()
}
