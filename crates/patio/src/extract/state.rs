//! What all handlers of a server share, found by type.

use std::{
    any::{Any, TypeId, type_name},
    convert::Infallible,
    sync::Arc,
};

use hashbrown::HashMap;

use super::{FromParts, Needs};
use crate::handler::Call;

/// A clone of the server's state of type `T`, given to it with `Server::builder().state(…)`.
///
/// A handler that extracts a state that the server does not have is a mistake of the program: `build()`, or the call that
/// declares the handler, panics and names the type and the place of the declaration. With `Option<State<T>>` it may be
/// missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State<T>(pub T);

/// The server has no state of that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has no state of type {name}: give it one with `Server::builder().state(…)`")]
pub struct MissingState {
    name: &'static str,
}

impl<T: Clone + Send + Sync + 'static> FromParts for State<T> {
    type Rejection = MissingState;

    fn from_parts(call: &mut Call) -> Result<Self, MissingState> {
        call.socket.with_state().map(Self).ok_or(MissingState { name: type_name::<T>() })
    }

    fn needs(needs: &mut Needs) {
        needs.state::<T>();
    }
}

impl<T: Clone + Send + Sync + 'static> FromParts for Option<State<T>> {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(State::from_parts(call).ok())
    }
}

/// All states of a server: complete when it is built.
#[derive(Clone, Default)]
pub(crate) struct StateMap {
    states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl StateMap {
    /// Adds a state, in place of a former one of that type.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, state: T) {
        self.states.insert(TypeId::of::<T>(), Arc::new(state));
    }

    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.states.get(&TypeId::of::<T>())?.downcast_ref()
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.states.contains_key(&id)
    }
}
