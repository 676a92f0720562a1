//! Where the clients come from, and how their connections end.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpSocket,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    raw::{Connector, Stream},
    server::SILENCE,
};

/// One address has fewer than 30,000 free ports, and each is in TIME_WAIT for a minute after its use.
const PER_ADDRESS: u64 = 250;

/// Clients of whom the server does not notice that they have gone, at a time: as many as come in a moment among the
/// first, so that it never holds more than it held then.
const SILENT: usize = 256;

/// The way to the server.
pub(crate) struct Network {
    server: SocketAddr,
    /// A permit for each client that may be silent.
    silences: Arc<Semaphore>,
    /// Runs one after another come from other addresses.
    own: u8,
}

impl Network {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let silences = Arc::new(Semaphore::new(SILENT));
        Self { server, silences, own: 1 + (std::process::id() % 250) as u8 }
    }

    /// Waits until another client may be silent.
    pub(crate) async fn silence(&self) -> Silence {
        Silence(Arc::clone(&self.silences).acquire_owned().await.unwrap())
    }

    /// What makes the connections of client `n`. With `reset` they end by a reset when they are dropped, without it in
    /// order.
    pub(crate) fn connector(&self, n: u64, reset: bool) -> Connector {
        let part = |n: u64| 1 + (n % 250) as u8;
        let at = n / PER_ADDRESS;
        let source = Ipv4Addr::new(127, self.own, part(at / 250), part(at));
        let server = self.server;
        Arc::new(move || {
            Box::pin(async move {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_nodelay(true).unwrap();
                socket.bind((source, 0).into()).unwrap();
                let stream = socket.connect(server).await.unwrap();
                if reset {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                Box::new(stream) as Stream
            })
        })
    }
}

/// The place of a client that may be silent.
pub(crate) struct Silence(OwnedSemaphorePermit);

impl Silence {
    /// The client has gone; its place is free when the server knows it.
    pub(crate) fn begin(self) {
        tokio::spawn(async move {
            tokio::time::sleep(2 * SILENCE + Duration::from_millis(200)).await;
            drop(self.0);
        });
    }
}
