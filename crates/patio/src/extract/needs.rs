//! What extractors need from the server: gathered when a handler is declared, compared with what there is.

use std::any::{TypeId, type_name};

use super::extension::Picker;

/// What the arguments of a handler need from the server.
#[derive(Default)]
pub struct Needs {
    pub(crate) states: Vec<StateType>,
    pub(super) pickers: Vec<Picker>,
    pub(crate) reason: bool,
}

pub(crate) struct StateType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl Needs {
    /// A state of type `T`: without one the server is not built.
    pub fn state<T: 'static>(&mut self) {
        self.states.push(StateType { id: TypeId::of::<T>(), name: type_name::<T>() });
    }

    /// The extension of type `T` of the request that opens a connection, if it has one: it is kept for [`Extension`](super::Extension).
    pub fn extension<T: Clone + Send + Sync + 'static>(&mut self) {
        self.pickers.push(Picker::new::<T>());
    }

    /// The reason of a disconnection.
    pub(super) fn reason(&mut self) {
        self.reason = true;
    }

    /// Notes what `inner` needs, except that it may be missing.
    pub fn optional(&mut self, inner: impl FnOnce(&mut Self)) {
        let mut needs = Self::default();
        inner(&mut needs);
        self.pickers.append(&mut needs.pickers);
    }
}
