//! The kinds of handlers: which arguments they may have, and what is made of their return value.

use std::{future::Future, pin::Pin};

use super::{
    Call, ExtractError, HandlerError,
    arguments::{FromCall, FromCallParts},
    error::{IntoOutcome, IntoVerdict},
    function::Function,
};
use crate::{
    extract::{Ack, Needs},
    refusal::Refusal,
    reply::IntoReply,
};

/// A handler that runs.
pub(crate) type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A kind of handlers.
pub trait Kind: 'static {
    /// What the hub learns from a handler that has ended.
    type Output: 'static;

    /// Whether its handlers are called with a reason.
    const HAS_REASON: bool = false;
}

/// Names of the kinds.
pub(crate) mod of {
    /// Event handlers.
    pub struct Event;
    /// Connect handlers.
    pub struct Connect;
    /// Disconnect handlers.
    pub struct Disconnect;
    /// Middlewares of connections.
    pub struct Middleware;
    /// Middlewares of packets.
    pub struct Packet;
}

impl Kind for of::Event {
    type Output = Result<(), HandlerError>;
}

impl Kind for of::Connect {
    type Output = Result<(), HandlerError>;
}

impl Kind for of::Disconnect {
    type Output = Result<(), HandlerError>;
    const HAS_REASON: bool = true;
}

impl Kind for of::Middleware {
    type Output = Result<(), Refusal>;
}

impl Kind for of::Packet {
    type Output = Result<(), Refusal>;
}

/// What an async function returns: any future.
#[diagnostic::on_unimplemented(
    message = "a handler must be `async`, but this one returns `{Self}`",
    label = "`async` is missing",
    note = "write `async fn …`, `async |…| …` or, if the closure captures, `async move |…| …`"
)]
pub trait Async: Future {}

#[diagnostic::do_not_recommend]
impl<T: Future> Async for T {}

/// A function that is a handler of kind `K`.
///
/// There is one implementation for each kind, and each asks one thing at a time: so what the compiler reports of a wrong
/// handler is the one type that is wrong, not the whole function.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be a handler")]
pub trait Handle<K: Kind, M>: Clone + Send + Sync + 'static {
    /// Extracts the arguments and calls the function, up to its first await when the future is polled.
    fn handle(self, call: Call) -> Result<Running<K::Output>, ExtractError>;

    /// What its arguments need from the server.
    fn needs(needs: &mut Needs);
}

/// The return value is the ack, unless an [`Ack`] was extracted.
impl<F, M, A> Handle<of::Event, (M, A)> for F
where
    F: Function<A> + Clone + Send + Sync + 'static,
    F::Return: Async + Send + 'static,
    <F::Return as Future>::Output: IntoReply,
    A: FromCall<M>,
{
    fn handle(self, mut call: Call) -> Result<Running<Result<(), HandlerError>>, ExtractError> {
        let arguments = A::from_call(&mut call)?;
        let ack = Ack::take(&mut call);
        let future = self.invoke(arguments);
        Ok(Box::pin(async move { future.await.into_reply(ack) }))
    }

    fn needs(needs: &mut Needs) {
        A::needs(needs);
    }
}

impl<F, M, A> Handle<of::Packet, (M, A)> for F
where
    F: Function<A> + Clone + Send + Sync + 'static,
    F::Return: Async + Send + 'static,
    <F::Return as Future>::Output: IntoVerdict,
    A: FromCall<M>,
{
    fn handle(self, mut call: Call) -> Result<Running<Result<(), Refusal>>, ExtractError> {
        let future = self.invoke(A::from_call(&mut call)?);
        Ok(Box::pin(async move { future.await.into_verdict() }))
    }

    fn needs(needs: &mut Needs) {
        A::needs(needs);
    }
}

macro_rules! without_payload {
    ($kind:ident, $Return:ident :: $into:ident) => {
        impl<F, A> Handle<of::$kind, A> for F
        where
            F: Function<A> + Clone + Send + Sync + 'static,
            F::Return: Async + Send + 'static,
            <F::Return as Future>::Output: $Return,
            A: FromCallParts,
        {
            fn handle(self, mut call: Call) -> Result<Running<<of::$kind as Kind>::Output>, ExtractError> {
                let future = self.invoke(A::from_call_parts(&mut call)?);
                Ok(Box::pin(async move { future.await.$into() }))
            }

            fn needs(needs: &mut Needs) {
                A::needs(needs);
            }
        }
    };
}

without_payload!(Connect, IntoOutcome::into_outcome);
without_payload!(Disconnect, IntoOutcome::into_outcome);
without_payload!(Middleware, IntoVerdict::into_verdict);
