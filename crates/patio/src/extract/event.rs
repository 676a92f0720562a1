//! The name of the event that a handler was called for.

use std::convert::Infallible;

use super::FromParts;
use crate::handler::Call;

/// The name of the event: for handlers of several events, of any event, and middlewares of packets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event(pub String);

/// There is no event: a socket connects or disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event: the socket connects or disconnects")]
pub struct NoEvent;

impl FromParts for Event {
    type Rejection = NoEvent;

    fn from_parts(call: &mut Call) -> Result<Self, NoEvent> {
        Ok(Self(call.event_name().ok_or(NoEvent)?.into_owned()))
    }
}

impl FromParts for Option<Event> {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(Event::from_parts(call).ok())
    }
}
