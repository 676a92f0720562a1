//! What may be said again and again is said once a minute.

use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    /// Whether it may be said now: then it is.
    pub(crate) fn due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn once_a_minute() {
        let mut throttle = Throttle::default();
        assert!(throttle.due());
        advance(PAUSE - Duration::from_secs(1)).await;
        assert!(!throttle.due());
        advance(Duration::from_secs(1)).await;
        assert!(throttle.due() && !throttle.due());
    }
}
