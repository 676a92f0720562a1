//! User code that is no handler: listeners and hooks that are called, values that are dropped. A panic of theirs ends
//! nothing else.
//!
//! Handlers and middlewares are caught where they run, because there it is known whose they were (`connection/`). All
//! else that users give passes through here: what is called through [`Counters::guard`], what is kept through [`Kept`].

use std::{
    any::Any,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::FutureExt;

use crate::{counters::Counters, handler::HandlerError};

/// Calls user code, and logs its panic.
pub(crate) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, HandlerError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(logged)
}

impl Counters {
    /// Calls user code; `None`, and counted, if it panics.
    pub(crate) fn guard<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        guard(call).inspect_err(|_| self.panics.add(1)).ok()
    }

    /// As [`Self::guard`], for what has to be awaited.
    pub(crate) async fn guard_async<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let done = AssertUnwindSafe(call).catch_unwind().await.map_err(logged);
        done.inspect_err(|_| self.panics.add(1)).ok()
    }
}

fn logged(panic: Box<dyn Any + Send>) -> HandlerError {
    let error = HandlerError::panicked(panic);
    tracing::warn!(%error, "user code panicked");
    error
}

/// What a panic was about, if it is text. What else it brought is dropped here, and may panic once more.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied().unwrap_or("a value that is no text").to_owned();
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
                // There is no end to this but not to look at it.
                std::mem::forget(again);
            }
            text
        }
    }
}

/// A value of the user that the server keeps and drops: a closure, an extension, the future of a handler.
///
/// The last one who holds it may be the driver of its connection, but also the timers, or a worker of the flusher,
/// which serve all connections. So a panic of its `Drop` is caught and logged here, and whoever drops it goes on.
#[derive(Clone)]
pub(crate) struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect(THERE)
    }
}

/// Why a kept value is there.
const THERE: &str = "a kept value is taken by its end only";

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(THERE)
    }
}

impl<F: Future + Unpin> Future for Kept<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(self.0.as_mut().expect(THERE)).poll(cx)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            // Logged; there is nobody to count it for.
            let _ = guard(|| drop(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bomb");
        }
    }

    #[test]
    fn a_kept_value_may_panic_when_it_is_dropped() {
        drop(vec![Kept::new(Bomb), Kept::new(Bomb)]);
        // Also while another panic is on its way.
        let unwound = catch_unwind(|| {
            let _kept = Kept::new(Bomb);
            panic!("the first");
        });
        assert_eq!(panic_text(unwound.unwrap_err()), "the first");
    }

    #[test]
    fn a_panic_may_bring_a_value_that_panics() {
        let panic = catch_unwind(|| std::panic::panic_any(Bomb));
        assert_eq!(panic_text(panic.unwrap_err()), "a value that is no text");
        // One that panics with another one, for ever.
        struct Chain;
        impl Drop for Chain {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        let panic = catch_unwind(|| std::panic::panic_any(Chain));
        assert_eq!(panic_text(panic.unwrap_err()), "a value that is no text");
    }

    #[test]
    fn keeping_costs_nothing() {
        assert_eq!(size_of::<Kept<Pin<Box<dyn Future<Output = ()>>>>>(), 2 * size_of::<usize>());
    }
}
