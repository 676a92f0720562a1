//! A service that tells when a poll waits in it: the moment at which a test may go on.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request};
use tokio::sync::Semaphore;
use tower_service::Service;

/// The service, and one permit for each GET that could not be answered at once.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    inner: S,
    polls: Arc<Semaphore>,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S) -> (Self, Arc<Semaphore>) {
        let polls = Arc::new(Semaphore::new(0));
        (Self { inner, polls: Arc::clone(&polls) }, polls)
    }
}

impl<S, B> Service<Request<B>> for Watched<S>
where
    S: Service<Request<B>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut told = request.method() != Method::GET;
        let mut answer = Box::pin(self.inner.call(request));
        let polls = Arc::clone(&self.polls);
        Box::pin(poll_fn(move |cx| {
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() && !std::mem::replace(&mut told, true) {
                polls.add_permits(1);
            }
            polled
        }))
    }
}
