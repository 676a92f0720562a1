//! What a client sent with an event.

pub use patio_proto::payload::Args;
use patio_proto::payload::{ArgsError, Payload};
use serde::de::DeserializeOwned;

use super::{FromPayload, ViaPayload};
use crate::handler::Call;

/// The arguments of an event, read into a type. The last argument of a handler.
///
/// A tuple takes one argument of the event per element, any other type the first one: `Data<(String, u64)>` is for
/// `emit("move", "e4", 7)`, `Data<Vec<u64>>` for `emit("numbers", [1, 2, 3])`. Further arguments are ignored; a missing
/// one is `None` for an `Option`, and otherwise the handler is not called. Binary is read by `Bytes` and every type that
/// deserialises bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromPayload<ViaPayload> for Data<T> {
    type Rejection = ArgsError;

    fn from_payload(call: &mut Call) -> Result<Self, ArgsError> {
        match &call.payload {
            Some(event) => event.read_args(1),
            None => Payload::empty().read_args(0),
        }
        .map(Self)
    }
}

/// All arguments of the event, without its name, whatever they are.
impl FromPayload<ViaPayload> for Args {
    type Rejection = ArgsError;

    fn from_payload(call: &mut Call) -> Result<Self, ArgsError> {
        let mut values = call.payload.as_ref().map_or_else(|| Ok(Vec::new()), Payload::values)?;
        values.drain(..values.len().min(1));
        Ok(Self(values))
    }
}

/// An event as it was sent, its name included: for code that only looks at some events, or passes them on. The last
/// argument of a handler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawData(pub Payload);

impl FromPayload<ViaPayload> for RawData {
    type Rejection = std::convert::Infallible;

    fn from_payload(call: &mut Call) -> Result<Self, Self::Rejection> {
        Ok(Self(call.payload.take().unwrap_or_default()))
    }
}
