//! Answers to operations that had an idempotency key: a repeat within five minutes gets the first one's, and nothing is
//! done twice.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::{sync::watch, time::Instant};

use super::error::Error;

/// How long an answer is remembered.
const TIME: Duration = Duration::from_secs(300);

/// How many answers are remembered at most; the oldest is forgotten first.
const MOST: usize = 100_000;

/// The answers of one server.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, watch::Receiver<Option<Json>>>,
    /// In the order of their beginning, so in that of their end.
    ages: VecDeque<(Instant, String)>,
}

impl Remembered {
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
            let Some(work) = work.take() else { continue };
            let answer = work.await?;
            begun.keep(answer.clone());
            return Ok(answer);
        }
    }

    fn begin(&self, key: &str) -> Result<Begun, watch::Receiver<Option<Json>>> {
        let mut state = self.0.lock();
        state.forget(Instant::now());
        if let Some(first) = state.answers.get(key) {
            return Err(first.clone());
        }
        let (answer, receiver) = watch::channel(None);
        state.answers.insert(key.to_owned(), receiver);
        state.ages.push_back((Instant::now(), key.to_owned()));
        Ok(Begun { state: Arc::clone(&self.0), key: key.to_owned(), answer, kept: false })
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        let is_old = |(at, _): &mut (Instant, String)| now.duration_since(*at) >= TIME;
        while let Some((_, key)) =
            if self.ages.len() >= MOST { self.ages.pop_front() } else { self.ages.pop_front_if(is_old) }
        {
            self.answers.remove(&key);
        }
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
    fn keep(mut self, answer: Json) {
        self.kept = true;
        self.answer.send_replace(Some(answer));
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.kept {
            let mut state = self.state.lock();
            state.answers.remove(&self.key);
            state.ages.retain(|(_, key)| *key != self.key);
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
        assert_eq!(remembered.0.lock().answers.len(), MOST);
        assert_eq!(remembered.0.lock().ages.len(), MOST);
    }
}
