//! Which stream a namespace is written to.

use bytes::Bytes;

/// The streams of a cluster.
pub(super) struct Names {
    pub(super) all: Vec<Bytes>,
}

impl Names {
    /// All that servers may write to: where there are several, half of them are unknown to Node's servers, which write there
    /// and do not read.
    pub(super) fn new(name: &str, count: u32) -> Self {
        let all = match i64::from(count) {
            ..=1 => vec![name.to_owned().into()],
            count => (1 - count..count).map(|n| format!("{name}-{n}").into()).collect(),
        };
        Self { all }
    }
}

/// The stream that a namespace is written to. Its hash is Node's, negative numbers and all: a remainder in JavaScript keeps
/// the sign, as in Rust.
pub(super) fn stream_of(name: &str, count: u32, namespace: &str) -> Bytes {
    if count <= 1 {
        return name.to_owned().into();
    }
    let hash =
        namespace.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    format!("{name}-{}", i64::from(hash) % i64::from(count)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_those_of_node() {
        assert_eq!(stream_of("socket.io", 1, "/any"), "socket.io");
        for (namespace, stream) in [
            ("/", "socket.io-3"),
            ("/chat", "socket.io-3"),
            ("/admin", "socket.io-0"),
            ("/my-namespace", "socket.io--3"),
            ("/workspace-1", "socket.io--2"),
        ] {
            let name = stream_of("socket.io", 4, namespace);
            assert_eq!(name, stream, "{namespace}");
            assert!(Names::new("socket.io", 4).all.contains(&name));
        }
        assert_eq!(Names::new("s", 1).all, ["s"]);
        assert_eq!(Names::new("s", 2).all, ["s--1", "s-0", "s-1"]);
    }
}
