//! Answers to operations that had an idempotency key: a repeat within five minutes gets the first one's, and nothing is
//! done twice. Servers on one Redis share them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use patio_redis::Store;
use serde_json::Value as Json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::error::Error;

/// How long an answer is remembered.
const TIME: Duration = Duration::from_secs(300);

/// How many answers are remembered at most; the oldest is forgotten first.
const MOST: usize = 100_000;

/// How many bytes of answers, about.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How often a server looks whether another has come to its end.
const LOOK: Duration = Duration::from_millis(100);

/// How long that may take. A server that dies meanwhile holds up no repeat for longer.
const WORK: Duration = Duration::from_secs(70);

/// What stands in Redis while an answer is awaited.
const BEGUN: &[u8] = b"";

/// The answers of one server, and those of others that share a store with it.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    own: Arc<Mutex<State>>,
    shared: Option<Store>,
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, watch::Receiver<Option<Json>>>,
    /// In the order of their beginning, so in that of their end.
    ages: VecDeque<(Instant, String)>,
    /// Those that are kept, as JSON.
    bytes: usize,
}

impl Remembered {
    pub(crate) fn shared_by(store: Option<Store>) -> Self {
        Self { own: Arc::default(), shared: store }
    }

    /// Does it, unless somebody else has or does it at this moment; then the answer is theirs, with `"duplicate":true`. What
    /// failed, or was given up, is not remembered: a repeat does it again.
    pub(crate) async fn once(
        &self,
        key: &str,
        work: impl Future<Output = Result<Json, Error>>,
    ) -> Result<Json, Error> {
        let mut work = Some(work);
        loop {
            let begun = match self.begin(key) {
                Ok(begun) => begun,
                Err(mut first) => match first.wait_for(Option::is_some).await {
                    Ok(answer) => return Ok(duplicate(answer.clone().unwrap_or_default())),
                    // It failed, and has been forgotten.
                    Err(_) => continue,
                },
            };
            if let Some(answer) = self.of_another(key).await {
                begun.keep(answer.clone());
                return Ok(duplicate(answer));
            }
            let Some(work) = work.take() else { continue };
            let answer = work.await;
            self.share(key, &answer).await;
            let answer = answer?;
            begun.keep(answer.clone());
            return Ok(answer);
        }
    }

    /// The answer of another server that has begun before, when it has come. `None`: this one has begun, or nobody can tell.
    async fn of_another(&self, key: &str) -> Option<Json> {
        let store = self.shared.as_ref()?;
        loop {
            match store.claim(key, BEGUN, WORK).await {
                Ok(None) => return None,
                // It is not done yet; or it failed, and whoever claims it next does it.
                Ok(Some(found)) if found == BEGUN => sleep(LOOK).await,
                Ok(Some(found)) => return serde_json::from_slice(&found).ok(),
                Err(error) => {
                    tracing::warn!(%error, "answers cannot be shared at the moment");
                    return None;
                }
            }
        }
    }

    async fn share(&self, key: &str, answer: &Result<Json, Error>) {
        let Some(store) = &self.shared else { return };
        let shared = match answer {
            Ok(answer) => store.put(key, answer.to_string().as_bytes(), TIME).await,
            Err(_) => store.remove(key).await,
        };
        if let Err(error) = shared {
            tracing::warn!(%error, "answers cannot be shared at the moment");
        }
    }

    fn begin(&self, key: &str) -> Result<Begun, watch::Receiver<Option<Json>>> {
        let mut state = self.own.lock();
        state.forget(Instant::now());
        if let Some(first) = state.answers.get(key) {
            return Err(first.clone());
        }
        let (answer, receiver) = watch::channel(None);
        state.answers.insert(key.to_owned(), receiver);
        state.ages.push_back((Instant::now(), key.to_owned()));
        Ok(Begun { state: Arc::clone(&self.own), key: key.to_owned(), answer, kept: false })
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        let is_old = |(at, _): &mut (Instant, String)| now.duration_since(*at) >= TIME;
        loop {
            let is_full = self.ages.len() >= MOST || self.bytes > MOST_BYTES;
            let oldest = if is_full { self.ages.pop_front() } else { self.ages.pop_front_if(is_old) };
            let Some((_, key)) = oldest else { return };
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(answer) = self.answers.remove(key) {
            self.bytes -= answer.borrow().as_ref().map_or(0, size);
        }
    }
}

/// What an answer takes, about.
fn size(answer: &Json) -> usize {
    match answer {
        Json::String(text) => text.len() + 32,
        Json::Array(values) => 32 + values.iter().map(size).sum::<usize>(),
        Json::Object(members) => {
            32 + members.iter().map(|(key, value)| key.len() + 64 + size(value)).sum::<usize>()
        }
        _ => 32,
    }
}

/// An operation that is being done.
struct Begun {
    state: Arc<Mutex<State>>,
    key: String,
    answer: watch::Sender<Option<Json>>,
    kept: bool,
}

impl Begun {
    /// It may have been forgotten meanwhile, and begun anew by somebody else.
    fn is_known(&self, state: &State) -> bool {
        state.answers.get(&self.key).is_some_and(|own| own.same_channel(&self.answer.subscribe()))
    }

    fn keep(mut self, answer: Json) {
        self.kept = true;
        let mut state = self.state.lock();
        if self.is_known(&state) {
            state.bytes += size(&answer);
        }
        self.answer.send_replace(Some(answer));
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.kept {
            let mut state = self.state.lock();
            if self.is_known(&state) {
                state.remove(&self.key);
                state.ages.retain(|(_, key)| *key != self.key);
            }
        }
    }
}

fn duplicate(mut answer: Json) -> Json {
    if let Json::Object(members) = &mut answer {
        members.insert("duplicate".to_owned(), true.into());
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::error::Code;
    use serde_json::json;
    use std::future::{pending, ready};
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_repeat_gets_the_first_answer_for_five_minutes() {
        let remembered = Remembered::default();
        let answer = |n: u8| ready(Ok(json!({ "n": n })));
        assert_eq!(remembered.once("a", answer(1)).await.unwrap(), json!({ "n": 1 }));
        assert_eq!(remembered.once("a", answer(2)).await.unwrap(), json!({ "n": 1, "duplicate": true }));
        assert_eq!(remembered.once("b", answer(3)).await.unwrap(), json!({ "n": 3 }));
        advance(TIME).await;
        assert_eq!(remembered.once("a", answer(4)).await.unwrap(), json!({ "n": 4 }));
    }

    #[tokio::test]
    async fn who_comes_while_it_is_done_waits() {
        let remembered = Remembered::default();
        let (done, work) = tokio::sync::oneshot::channel();
        let first = remembered.once("a", async { Ok(work.await.unwrap()) });
        let second = remembered.once("a", ready(Ok(json!({ "n": 2 }))));
        let finish = async {
            tokio::task::yield_now().await;
            done.send(json!({ "n": 1 })).unwrap();
        };
        let (first, second, ()) = tokio::join!(first, second, finish);
        assert_eq!(first.unwrap(), json!({ "n": 1 }));
        assert_eq!(second.unwrap(), json!({ "n": 1, "duplicate": true }));
    }

    #[tokio::test]
    async fn what_failed_or_was_given_up_is_done_again() {
        let remembered = Remembered::default();
        let failed = Error::new(Code::Unavailable, "no");
        assert!(remembered.once("a", ready(Err(failed))).await.is_err());
        drop(tokio::time::timeout(Duration::ZERO, remembered.once("a", pending())).await);
        let second = remembered.once("a", ready(Ok(json!({ "n": 2 })))).await;
        assert_eq!(second.unwrap(), json!({ "n": 2 }));
    }

    #[tokio::test]
    async fn there_is_a_bound() {
        let remembered = Remembered::default();
        for n in 0..MOST + 10 {
            remembered.once(&n.to_string(), ready(Ok(json!({})))).await.unwrap();
        }
        assert_eq!(remembered.own.lock().answers.len(), MOST);
        assert_eq!(remembered.own.lock().ages.len(), MOST);
        let large = || json!({ "acks": ["x".repeat(MOST_BYTES / 4)] });
        for n in 0..10 {
            remembered.once(&format!("large {n}"), ready(Ok(large()))).await.unwrap();
        }
        let state = remembered.own.lock();
        assert!(state.bytes < 2 * MOST_BYTES && state.answers.len() < 10, "{} bytes", state.bytes);
    }
}
