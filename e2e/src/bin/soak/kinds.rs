//! What kinds of clients there are: how their packets travel, and in the middle of what they go.

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
    /// From polling to WebSocket.
    Upgrade,
}
pub(crate) use Transport::{Polling, Upgrade, WebSocket};

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It leaves its namespaces, then closes.
    Leave,
    /// It closes.
    Close,
    /// Its connections are gone, whatever comes.
    Cut,
    /// In the middle of the handshake's request.
    HalfHead,
    /// Before it has read the handshake's answer.
    Unheard,
    /// In the middle of a POST's body.
    HalfPost,
    /// While a GET waits.
    PollWaits,
    /// In the middle of a frame.
    HalfFrame,
    /// In the middle of a packet with attachments.
    HalfPacket,
    /// While the server waits for its ack.
    AckPending,
    /// While the server waits for its ack and for others'.
    AcksPending,
    /// While a handler runs.
    HandlerRuns,
    /// In the middle of the candidate's handshake, before and after its probe was answered, and right behind its `5`.
    Candidate(u8),
    /// It is cut, and comes back for its state. Only with recovery.
    Return,
}

/// All ways of all clients.
pub(crate) const KINDS: &[(Transport, End)] = &[
    (Polling, End::Leave),
    (Polling, End::Close),
    (Polling, End::Cut),
    (Polling, End::HalfHead),
    (Polling, End::Unheard),
    (Polling, End::HalfPost),
    (Polling, End::PollWaits),
    (Polling, End::AckPending),
    (Polling, End::AcksPending),
    (Polling, End::HandlerRuns),
    (WebSocket, End::Leave),
    (WebSocket, End::Close),
    (WebSocket, End::Cut),
    (WebSocket, End::HalfHead),
    (WebSocket, End::Unheard),
    (WebSocket, End::HalfFrame),
    (WebSocket, End::HalfPacket),
    (WebSocket, End::AckPending),
    (WebSocket, End::AcksPending),
    (WebSocket, End::HandlerRuns),
    (Upgrade, End::Leave),
    (Upgrade, End::Close),
    (Upgrade, End::Cut),
    (Upgrade, End::HalfFrame),
    (Upgrade, End::AckPending),
    (Upgrade, End::AcksPending),
    (Upgrade, End::HandlerRuns),
    (Upgrade, End::Candidate(0)),
    (Upgrade, End::Candidate(1)),
    (Upgrade, End::Candidate(2)),
    (Upgrade, End::Candidate(3)),
];
