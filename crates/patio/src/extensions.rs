//! Values of any type that belong to a socket, found by their type: put there by user code and by the request's own
//! extensions, read by [`Extension`](crate::extract::Extension).

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    sync::Arc,
};

use crate::sync::Mutex;

use crate::guard::Kept;

/// Typed values of one socket that never leave this server; at most one of each type.
///
/// For what other servers shall see there is `socket.data`. A type of your own, not `String` or `u64`, keeps apart what
/// different parts of a program store.
///
/// Two words and no allocation while it is empty, since every socket has one.
#[derive(Default)]
pub struct Extensions {
    entries: Mutex<Option<Box<Entries>>>,
}

/// Few types are stored per socket: a walk is faster than hashing.
type Entries = Vec<Entry>;

#[derive(Clone)]
struct Entry {
    id: TypeId,
    name: &'static str,
    value: Kept<Arc<dyn Any + Send + Sync>>,
}

impl Extensions {
    /// Stores `value` and returns the former one of that type.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        let entry =
            Entry { id: TypeId::of::<T>(), name: type_name::<T>(), value: Kept::new(Arc::new(value)) };
        let old = {
            let mut entries = self.entries.lock();
            let entries = entries.get_or_insert_default();
            match entries.iter_mut().find(|old| old.id == entry.id) {
                Some(old) => Some(std::mem::replace(old, entry)),
                None => {
                    entries.push(entry);
                    None
                }
            }
        };
        old.and_then(Entry::into_value)
    }

    /// A clone of the value of type `T`.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        // cloned after the lock is released: `T::clone` is user code
        let value = Arc::clone(&self.entries.lock().as_deref()?.iter().find(|entry| entry.is::<T>())?.value);
        value.downcast_ref().cloned()
    }

    /// Whether there is a value of type `T`.
    pub fn contains<T: 'static>(&self) -> bool {
        self.entries.lock().as_deref().is_some_and(|entries| entries.iter().any(Entry::is::<T>))
    }

    /// Takes the value of type `T` out.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let entry = {
            let mut entries = self.entries.lock();
            let entries = entries.as_deref_mut()?;
            let at = entries.iter().position(Entry::is::<T>)?;
            entries.swap_remove(at)
        };
        entry.into_value()
    }

    /// Takes everything out.
    pub fn clear(&self) {
        // dropped after the lock is released: `Drop` is user code
        let entries = self.entries.lock().take();
        drop(entries);
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.entries.lock().as_deref().is_none_or(Vec::is_empty)
    }
}

impl Entry {
    fn is<T: 'static>(&self) -> bool {
        self.id == TypeId::of::<T>()
    }

    fn into_value<T: Clone + Send + Sync + 'static>(self) -> Option<T> {
        let value = self.value.into_inner().downcast().ok()?;
        Some(Arc::try_unwrap(value).unwrap_or_else(|shared| T::clone(&shared)))
    }
}

/// The values are shared, not cloned; what is stored later is not.
impl Clone for Extensions {
    fn clone(&self) -> Self {
        Self { entries: Mutex::new(self.entries.lock().clone()) }
    }
}

/// The names of the stored types.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.entries.lock().iter().flat_map(|all| all.iter()).map(|entry| entry.name).collect();
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_value_of_each_type() {
        let extensions = Extensions::default();
        assert_eq!(extensions.get::<u8>(), None);
        assert_eq!(extensions.insert(1_u8), None);
        assert_eq!(extensions.insert("one"), None);
        assert_eq!(extensions.insert(2_u8), Some(1));
        assert_eq!((extensions.get(), extensions.get()), (Some(2_u8), Some("one")));
        assert_eq!(format!("{extensions:?}"), r#"{"u8", "&str"}"#);
        let copy = extensions.clone();
        assert_eq!(extensions.remove::<u8>(), Some(2));
        assert!(!extensions.contains::<u8>() && copy.contains::<u8>());
        extensions.clear();
        assert!(extensions.is_empty() && !copy.is_empty());
    }

    #[test]
    fn an_unused_one_is_two_words() {
        assert!(size_of::<Extensions>() <= 16);
    }
}
