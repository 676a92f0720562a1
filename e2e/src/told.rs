//! What becomes of a request, for tests that must know when a GET has come and waits.
//!
//! The flag `--log` puts it in front of the server. A request with a header `x-e2e-told` is told of on stdout, as
//! `reference.mjs` says.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use serde_json::json;
use tower_service::Service;

#[derive(Clone)]
pub(crate) struct Told<S> {
    pub(crate) inner: S,
    pub(crate) log: bool,
}

impl<S, B, R> Service<Request<B>> for Told<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: Send,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let tag = request.headers().get("x-e2e-told").filter(|_| self.log).cloned();
        let mut answer = Box::pin(self.inner.call(request));
        Box::pin(async move {
            let Some(tag) = tag else { return answer.await };
            // A GET takes its place, or its packets, when it is polled first.
            let first = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
            let what = if first.is_ready() { "answered" } else { "waits" };
            println!("{}", json!([tag.to_str().unwrap_or_default(), what]));
            match first {
                Poll::Ready(answer) => answer,
                Poll::Pending => answer.await,
            }
        })
    }
}
