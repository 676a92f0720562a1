//! What the application wants to hear of: namespaces that are made, handlers that fail, the connection to other servers.

use std::sync::Arc;

use patio_adapter::{AdapterError, AdapterEvent, AdapterFactory};
use patio_proto::payload::Payload;

use super::{NamespaceHandle, Server};
use crate::{handler::HandlerError, refusal::Refusal, socket::Socket, sync::RwLock};

/// What the application wants to hear of.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) handler_error: Option<HandlerErrorHook>,
    pub(crate) new_namespace: RwLock<Vec<NamespaceHook>>,
    pub(crate) adapter_error: Option<AdapterErrorHook>,
    pub(crate) adapter_reconnected: Option<AdapterReconnectedHook>,
}

pub(crate) type HandlerErrorHook = Arc<dyn Fn(&FailedHandler<'_>) + Send + Sync>;
pub(crate) type AdapterErrorHook = Arc<dyn Fn(&AdapterError) + Send + Sync>;
pub(crate) type AdapterReconnectedHook = Arc<dyn Fn() + Send + Sync>;
pub(crate) type NamespaceHook = Arc<dyn Fn(&NamespaceHandle) + Send + Sync>;

/// A handler that failed, or an event that a middleware refused, for
/// [`ServerBuilder::on_handler_error`](crate::ServerBuilder::on_handler_error).
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedHandler<'a> {
    /// Whose handler it was.
    pub socket: &'a Socket,
    /// The event, where it is known.
    pub event: Option<&'a str>,
    /// What went wrong.
    pub error: &'a HandlerError,
}

impl Server {
    /// Hears of the connection to other servers, for as long as this server lives.
    pub(crate) fn watch(&self, adapter: &dyn AdapterFactory) {
        let engine = Arc::downgrade(&self.0);
        adapter.watch(Arc::new(move |event| {
            if let Some(engine) = engine.upgrade() {
                Self::from_engine(engine).hear_of_adapter(event);
            }
        }));
    }

    fn hear_of_adapter(&self, event: &AdapterEvent) {
        let (counters, hooks) = (&self.0.counters, &self.0.shared.hooks);
        match event {
            AdapterEvent::Failed(error) => {
                counters.adapter_errors.add(1);
                tracing::warn!(?error, "the connection to other servers is lost");
                if let Some(hook) = &hooks.adapter_error {
                    counters.guard(|| hook(error));
                }
            }
            AdapterEvent::Reconnected => {
                tracing::info!("the connection to other servers is there again");
                if let Some(hook) = &hooks.adapter_reconnected {
                    counters.guard(|| hook());
                }
            }
            _ => {}
        }
    }

    pub(crate) fn handler_failed(&self, socket: &Socket, event: Option<&str>, error: &HandlerError) {
        let counters = &self.0.counters;
        match error {
            HandlerError::Extract(_) => counters.extract_errors.add(1),
            HandlerError::Panicked(_) => counters.panics.add(1),
            _ => counters.handler_errors.add(1),
        }
        tracing::debug!(socket = %socket.id(), event, %error, "a handler failed");
        if let Some(hook) = &self.0.shared.hooks.handler_error {
            counters.guard(|| hook(&FailedHandler { socket, event, error }));
        }
    }

    pub(crate) fn event_refused(&self, socket: &Socket, event: &Payload, refusal: &Refusal) {
        self.0.counters.refused_events.add(1);
        let event = event.event_name();
        tracing::debug!(socket = %socket.id(), event = event.as_deref(), %refusal, "an event was refused");
        if let Some(hook) = &self.0.shared.hooks.handler_error {
            let error = HandlerError::Failed(refusal.to_string());
            let failed = FailedHandler { socket, event: event.as_deref(), error: &error };
            self.0.counters.guard(|| hook(&failed));
        }
    }
}
