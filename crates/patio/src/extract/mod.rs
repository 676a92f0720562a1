//! Extractors: the types that may be arguments of a handler, and how their values are found in a [`Call`].
//!
//! | extractor | gives | where |
//! |---|---|---|
//! | [`Socket`](crate::Socket) | the socket | anywhere |
//! | [`Server`](crate::Server) | the server | anywhere |
//! | [`Handshake`] | the request that opened the connection | anywhere |
//! | [`Auth<T>`](Auth) | what the client sent as `auth` | anywhere |
//! | [`State<T>`](State) | the server's state of that type | anywhere |
//! | [`Extension<T>`](Extension) | the socket's extension of that type, or the request's | anywhere |
//! | [`Event`] | the name of the event | anywhere |
//! | [`Ack`] | the right to answer, now or later | anywhere |
//! | [`DisconnectReason`](crate::DisconnectReason) | why the socket left | disconnect handlers |
//! | [`Data<T>`](Data) | the event's arguments | last |
//! | [`Args`] | the event's arguments, of any shape and number | last |
//! | [`RawData`] | the event as it was sent | last |
//!
//! When an extractor fails, the handler is not called, the client gets no answer, and the error is counted and goes to
//! `on_handler_error`. As an argument of type `Result<E, E::Rejection>` an extractor never fails; `Option<E>` is for
//! those that may be missing: [`Auth`], [`Extension`], [`State`], [`Event`] and `DisconnectReason`.
//!
//! Extraction is synchronous: it happens in the order of arrival, before any part of the handler runs.

mod ack;
mod auth;
mod data;
mod event;
mod extension;
mod handshake;
mod needs;
mod socket;
mod state;

use std::{convert::Infallible, fmt::Display};

pub use self::{
    ack::Ack,
    auth::Auth,
    data::{Args, Data, RawData},
    event::{Event, NoEvent},
    extension::{Extension, MissingExtension},
    handshake::Handshake,
    needs::Needs,
    socket::NoReason,
    state::{MissingState, State},
};
pub(crate) use self::{extension::ExtensionPickers, state::StateMap};
pub use crate::handler::{Call, ExtractError};

/// A value that a handler of any kind may have as an argument in any position.
///
/// Implement it for what your handlers need again and again:
///
/// ```
/// use patio::extract::{Call, Extension, FromParts, MissingExtension, Needs};
///
/// #[derive(Clone)]
/// struct Session { user: String }
///
/// /// The name of the user, from the session that a middleware has stored.
/// struct UserName(String);
///
/// impl FromParts for UserName {
///     type Rejection = MissingExtension;
///
///     fn from_parts(call: &mut Call) -> Result<Self, MissingExtension> {
///         let Extension(session) = Extension::<Session>::from_parts(call)?;
///         Ok(Self(session.user))
///     }
///
///     fn needs(needs: &mut Needs) {
///         Extension::<Session>::needs(needs);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be this argument of a handler",
    label = "no extractor for this position",
    note = "what reads the payload (`Data`, `Args`, `RawData`) must be the last argument, and only handlers of events \
            and middlewares of packets have a payload",
    note = "everything else implements `FromParts`: see the table in `patio::extract`; `Data<T>` needs \
            `T: DeserializeOwned`, `State<T>` and `Extension<T>` need `T: Clone + Send + Sync + 'static`"
)]
pub trait FromParts: Sized {
    /// Why there is no such value.
    type Rejection: Display;

    /// Finds the value.
    fn from_parts(call: &mut Call) -> Result<Self, Self::Rejection>;

    /// Says what this extractor needs from the server. Asked when a handler is declared, so that what is missing is
    /// known before the first client comes. An extractor that is made of others passes on what these need.
    fn needs(_needs: &mut Needs) {}
}

/// A value that may be the last argument of a handler that has a payload.
///
/// `M` is [`ViaPayload`], or [`ViaParts`] for all that implements [`FromParts`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the last argument of a handler",
    label = "no extractor",
    note = "see the table in `patio::extract`; what the client sent is read with `Data<T>`, where `T: DeserializeOwned`"
)]
pub trait FromPayload<M = ViaPayload>: Sized {
    /// Why there is no such value.
    type Rejection: Display;

    /// Finds the value.
    fn from_payload(call: &mut Call) -> Result<Self, Self::Rejection>;

    /// As [`FromParts::needs`].
    fn needs(_needs: &mut Needs) {}
}

/// Marks extractors that read the payload.
#[derive(Debug)]
pub enum ViaPayload {}

/// Marks extractors that do not read the payload.
#[derive(Debug)]
pub enum ViaParts {}

impl<T: FromParts> FromPayload<ViaParts> for T {
    type Rejection = T::Rejection;

    fn from_payload(call: &mut Call) -> Result<Self, T::Rejection> {
        T::from_parts(call)
    }

    fn needs(needs: &mut Needs) {
        <T as FromParts>::needs(needs);
    }
}

/// Never fails: the handler looks at the rejection itself.
impl<T: FromParts> FromParts for Result<T, T::Rejection> {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(T::from_parts(call))
    }

    fn needs(needs: &mut Needs) {
        needs.optional(T::needs);
    }
}

/// Never fails: the handler looks at the rejection itself.
impl<T: FromPayload> FromPayload for Result<T, T::Rejection> {
    type Rejection = Infallible;

    fn from_payload(call: &mut Call) -> Result<Self, Infallible> {
        Ok(T::from_payload(call))
    }

    fn needs(needs: &mut Needs) {
        needs.optional(T::needs);
    }
}
