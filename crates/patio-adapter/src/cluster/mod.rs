//! How servers form a cluster, written once for every broker.

use compact_str::CompactString;

/// 16 random lower-case hex characters: Node's ids of servers and requests.
pub(crate) fn random_id() -> CompactString {
    compact_str::format_compact!("{:016x}", fastrand::u64(..))
}
