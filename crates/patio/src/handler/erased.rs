//! Handlers without their types: what tables of handlers hold. Made when a handler is declared, called by the hub.

use std::{any::type_name, marker::PhantomData, mem, panic::Location, sync::Arc};

use super::{
    Call, ExtractError,
    kind::{Handle, Kind, Running, of},
};
use crate::{
    extract::{ExtensionPickers, Needs, StateMap},
    guard::Kept,
};

/// A handler of kind `K`. Cheap to clone; functions and closures that capture nothing need no memory of their own.
pub(crate) struct Erased<K: Kind> {
    handler: Shared<K>,
    /// Where it was declared, for what is wrong with it.
    at: &'static Location<'static>,
}

/// A handler of events.
pub(crate) type EventHandler = Erased<of::Event>;
/// A handler of connections.
pub(crate) type ConnectHandler = Erased<of::Connect>;
/// A handler of disconnections.
pub(crate) type DisconnectHandler = Erased<of::Disconnect>;
/// A middleware of connections.
pub(crate) type Middleware = Erased<of::Middleware>;
/// A middleware of packets.
pub(crate) type PacketMiddleware = Erased<of::Packet>;

impl<K: Kind> Erased<K> {
    /// Forgets the types of `handler`, which the caller of the caller has declared.
    ///
    /// # Panics
    /// If it extracts what handlers of its kind never have.
    #[track_caller]
    pub(crate) fn new<M: 'static, H: Handle<K, M>>(handler: H) -> Self {
        let at = Location::caller();
        let mut needs = Needs::default();
        H::needs(&mut needs);
        assert!(
            K::HAS_REASON || !needs.reason,
            "{at}: {} extracts a DisconnectReason, which only disconnect handlers have; make it an Option",
            type_name::<H>(),
        );
        let typed = Typed { handler, marker: PhantomData };
        Self { handler: Shared::new(typed), at }
    }

    /// Extracts the arguments from `call` and calls the handler. User code runs in here, and when the future is polled.
    pub(crate) fn call(&self, call: Call) -> Result<Kept<Running<K::Output>>, ExtractError> {
        self.handler.get().call(call).map(Kept::new)
    }

    /// Makes sure that all state is there that the handler extracts.
    ///
    /// # Panics
    /// If there is no such state, naming its type and where the handler was declared.
    #[track_caller]
    pub(crate) fn check(&self, states: &StateMap) {
        if let Some(missing) = self.missing_state(states) {
            panic!("{missing}");
        }
    }

    /// What [`Self::check`] would say.
    pub(crate) fn missing_state(&self, states: &StateMap) -> Option<String> {
        let missing = self.needs().states.into_iter().find(|state| !states.has(state.id))?;
        Some(format!(
            "the handler declared at {} extracts State<{name}>, but the server has no state of that type: \
             give it one with `Server::builder().state(…)`",
            self.at,
            name = missing.name,
        ))
    }

    /// Notes which extensions of requests must be kept for this handler.
    pub(crate) fn pick(&self, pickers: &ExtensionPickers) {
        pickers.extend(&self.needs());
    }

    fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        self.handler.get().needs(&mut needs);
        needs
    }
}

impl<K: Kind> Clone for Erased<K> {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), at: self.at }
    }
}

/// An object of a handler.
trait Object<K: Kind>: Send + Sync {
    fn call(&self, call: Call) -> Result<Running<K::Output>, ExtractError>;
    fn needs(&self, needs: &mut Needs);
}

/// `M` tells which implementation of [`Handle`] is meant; there may be several for one function.
struct Typed<H, M> {
    handler: H,
    marker: PhantomData<fn() -> M>,
}

impl<K: Kind, M, H: Handle<K, M>> Object<K> for Typed<H, M> {
    fn call(&self, call: Call) -> Result<Running<K::Output>, ExtractError> {
        self.handler.clone().handle(call)
    }

    fn needs(&self, needs: &mut Needs) {
        H::needs(needs);
    }
}

/// A shared object that needs no memory if it has no size: `Arc` would allocate its counts.
enum Shared<K: Kind> {
    Sizeless(&'static dyn Object<K>),
    Sized(Kept<Arc<dyn Object<K>>>),
}

impl<K: Kind> Shared<K> {
    fn new<T: Object<K> + 'static>(object: T) -> Self {
        // leaking what has neither a size nor a destructor loses nothing
        if size_of::<T>() == 0 && !mem::needs_drop::<T>() {
            Self::Sizeless(Box::leak(Box::new(object)))
        } else {
            Self::Sized(Kept::new(Arc::new(object)))
        }
    }

    fn get(&self) -> &dyn Object<K> {
        match self {
            Self::Sizeless(object) => *object,
            Self::Sized(object) => &***object,
        }
    }
}

impl<K: Kind> Clone for Shared<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Sizeless(object) => Self::Sizeless(*object),
            Self::Sized(object) => Self::Sized(object.clone()),
        }
    }
}
