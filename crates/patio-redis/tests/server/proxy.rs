//! A TCP proxy before a server: it can cut connections, let nothing pass for a while, or swallow one command.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

pub(crate) struct Proxy {
    port: u16,
    /// Where new connections lead.
    target: Arc<AtomicU16>,
    /// Whether anything passes, on the connections that there are now.
    open: Arc<Mutex<watch::Sender<bool>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    swallowed: Arc<Mutex<Swallowed>>,
    _tasks: JoinSet<()>,
}

/// What is not answered.
#[derive(Default)]
struct Swallowed {
    text: Option<&'static str>,
    /// How often it was sent.
    times: usize,
}

impl Proxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(watch::Sender::new(true)));
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let swallowed = Arc::<Mutex<Swallowed>>::default();
        let (valve, handles, swallowing) = (open.clone(), connections.clone(), swallowed.clone());
        let target = Arc::new(AtomicU16::new(port));
        let leads = target.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, leads.load(SeqCst))).await;
                let Ok(server) = server else { continue };
                let (open, swallowing) = (valve.lock().subscribe(), swallowing.clone());
                let both = async move {
                    let (client, server) = (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass(client.0, server.1, open.clone(), Some(swallowing)) => {}
                        () = pass(server.0, client.1, open, None) => {}
                    }
                };
                handles.lock().push(tokio::spawn(both).abort_handle());
            }
        });
        Self { port: own, target, open, connections, swallowed, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Leads new connections to another server, as a name does that means another one now.
    pub(crate) fn lead_to(&self, port: u16) {
        self.target.store(port, SeqCst);
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.connections.lock().drain(..).for_each(|connection| connection.abort());
    }

    /// Lets nothing pass on the connections that there are, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.open.lock().send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.open.lock().send_replace(true);
    }

    /// From now on, who sends this gets no more answers, and the server hears nothing more of it.
    pub(crate) fn swallow(&self, text: &'static str) {
        *self.swallowed.lock() = Swallowed { text: Some(text), times: 0 };
    }

    /// How often it was sent since.
    pub(crate) fn swallowed(&self) -> usize {
        self.swallowed.lock().times
    }

    /// Leaves the connections that are held as they are for ever; new ones pass.
    pub(crate) fn forget_held(&self) {
        let held = std::mem::replace(&mut *self.open.lock(), watch::Sender::new(true));
        // Dropped, it would end them.
        std::mem::forget(held);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Swallowed {
    /// How often the text is in what was sent.
    fn count(&mut self, sent: &[u8]) -> usize {
        let Some(text) = self.text else { return 0 };
        let times = sent.windows(text.len()).filter(|part| *part == text.as_bytes()).count();
        self.times += times;
        times
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
    swallowing: Option<Arc<Mutex<Swallowed>>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut is_swallowed = false;
    loop {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        is_swallowed |= swallowing.as_ref().is_some_and(|texts| texts.lock().count(&buffer[..read]) > 0);
        if is_swallowed {
            continue;
        }
        // What came while it was closed waits too.
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
