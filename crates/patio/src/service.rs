//! The server as a tower `Layer` and `Service`: requests for its path are its own, all others go on.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::{Buf, Bytes};
use futures_core::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    connection::Connection,
    engine::{Engine, request},
    http::cors::Preflight,
    server::Server,
};

/// Puts a server in front of another service: requests for its path are answered, others are passed on.
#[derive(Clone)]
pub struct SocketIoLayer(pub(crate) Arc<Engine<Connection>>);

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoService<S>;

    fn layer(&self, inner: S) -> SocketIoService<S> {
        SocketIoService { engine: Arc::clone(&self.0), inner }
    }
}

/// A server and the service behind it.
#[derive(Clone)]
pub struct SocketIoService<S = NotFound> {
    pub(crate) engine: Arc<Engine<Connection>>,
    pub(crate) inner: S,
}

impl<S, B, R> Service<Request<B>> for SocketIoService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.engine.shared.init_waiting(&self.engine);
        let config = &self.engine.config;
        let path = request.uri().path();
        let Some(rest) = path.strip_prefix(config.path.as_str()) else {
            return ResponseFuture::Inner { inner: self.inner.call(request) };
        };
        if let Some(client) = &self.engine.shared.client
            && let Some(name) = rest.strip_prefix('/')
            && let Some(answer) = client.respond(name, request.method(), request.headers())
        {
            let mut headers = HeaderMap::new();
            let preflight = config.cors.as_ref().and_then(|cors| {
                let apply = || cors.apply(request.method(), request.headers(), &mut headers);
                self.engine.counters.guard(apply)
            });
            let mut answer = match preflight {
                Some(Preflight::Answer(status)) => {
                    let mut answer = Response::new(Bytes::new());
                    *answer.status_mut() = status;
                    answer
                }
                _ => answer,
            };
            answer.headers_mut().extend(headers);
            return ResponseFuture::Own { own: Box::pin(std::future::ready(answer.map(Full::new))) };
        }
        if !config.is_for_engine(path) {
            return ResponseFuture::Inner { inner: self.inner.call(request) };
        }
        ResponseFuture::Own { own: Box::pin(request::handle(Arc::clone(&self.engine), request)) }
    }
}

/// As [`Server::service`], so that `patio::serve` takes a server as it is.
impl<B> Service<Request<B>> for Server
where
    B: Body + Send + 'static,
    B::Data: Buf + Send,
{
    type Response = Response<ResponseBody<Full<Bytes>>>;
    type Error = Infallible;
    type Future = ResponseFuture<std::future::Ready<Result<Response<Full<Bytes>>, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.service().call(request)
    }
}

pin_project! {
    /// The answer of the server or of the service behind it.
    #[project = ResponseFutureProjection]
    pub enum ResponseFuture<F> {
        #[doc(hidden)]
        Own { own: BoxFuture<'static, Response<Full<Bytes>>> },
        #[doc(hidden)]
        Inner { #[pin] inner: F },
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseFutureProjection::Own { own } => {
                Poll::Ready(Ok(ready!(own.as_mut().poll(cx)).map(|own| ResponseBody::Own { own })))
            }
            ResponseFutureProjection::Inner { inner } => Poll::Ready(
                ready!(inner.poll(cx)).map(|response| response.map(|inner| ResponseBody::Inner { inner })),
            ),
        }
    }
}

pin_project! {
    /// The body of an answer of the server, or of the service behind it.
    #[project = ResponseBodyProjection]
    pub enum ResponseBody<R> {
        #[doc(hidden)]
        Own { own: Full<Bytes> },
        #[doc(hidden)]
        Inner { #[pin] inner: R },
    }
}

impl<R: Body> Body for ResponseBody<R>
where
    // What most bodies are made of; axum's are nothing else.
    R::Data: From<Bytes>,
{
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project() {
            ResponseBodyProjection::Own { own } => Pin::new(own).poll_frame(cx).map(|frame| {
                frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(R::Data::from)),
                    Err(never) => match never {},
                })
            }),
            ResponseBodyProjection::Inner { inner } => inner.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { own } => own.is_end_stream(),
            Self::Inner { inner } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { own } => own.size_hint(),
            Self::Inner { inner } => inner.size_hint(),
        }
    }
}

/// What stands behind a server that is alone: everything else is not found.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}
