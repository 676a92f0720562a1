//! Where a client really is, if proxies stand before this server: what `X-Forwarded-For` says counts as far as those say it
//! who are trusted.

use std::net::{IpAddr, SocketAddr};

use axum::{extract::Request, http::HeaderMap, middleware::Next, response::Response};
use patio::RemoteAddr;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// A network, such as 10.0.0.0/8. An address is one with all its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Error: what is wrong.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be an address or a network such as 10.0.0.0/8, not `{text}`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits > all { Err(wrong()) } else { Ok(Self { address, bits }) }
    }

    fn has(self, address: IpAddr) -> bool {
        let bits_of = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        // The same address, however the system shows it.
        let ((own, own_len), (other, len)) =
            (bits_of(self.address.to_canonical()), bits_of(address.to_canonical()));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
        own_len == len && own & mask == other & mask
    }
}

/// Tells the server the address of the client behind trusted proxies.
pub(crate) async fn look_behind(trusted: &[Network], mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<RemoteAddr>().map(|RemoteAddr(peer)| *peer);
    if let Some(peer) = peer {
        let client = client_of(peer, request.headers(), trusted);
        request.extensions_mut().insert(RemoteAddr(client));
    }
    next.run(request).await
}

/// From the last hop on: the first that nobody trusts is the client. What it says of itself is not looked at.
fn client_of(peer: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> SocketAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
    let mut client = peer;
    let hops = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok());
    for hop in hops.flat_map(|value| value.rsplit(',')) {
        if !is_trusted(client.ip()) {
            break;
        }
        let hop = hop.trim();
        let address = hop.parse::<SocketAddr>();
        match address.or_else(|_| hop.trim_matches(['[', ']']).parse().map(|ip| SocketAddr::new(ip, 0))) {
            Ok(address) => client = address,
            // Nonsense: nothing before it can be believed.
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_addresses() {
        for (network, address, has) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("::1", "::1", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ] {
            assert_eq!(
                Network::new(network).unwrap().has(address.parse().unwrap()),
                has,
                "{network} {address}"
            );
        }
        for wrong in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(Network::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8", "127.0.0.1"].map(|network| Network::new(network).unwrap());
        for (peer, forwarded, client) in [
            ("127.0.0.1:5", &[][..], "127.0.0.1:5"),
            ("127.0.0.1:5", &["1.2.3.4"], "1.2.3.4:0"),
            ("127.0.0.1:5", &["6.6.6.6, 1.2.3.4, 10.0.0.7"], "1.2.3.4:0"),
            ("127.0.0.1:5", &["6.6.6.6", "1.2.3.4,10.0.0.7"], "1.2.3.4:0"),
            ("8.8.8.8:5", &["1.2.3.4"], "8.8.8.8:5"),
            ("127.0.0.1:5", &["1.2.3.4, nonsense, 10.0.0.7"], "10.0.0.7:0"),
            ("127.0.0.1:5", &["[2001:db8::1]:443"], "[2001:db8::1]:443"),
            ("127.0.0.1:5", &["2001:db8::1"], "[2001:db8::1]:0"),
        ] {
            let mut headers = HeaderMap::new();
            forwarded.iter().for_each(|value| _ = headers.append(FORWARDED_FOR, value.parse().unwrap()));
            assert_eq!(
                client_of(peer.parse().unwrap(), &headers, &trusted),
                client.parse().unwrap(),
                "{forwarded:?}"
            );
        }
    }
}
