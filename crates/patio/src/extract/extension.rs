//! Extensions of sockets, and what of a request's extensions becomes one.

use std::{
    any::{TypeId, type_name},
    convert::Infallible,
};

use super::{FromParts, Needs};
use crate::{counters::Counters, extensions::Extensions, handler::Call, sync::RwLock};

/// The socket's extension of type `T`: what user code has stored in `socket.extensions()`, or what a tower or axum layer
/// has stored in the extensions of the request that opened the connection.
///
/// Of a request only those types are kept that some handler extracts which was declared before the request came, since
/// all of its extensions would hold much more memory for as long as the client is connected. For a type that only a
/// handler of `socket.on` extracts, say so with `Server::builder().keep_extension::<T>()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extension<T>(pub T);

/// The socket has no extension of that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no extension of type {name}: neither socket.extensions() has one, nor did the request, \
     of which it is kept if a declared handler or `keep_extension` asks for it"
)]
pub struct MissingExtension {
    name: &'static str,
}

impl<T: Clone + Send + Sync + 'static> FromParts for Extension<T> {
    type Rejection = MissingExtension;

    fn from_parts(call: &mut Call) -> Result<Self, MissingExtension> {
        let value = call.socket.extensions().get();
        value.map(Self).ok_or(MissingExtension { name: type_name::<T>() })
    }

    fn needs(needs: &mut Needs) {
        needs.extension::<T>();
    }
}

impl<T: Clone + Send + Sync + 'static> FromParts for Option<Extension<T>> {
    type Rejection = Infallible;

    fn from_parts(call: &mut Call) -> Result<Self, Infallible> {
        Ok(Extension::from_parts(call).ok())
    }

    fn needs(needs: &mut Needs) {
        needs.extension::<T>();
    }
}

/// Which extensions of a request the server keeps. Grows when handlers are declared, read at every handshake.
#[derive(Default)]
pub(crate) struct ExtensionPickers {
    pickers: RwLock<Vec<Picker>>,
}

impl ExtensionPickers {
    /// Keeps the extension of type `T`.
    pub(crate) fn keep<T: Clone + Send + Sync + 'static>(&self) {
        self.add(Picker::new::<T>());
    }

    /// Keeps all that a handler needs.
    pub(crate) fn extend(&self, needs: &Needs) {
        needs.pickers.iter().copied().for_each(|picker| self.add(picker));
    }

    /// Copies from a request's extensions what shall be kept.
    pub(crate) fn pick(&self, counters: &Counters, request: &http::Extensions, socket: &Extensions) {
        if request.is_empty() {
            return;
        }
        for picker in &*self.pickers.read() {
            // `Clone` is user code: one that panics is not kept.
            counters.guard(|| (picker.pick)(request, socket));
        }
    }

    fn add(&self, picker: Picker) {
        if self.pickers.read().iter().all(|other| other.id != picker.id) {
            let mut pickers = self.pickers.write();
            // another thread may have added it meanwhile
            if pickers.iter().all(|other| other.id != picker.id) {
                pickers.push(picker);
            }
        }
    }
}

/// Copies the extension of one type.
#[derive(Clone, Copy)]
pub(super) struct Picker {
    id: TypeId,
    pick: fn(&http::Extensions, &Extensions),
}

impl Picker {
    pub(super) fn new<T: Clone + Send + Sync + 'static>() -> Self {
        let pick = |request: &http::Extensions, socket: &Extensions| {
            if let Some(value) = request.get::<T>() {
                socket.insert(value.clone());
            }
        };
        Self { id: TypeId::of::<T>(), pick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_of_a_request_what_handlers_extract() {
        let pickers = ExtensionPickers::default();
        let mut needs = Needs::default();
        Extension::<u8>::needs(&mut needs);
        Option::<Extension<u8>>::needs(&mut needs);
        Result::<Extension<i8>, MissingExtension>::needs(&mut needs);
        pickers.extend(&needs);
        pickers.keep::<char>();
        assert_eq!(pickers.pickers.read().len(), 3);

        let mut request = http::Extensions::new();
        request.insert(1_u8);
        request.insert("one");
        request.insert('1');
        let socket = Extensions::default();
        pickers.pick(&Counters::default(), &request, &socket);
        assert_eq!((socket.get(), socket.get()), (Some(1_u8), Some('1')));
        assert!(!socket.contains::<&str>() && !socket.contains::<i8>());
    }
}
