//! Spares an address that fails: after some failures in a row nobody calls it for a while, then one call tries again.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many failures in a row open it.
const FAILURES: u32 = 5;

/// How long it stays open: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until then nobody calls.
    open_until: Option<Instant>,
    /// One call tries whether it works again.
    trying: bool,
}

/// A call that was let through. Dropped before it has ended, it says nothing.
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    settled: bool,
}

impl Breaker {
    /// Lets a call through. `None`: the address is spared.
    pub(super) fn attempt(&self) -> Option<Attempt<'_>> {
        let mut state = self.0.lock();
        if let Some(until) = state.open_until {
            if state.trying || Instant::now() < until {
                return None;
            }
            state.trying = true;
        }
        Some(Attempt { breaker: self, settled: false })
    }
}

impl Attempt<'_> {
    pub(super) fn succeeded(mut self) {
        self.settled = true;
        *self.breaker.0.lock() = State::default();
    }

    pub(super) fn failed(mut self) {
        self.settled = true;
        let mut state = self.breaker.0.lock();
        state.failures = state.failures.saturating_add(1);
        state.trying = false;
        if state.failures >= FAILURES {
            let pause = FIRST_PAUSE * 2u32.saturating_pow((state.failures - FAILURES).min(8));
            state.open_until = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.0.lock().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn opens_tries_and_closes() {
        let breaker = Breaker::default();
        let fail = || breaker.attempt().unwrap().failed();
        (0..FAILURES - 1).for_each(|_| fail());
        breaker.attempt().unwrap().succeeded();
        (0..FAILURES).for_each(|_| fail());
        assert!(breaker.attempt().is_none(), "it is open");
        advance(FIRST_PAUSE).await;
        let trying = breaker.attempt().unwrap();
        assert!(breaker.attempt().is_none(), "one tries");
        drop(trying);
        breaker.attempt().unwrap().failed();
        advance(FIRST_PAUSE).await;
        assert!(breaker.attempt().is_none(), "twice as long");
        advance(FIRST_PAUSE).await;
        breaker.attempt().unwrap().succeeded();
        let (one, another) = (breaker.attempt(), breaker.attempt());
        assert!(one.is_some() && another.is_some(), "it is closed");
    }
}
