//! What becomes of what clients send: rules, by namespace and name of the event, and the rooms that clients may enter by
//! themselves.

use tokio::time::Instant;

use crate::hooks::HookUrl;

/// Text with `*` for any text, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The pieces between the stars: one more than there are stars.
    pieces: Vec<String>,
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        Self { pieces: pattern.split('*').map(str::to_owned).collect() }
    }

    /// Looks for each piece where it comes first: no text takes more than a walk for each.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &self.pieces[..] else {
            return self.pieces.iter().all(|only| only == text);
        };
        let Some(mut rest) =
            text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
        else {
            return false;
        };
        for piece in middle {
            let Some((_, after)) = rest.split_once(piece.as_str()) else { return false };
            rest = after;
        }
        true
    }
}

/// How many events a socket may send in a second; so many at once, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    per_second: u32,
}

impl Rate {
    /// `None`: it would be none at all.
    pub(crate) fn per_second(events: u32) -> Option<Self> {
        (events > 0).then_some(Self { per_second: events })
    }
}

/// What is left of a rate for one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.per_second.into(), at: now }
    }

    /// Whether so many more are allowed. More than a full one has are allowed when it is full, and are waited for afterwards.
    pub(crate) fn take_many(&mut self, rate: Rate, now: Instant, many: f64) -> bool {
        let most = f64::from(rate.per_second);
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * most).min(most);
        self.at = now;
        let allowed = self.left >= many.min(most);
        if allowed {
            self.left -= many;
        }
        allowed
    }
}

/// What is done with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The backend is called.
    Hook(HookUrl),
    /// It goes to the other sockets in the sender's rooms.
    Relay,
    /// Nothing.
    Drop,
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) namespace: String,
    pub(crate) event: Pattern,
    pub(crate) action: Action,
    pub(crate) rate: Option<Rate>,
    /// The most bytes of an event.
    pub(crate) max_bytes: Option<usize>,
    /// To which of the sender's rooms it is relayed. None: to all that are not reserved.
    pub(crate) rooms: Option<Vec<Pattern>>,
}

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    public: Vec<Pattern>,
}

impl Rules {
    pub(crate) fn new(rules: Vec<Rule>, public: Vec<Pattern>) -> Self {
        Self { rules, public }
    }

    /// Whether nothing is allowed.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.public.is_empty()
    }

    /// Whether the backend is called.
    pub(crate) fn has_hooks(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.action, Action::Hook(_)))
    }

    /// The first that fits, and its number.
    pub(crate) fn find(&self, namespace: &str, event: &str) -> Option<(usize, &Rule)> {
        let fits = |(_, rule): &(usize, &Rule)| rule.namespace == namespace && rule.event.fits(event);
        self.rules.iter().enumerate().find(fits)
    }

    /// Whether clients may enter and leave a room by themselves. What the server keeps itself is looked at elsewhere.
    pub(crate) fn is_public(&self, room: &str) -> bool {
        self.public.iter().any(|pattern| pattern.fits(room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stars_are_any_text() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "anything", true),
            ("team:*", "team:", true),
            ("team:*", "team", false),
            ("*:7", "team:7", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("a**c", "ac", true),
            ("é*", "éß", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn rates_fill_up_again() {
        let (rate, start) = (Rate::per_second(10).unwrap(), Instant::now());
        let mut bucket = Bucket::full(rate, start);
        assert!((0..10).all(|_| bucket.take_many(rate, start, 1.0)));
        assert!(!bucket.take_many(rate, start, 1.0));
        assert!(bucket.take_many(rate, start + Duration::from_millis(100), 1.0));
        assert!(!bucket.take_many(rate, start + Duration::from_millis(150), 1.0));
        let later = start + Duration::from_secs(5);
        assert_eq!((0..20).filter(|_| bucket.take_many(rate, later, 1.0)).count(), 10);
        assert_eq!(Rate::per_second(0), None);
        let mut bytes = Bucket::full(rate, start);
        assert!(bytes.take_many(rate, start, 25.0), "a full one lets anything pass");
        assert!(!bytes.take_many(rate, start + Duration::from_secs(1), 1.0), "and is waited for");
        assert!(bytes.take_many(rate, start + Duration::from_secs(2), 5.0));
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rule = |namespace: &str, event: &str, action| Rule {
            namespace: namespace.into(),
            event: Pattern::new(event),
            action,
            rate: None,
            max_bytes: None,
            rooms: None,
        };
        let rules = Rules::new(
            vec![
                rule("/", "cursor", Action::Drop),
                rule("/", "*", Action::Relay),
                rule("/chat", "x", Action::Drop),
            ],
            vec![Pattern::new("lobby:*")],
        );
        let action = |nsp, event| rules.find(nsp, event).map(|(n, rule)| (n, rule.action.clone()));
        assert_eq!(action("/", "cursor"), Some((0, Action::Drop)));
        assert_eq!(action("/", "typing"), Some((1, Action::Relay)));
        assert_eq!(action("/chat", "typing"), None);
        assert!(rules.is_public("lobby:1") && !rules.is_public("team:1"));
    }
}
