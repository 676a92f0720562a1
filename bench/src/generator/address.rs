//! Where the clients come from: many addresses of 127.0.0.0/8, other ones in each run.

use std::net::Ipv4Addr;

/// One address has fewer than 30,000 free ports, and those of the last run may still be in TIME_WAIT: each run begins
/// elsewhere in 127.1.0.0 to 127.254.255.255, and each address is used for some hundred connections only.
pub(super) struct Addresses {
    at: u32,
    used: u32,
}

const PER_ADDRESS: u32 = 500;

impl Addresses {
    pub(super) fn fresh() -> Self {
        Self { at: fastrand::u32(..), used: 0 }
    }

    pub(super) fn next_address(&mut self) -> Ipv4Addr {
        if self.used == PER_ADDRESS {
            self.used = 0;
            self.at = self.at.wrapping_add(1);
        }
        self.used += 1;
        let part = |shift: u32| u8::try_from((self.at >> shift) % 254).map_or(1, |byte| byte + 1);
        Ipv4Addr::new(127, part(16), part(8), part(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_loopback_and_change() {
        let mut addresses = Addresses::fresh();
        let seen: std::collections::HashSet<_> =
            (0..PER_ADDRESS * 10).map(|_| addresses.next_address()).collect();
        assert!(seen.len() >= 9, "{seen:?}");
        assert!(seen.iter().all(|address| address.is_loopback() && address.octets()[1] != 0));
    }
}
