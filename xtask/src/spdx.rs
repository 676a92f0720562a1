//! Licence expressions as packages write them: `MIT OR Apache-2.0`, `(A OR B) AND C`, `A WITH an-exception`, and the
//! old `MIT/Apache-2.0`.

/// Whether the expression leaves a choice of licences that are all allowed; nothing if it is no expression.
pub(crate) fn allows(expression: &str, allowed: &impl Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = Words { words: spaced.split_whitespace().collect(), next: 0 };
    let verdict = words.either(allowed)?;
    words.peek().is_none().then_some(verdict)
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    /// `both OR both …`
    fn either(&mut self, allowed: &impl Fn(&str) -> bool) -> Option<bool> {
        let mut verdict = self.both(allowed)?;
        while self.take("OR") {
            verdict |= self.both(allowed)?;
        }
        Some(verdict)
    }

    /// `one AND one …`
    fn both(&mut self, allowed: &impl Fn(&str) -> bool) -> Option<bool> {
        let mut verdict = self.one(allowed)?;
        while self.take("AND") {
            verdict &= self.one(allowed)?;
        }
        Some(verdict)
    }

    /// `(either)`, `licence` or `licence WITH exception`
    fn one(&mut self, allowed: &impl Fn(&str) -> bool) -> Option<bool> {
        if self.take("(") {
            let verdict = self.either(allowed)?;
            return self.take(")").then_some(verdict);
        }
        let licence = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Some(allowed(&format!("{licence} WITH {exception}")));
        }
        Some(allowed(licence))
    }

    fn name(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.next += 1;
        (!matches!(word, "(" | ")" | "OR" | "AND" | "WITH")).then_some(word)
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(word);
        self.next += usize::from(there);
        there
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(expression: &str) -> Option<bool> {
        allows(expression, &|name| {
            ["MIT", "Zlib", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].contains(&name)
        })
    }

    #[test]
    fn expressions_are_read_as_written() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 / AGPL-3.0", false),
            ("MIT AND GPL-3.0", false),
            ("GPL-3.0 OR MIT AND Zlib", true),
            ("MIT AND GPL-3.0 OR Zlib", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(MIT OR Zlib) AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH another", false),
        ] {
            assert_eq!(verdict(expression), Some(expected), "{expression}");
        }
    }

    #[test]
    fn nonsense_is_no_expression() {
        for expression in ["", "MIT Zlib", "(MIT", "MIT)", "OR MIT", "MIT OR", "MIT WITH", "()"] {
            assert_eq!(verdict(expression), None, "{expression}");
        }
    }
}
