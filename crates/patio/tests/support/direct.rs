//! Polling clients without a connection: their requests are calls of the service, so that there may be thousands.

use ::http::{Method, Request, Response};
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Full};
use patio::SocketIoService;
use tower_service::Service;

use super::{json, soon};

/// A client of revision 4 over polling.
pub(crate) struct Direct {
    io: patio::Server,
    query: String,
}

impl Direct {
    /// A session after its handshake.
    pub(crate) async fn open(io: &patio::Server) -> Self {
        let mut client = Self { io: io.clone(), query: "EIO=4&transport=polling".to_owned() };
        let open = client.poll().await;
        let sid = json(open.strip_prefix('0').expect("an open packet"));
        client.query = format!("{}&sid={}", client.query, sid["sid"].as_str().unwrap());
        client
    }

    /// The same, connected to `/`. The answer is taken, or waits in the queue.
    pub(crate) async fn joined(io: &patio::Server, take_answer: bool) -> Self {
        let client = Self::open(io).await;
        client.post("40").await;
        if take_answer {
            assert!(client.poll().await.starts_with("40"));
        }
        client
    }

    /// A GET; the payload of its answer.
    pub(crate) async fn poll(&self) -> String {
        self.request(Method::GET, "").await
    }

    /// A POST of a payload.
    pub(crate) async fn post(&self, body: &str) {
        assert_eq!(self.request(Method::POST, body).await, "ok");
    }

    /// A GET for who polls its future by itself; whether its answer comes is not waited for.
    pub(crate) fn get(&self) -> impl Future<Output = Response<impl Body>> {
        let call = self.call(Method::GET, "");
        async { call.await.unwrap() }
    }

    async fn request(&self, method: Method, body: &str) -> String {
        let answer = soon(self.call(method, body)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.into()).unwrap()
    }

    fn call(&self, method: Method, body: &str) -> <SocketIoService as Service<Request<Full<Bytes>>>>::Future {
        let uri = super::target(&self.query);
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = Request::builder().method(method).uri(uri).body(body).unwrap();
        self.io.service().call(request)
    }
}
