//! The members of a JavaScript object, in order.

use std::{mem, vec};

use super::Value;

/// An object: keys with values in the order of insertion.
///
/// Lookups walk through the members. Objects that peers sent may be large: turn those into a map (`into_iter`) before
/// many lookups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    /// An object without members.
    pub const fn new() -> Self {
        Self { members: Vec::new() }
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key` in its place or at the end, and returns its former value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.get_mut(&key) {
            Some(old) => Some(mem::replace(old, value)),
            None => {
                self.members.push((key, value));
                None
            }
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.members.iter().position(|(name, _)| name == key)?;
        Some(self.members.remove(at).1)
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.members.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Keeps one member per key: at the place of the first, with the value of the last, as JavaScript does.
    /// In n log n, because peers choose the keys.
    fn from_members(mut members: Vec<(String, Value)>) -> Self {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|&a, &b| members[a].0.cmp(&members[b].0));
        let mut keep = vec![true; members.len()];
        let mut moves = Vec::new();
        for same in order.chunk_by(|&a, &b| members[a].0 == members[b].0) {
            if let [first, .., last] = *same {
                same[1..].iter().for_each(|&at| keep[at] = false);
                moves.push((last, first));
            }
        }
        if !moves.is_empty() {
            for (from, to) in moves {
                members[to].1 = mem::take(&mut members[from].1);
            }
            let mut keep = keep.into_iter();
            members.retain(|_| keep.next().unwrap_or(true));
        }
        Self { members }
    }
}

/// A key that occurs again replaces the value of the first.
impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Self::from_members(members.into_iter().collect())
    }
}

impl<const N: usize> From<[(&str, Value); N]> for Object {
    fn from(members: [(&str, Value); N]) -> Self {
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_duplicate_wins_at_the_first_place() {
        let members = [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5), ("a", 6)];
        let object: Object =
            members.map(|(key, value)| (key.to_owned(), Value::Int(value))).into_iter().collect();
        let found: Vec<_> = object.iter().map(|(key, value)| (key, value.as_i64())).collect();
        assert_eq!(found, [("b", Some(5)), ("a", Some(6)), ("c", Some(4))]);
    }
}
