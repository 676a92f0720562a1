//! Passes on a number of arguments that is known only when they arrive.

/// Runs an expression with a tuple of references to all values of a slice, since a tuple is what Patio sends as
/// several arguments. Values beyond the twelfth are left out: no cell sends more.
macro_rules! spread {
    ($values:expr, |$tuple:ident| $body:expr) => {
        spread!(@arms $values, $tuple, $body,
            [] [a] [a b] [a b c] [a b c d] [a b c d e] [a b c d e f] [a b c d e f g] [a b c d e f g h]
            [a b c d e f g h i] [a b c d e f g h i j] [a b c d e f g h i j k])
    };
    (@arms $values:expr, $tuple:ident, $body:expr, $([$($name:ident)*])*) => {
        match &$values[..] {
            $([$($name),*] => {
                let $tuple = &($($name,)*);
                $body
            })*
            [a, b, c, d, e, f, g, h, i, j, k, l, ..] => {
                let $tuple = &(a, b, c, d, e, f, g, h, i, j, k, l);
                $body
            }
        }
    };
}

pub(crate) use spread;
