//! Which names a dynamic namespace has: templates and predicates, from `of_dynamic` to the hub's first client.

use patio_proto::payload::Payload;

/// Says whether a name, with what the client sent as `auth`, belongs to a dynamic namespace.
pub type NamespacePredicate = Box<dyn Fn(&str, Option<&Payload>) -> bool + Send + Sync>;

/// The names of a dynamic namespace: what [`Server::of_dynamic`](crate::Server::of_dynamic) takes.
///
/// A text is a template: `"/chat-{id}"`, where each `{…}` stands for one or more characters other than `/`. For more
/// than that there is a closure `|name: &str, auth: Option<&Payload>| -> bool`, whose argument types must be written out.
/// `io.of(regexp)` and `io.of(fn)` in Socket.IO.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which names a dynamic namespace has",
    note = "give a template such as \"/chat-{{id}}\", or a closure `|name: &str, auth: Option<&Payload>| …` with \
            its argument types written out"
)]
pub trait NamespacePattern {
    /// Makes the test that each new name is put to.
    ///
    /// # Panics
    /// If a template is not well-formed.
    #[track_caller]
    fn into_predicate(self) -> NamespacePredicate;
}

impl<F: Fn(&str, Option<&Payload>) -> bool + Send + Sync + 'static> NamespacePattern for F {
    fn into_predicate(self) -> NamespacePredicate {
        Box::new(self)
    }
}

impl NamespacePattern for &str {
    #[track_caller]
    fn into_predicate(self) -> NamespacePredicate {
        match Template::parse(self) {
            Ok(template) => Box::new(move |name, _| template.matches(name)),
            Err(problem) => panic!("the namespace template {self:?} {problem}"),
        }
    }
}

impl NamespacePattern for String {
    #[track_caller]
    fn into_predicate(self) -> NamespacePredicate {
        self.as_str().into_predicate()
    }
}

/// The fixed texts of a template; between two of them is a placeholder.
struct Template(Vec<String>);

impl Template {
    fn parse(template: &str) -> Result<Self, &'static str> {
        let slash = if template.starts_with('/') { "" } else { "/" };
        let mut parts = template.split('{');
        let mut fixed = vec![format!("{slash}{}", parts.next().unwrap_or_default())];
        for part in parts {
            let (name, text) = part.split_once('}').ok_or("has a `{` without `}`")?;
            if name.contains('/') {
                return Err("has a `/` within braces");
            }
            fixed.push(text.to_owned());
        }
        match &fixed[..] {
            texts if texts.iter().any(|text| text.contains('}')) => Err("has a `}` without `{`"),
            [_, between @ .., _] if between.iter().any(String::is_empty) => {
                Err("has two placeholders side by side")
            }
            _ => Ok(Self(fixed)),
        }
    }

    /// Each placeholder takes as little as it can. That decides it: where it could have taken more, so can the next.
    fn matches(&self, name: &str) -> bool {
        let [first, between @ ..] = &self.0[..] else { return false };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        let Some((last, between)) = between.split_last() else { return rest.is_empty() };
        for text in between {
            let Some((_, after)) = taken(rest).and_then(|at| rest[at..].split_once(text.as_str())) else {
                return false;
            };
            let placeholder = &rest[..rest.len() - after.len() - text.len()];
            if placeholder.contains('/') {
                return false;
            }
            rest = after;
        }
        rest.strip_suffix(last.as_str()).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
    }
}

/// The end of the one character that a placeholder takes at least.
fn taken(rest: &str) -> Option<usize> {
    rest.chars().next().map(char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, name: &str) -> bool {
        Template::parse(template).unwrap_or_else(|problem| panic!("{template}: {problem}")).matches(name)
    }

    #[test]
    fn a_placeholder_stands_for_characters_other_than_slashes() {
        for name in ["/chat-1", "/chat-a-b", "/chat-é", "/chat-{id}"] {
            assert!(matches("/chat-{id}", name) && matches("chat-{id}", name), "{name}");
        }
        for name in ["/chat-", "/chat", "/chat-a/b", "/Chat-1", "/a/chat-1", "chat-1", "", "/"] {
            assert!(!matches("/chat-{id}", name), "{name}");
        }
        assert!(matches("/{org}/rooms/{room}", "/acme/rooms/7"));
        assert!(!matches("/{org}/rooms/{room}", "/acme/rooms/7/8"));
        assert!(!matches("/{org}/rooms/{room}", "//rooms/7"));
        assert!(!matches("/{org}/rooms/{room}", "/a/b/rooms/7"));
        assert!(matches("/{a}-{b}", "/1-2-3") && matches("/{a}-{b}", "/--1") && matches("/{a}-{b}", "/a--"));
        assert!(!matches("/{a}-{b}", "/-1") && !matches("/{a}-{b}", "/1-") && !matches("/{a}-{b}", "/--"));
        assert!(matches("/{a}x{b}x", "/1x2xx3x"));
        assert!(matches("/{any}", "/a") && matches("{any}", "/a") && !matches("/{any}", "/"));
        assert!(matches("/plain", "/plain") && !matches("/plain", "/plainer"));
    }

    #[test]
    fn malformed_templates_are_refused() {
        for template in ["/a{", "/a}", "/{a}}", "/{a}{b}", "/{a{b}", "/{a/b}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}
