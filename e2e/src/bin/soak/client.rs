//! A client of either transport, and what it waits for.

use patio_proto::ws::Message;

use crate::raw::{Packet, PollingClient, WsClient, soon};

/// A client, however its packets travel.
pub(crate) enum Client {
    Polling(PollingClient),
    Ws(WsClient),
}

impl Client {
    /// Connects to a namespace, and hears of it.
    pub(crate) async fn join(&mut self, nsp: &str) {
        let connect = format!("40{nsp}");
        self.send(&connect).await;
        self.heard(&connect).await;
    }

    pub(crate) async fn send(&mut self, packet: &str) {
        match self {
            Self::Polling(polling) => polling.send(packet).await,
            Self::Ws(ws) => ws.send(packet).await,
        }
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        match self {
            Self::Polling(polling) => polling.send_binary(bytes).await,
            Self::Ws(ws) => ws.send_binary(bytes).await,
        }
    }

    /// Waits for a packet that begins so, and gives its rest.
    pub(crate) async fn heard(&mut self, begin: &str) -> String {
        self.hear(|text| text.strip_prefix(begin).map(str::to_owned)).await
    }

    /// Waits for a packet that is wanted. Others are skipped: what the room says, ticks, and pings, which are answered.
    pub(crate) async fn hear(&mut self, wanted: impl Fn(&str) -> Option<String>) -> String {
        soon(async {
            loop {
                let packet = match self {
                    Self::Polling(polling) => polling.next().await,
                    Self::Ws(ws) => ws.next().await,
                };
                let Packet::Text(text) = packet else { continue };
                if text == "2" {
                    self.send("3").await;
                } else if let Some(heard) = wanted(&text) {
                    return heard;
                }
            }
        })
        .await
    }

    /// Ends the session as clients do.
    pub(crate) async fn close(&mut self) {
        match self {
            Self::Polling(polling) => polling.send("1").await,
            Self::Ws(ws) => {
                ws.send_message(&Message::Close(None)).await;
                ws.closed().await;
            }
        }
    }
}
