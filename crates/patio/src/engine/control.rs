//! The packets of Engine.IO itself, encoded once for the whole process.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use patio_proto::{
    encode::Encoded,
    ws::{self, CloseFrame},
};

macro_rules! control {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name() -> Arc<Encoded> {
            static PACKET: LazyLock<Arc<Encoded>> = LazyLock::new(|| Arc::new(Encoded::engine($text)));
            Arc::clone(&PACKET)
        }
    )*};
}

control! {
    /// The session is over (polling only; a WebSocket has its own close).
    close = "1";
    /// Are you there? (protocol 4)
    ping = "2";
    /// The answer to a ping (protocol 3).
    pong = "3";
    /// The answer to the probe of an upgrade.
    probe = "3probe";
    /// Nothing: it releases a waiting poll.
    noop = "6";
}

/// The WebSocket frame that ends a connection. Without a code the peer sees 1005, as with Node.
pub(super) fn close_frame(close: Option<&CloseFrame>) -> Bytes {
    static EMPTY: Bytes = Bytes::from_static(&[0x88, 0x00]);
    match close {
        None => EMPTY.clone(),
        Some(_) => {
            let mut frame = Vec::new();
            ws::close_frame(&mut frame, close, None);
            frame.into()
        }
    }
}
