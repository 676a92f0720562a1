//! The library's `sync` under the scheduler: the same names and signatures, with shuttle's types inside.

use std::{cell::RefCell, sync::PoisonError};

pub(crate) use shuttle::sync::atomic;
use shuttle::{
    sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard},
    thread::LocalKey,
};

/// As parking_lot's: a panic while it is locked does not poison it.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`Mutex`].
#[derive(Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads of a model share one of the system's, so that the standard library's would be one for all of them.
macro_rules! local {
    (static $name:ident: $type:ty = $init:expr;) => {
        static $name: $crate::sync::Local<$type> = {
            shuttle::thread_local! { static KEY: $type = $init }
            $crate::sync::Local(&KEY)
        };
    };
}
pub(crate) use local as thread_local;

/// What [`thread_local!`] declares.
pub(crate) struct Local<T: 'static>(pub(crate) &'static LocalKey<T>);

impl<T> Local<RefCell<T>> {
    pub(crate) fn with_borrow_mut<R>(&'static self, with: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(|value| with(&mut value.borrow_mut()))
    }
}
