//! What all connections of a server share: its namespaces, and how they are made and removed.

use std::sync::Arc;

use hashbrown::HashMap;
use patio_adapter::AdapterFactory;
use patio_proto::{Text, payload::Payload};
use tokio::runtime::Handle;

use super::{Hooks, NamespaceHandle};
use crate::{
    connection::Connection,
    counters::Counters,
    engine::Engine,
    extract::{ExtensionPickers, StateMap},
    http::serve_client::ServeClient,
    hub::Hub,
    namespace::Namespace,
    pattern::NamespacePredicate,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// What all connections of a server share.
pub(crate) struct Shared {
    pub(crate) hubs: RwLock<HashMap<Text, Arc<Hub>>>,
    pub(crate) parents: RwLock<Vec<Arc<Parent>>>,
    pub(crate) adapter: Arc<dyn AdapterFactory>,
    /// Some namespace was made outside a runtime: its adapter has not joined the cluster yet.
    pub(crate) waiting: AtomicBool,
    pub(crate) state: StateMap,
    pub(crate) pickers: ExtensionPickers,
    pub(crate) client: Option<ServeClient>,
    pub(crate) hooks: Hooks,
}

/// A namespace whose names are many: `io.of(/regexp/)` in Socket.IO.
pub(crate) struct Parent {
    pub(crate) matches: NamespacePredicate,
    pub(crate) declared: Namespace,
}

impl Shared {
    /// The namespace of this name, for a client that is about to join it: it counts as connecting. A dynamic one is
    /// made when its name is first asked for.
    pub(crate) fn enter(
        &self,
        engine: &Arc<Engine<Connection>>,
        name: &Text,
        auth: Option<&Payload>,
    ) -> Option<Arc<Hub>> {
        loop {
            if let Some(hub) = self.hubs.read().get(name) {
                // Counted under the lock, so that it is not removed as empty before the client is in it.
                hub.connecting.fetch_add(1, Ordering::Relaxed);
                return Some(Arc::clone(hub));
            }
            let declared = self.find_parent(&engine.counters, name, auth)?.declared.clone();
            self.create(engine, name, declared, true);
        }
    }

    /// The first of the dynamic namespaces that this name belongs to. A predicate that panics says no.
    pub(super) fn find_parent(
        &self,
        counters: &Counters,
        name: &str,
        auth: Option<&Payload>,
    ) -> Option<Arc<Parent>> {
        let parents = self.parents.read().clone();
        parents.into_iter().find(|parent| counters.guard(|| (parent.matches)(name, auth)).unwrap_or(false))
    }

    /// The namespace of this name, made if there is none.
    pub(super) fn create(
        &self,
        engine: &Arc<Engine<Connection>>,
        name: &Text,
        declared: Namespace,
        dynamic: bool,
    ) -> Arc<Hub> {
        let hub = {
            let mut hubs = self.hubs.write();
            if let Some(hub) = hubs.get(name) {
                return Arc::clone(hub);
            }
            let hub = Hub::new(engine, name.clone(), declared, dynamic, &*self.adapter);
            hubs.insert(name.clone(), Arc::clone(&hub));
            hub
        };
        self.init(engine, &hub);
        let handle = NamespaceHandle { engine: Arc::clone(engine), hub: Arc::clone(&hub) };
        let listeners = self.hooks.new_namespace.read().clone();
        for listener in listeners {
            engine.counters.guard(|| listener(&handle));
        }
        hub
    }

    /// Has the adapter of a namespace join the cluster, or notes that it waits for a runtime.
    fn init(&self, engine: &Arc<Engine<Connection>>, hub: &Hub) {
        let Ok(runtime) = Handle::try_current() else {
            return self.waiting.store(true, Ordering::Release);
        };
        let Some(init) = hub.init_adapter() else { return };
        let engine = Arc::clone(engine);
        runtime.spawn(async move {
            if let Err(error) = init.await {
                engine.counters.adapter_errors.add(1);
                tracing::warn!(%error, "an adapter could not start");
            }
        });
    }

    /// Has the adapters join the cluster that waited for a runtime. Called wherever a server is put to use.
    pub(crate) fn init_waiting(&self, engine: &Arc<Engine<Connection>>) {
        if self.waiting.load(Ordering::Acquire) && Handle::try_current().is_ok() {
            self.waiting.store(false, Ordering::Release);
            let hubs: Vec<_> = self.hubs.read().values().cloned().collect();
            hubs.iter().for_each(|hub| self.init(engine, hub));
        }
    }

    /// Removes a dynamic namespace that nobody is in, if the server is to do that.
    pub(crate) fn clean_up(&self, engine: &Engine<Connection>, hub: &Arc<Hub>) {
        if !engine.config.cleanup_empty_child_namespaces || !hub.dynamic {
            return;
        }
        let mut hubs = self.hubs.write();
        // It may have been removed already, and another one made in its place.
        let stands = hubs.get(&hub.nsp()).is_some_and(|other| Arc::ptr_eq(other, hub));
        if stands && hub.len() == 0 && hub.connecting.load(Ordering::Relaxed) == 0 {
            hubs.remove(&hub.nsp());
            drop(hubs);
            let close = engine.counters.guard(|| hub.adapter().close());
            if let (Some(close), Ok(runtime)) = (close, Handle::try_current()) {
                runtime.spawn(close);
            }
        }
    }
}
