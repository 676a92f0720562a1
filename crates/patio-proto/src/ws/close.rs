//! Close codes and the payload of close frames.

use super::{Error, Opcode, Violation, encode};
use crate::Text;

/// Why a connection was closed (RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// The peer sent a type of data that cannot be accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Never on the wire: what an application shows for a close frame without a code.
    pub const NO_STATUS: Self = Self(1005);
    /// Never on the wire: what an application shows for a connection that ended without a close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// The payload does not fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A rule of the receiver was broken that no other code names.
    pub const POLICY: Self = Self(1008);
    /// The message is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// The client wanted an extension that the server did not accept.
    pub const EXTENSION: Self = Self(1010);
    /// The server met an unexpected condition.
    pub const INTERNAL: Self = Self(1011);
    /// The service restarts: come again.
    pub const RESTART: Self = Self(1012);
    /// The service is overloaded: come again later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// True for the codes that a close frame may carry; the same ones as in Node's `ws`.
    pub const fn is_valid_on_the_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code; one that is valid on the wire when the frame was received.
    pub code: CloseCode,
    /// The reason, at most 123 bytes of UTF-8 on the wire; often empty.
    pub reason: Text,
}

impl CloseFrame {
    /// Reads the payload of a close frame; `None` when it is empty.
    ///
    /// # Errors
    ///
    /// A payload of one byte, a code that must not be sent, a reason that is not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, Error> {
        if payload.is_empty() {
            return Ok(None);
        }
        let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
            return Err(Violation::CutCloseCode.into());
        };
        let code = CloseCode(u16::from_be_bytes(code));
        if !code.is_valid_on_the_wire() {
            return Err(Violation::InvalidCloseCode.into());
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Error::InvalidUtf8)?;
        Ok(Some(Self { code, reason: Text::from(reason) }))
    }
}

/// Appends a close frame to `out`; a client gives a `mask`.
///
/// `None` makes the empty close frame that Engine.IO servers send, and so does a code that must not be sent.
/// A reason of more than 123 bytes is cut before the character that does not fit.
pub fn close_frame(out: &mut Vec<u8>, close: Option<&CloseFrame>, mask: Option<[u8; 4]>) {
    let mut payload = Vec::new();
    if let Some(close) = close.filter(|close| close.code.is_valid_on_the_wire()) {
        payload.extend_from_slice(&close.code.0.to_be_bytes());
        payload.extend_from_slice(&close.reason.as_bytes()[..close.reason.floor_char_boundary(MAX_REASON)]);
    }
    encode(out, Opcode::Close, &payload, mask);
}

/// Bytes that 125 of a control frame leave after the code.
const MAX_REASON: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_on_the_wire_are_those_of_ws() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4999]
        {
            assert!(CloseCode(code).is_valid_on_the_wire(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert!(!CloseCode(code).is_valid_on_the_wire(), "{code}");
        }
    }

    #[test]
    fn reads_payloads() {
        assert_eq!(CloseFrame::decode(b""), Ok(None));
        assert_eq!(CloseFrame::decode(b"\x03"), Err(Violation::CutCloseCode.into()));
        assert_eq!(CloseFrame::decode(b"\x03\xed"), Err(Violation::InvalidCloseCode.into()));
        assert_eq!(CloseFrame::decode(b"\x03\xe8\xff"), Err(Error::InvalidUtf8));
        let normal = CloseFrame { code: CloseCode::NORMAL, reason: "bye".into() };
        assert_eq!(CloseFrame::decode(b"\x03\xe8bye"), Ok(Some(normal)));
    }

    #[test]
    fn writes_frames_of_at_most_125_bytes() {
        let mut out = Vec::new();
        close_frame(&mut out, None, None);
        assert_eq!(out, [0x88, 0]);

        out.clear();
        close_frame(&mut out, Some(&CloseFrame { code: CloseCode::NO_STATUS, reason: "x".into() }), None);
        assert_eq!(out, [0x88, 0]);

        out.clear();
        let long = CloseFrame { code: CloseCode::POLICY, reason: "é".repeat(100).into() };
        close_frame(&mut out, Some(&long), None);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xf0]);
        assert_eq!(out[4..], *"é".repeat(61).as_bytes());
    }
}
