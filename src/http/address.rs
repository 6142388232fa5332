use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

/// Where a request comes from, as far as limits go: an IPv4 address, or the network of an IPv6 address, of which one
/// customer has all 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address(IpAddr);

impl Address {
    /// The peer's own address; behind proxies of the operator's, the one that the outermost of them saw: the entry in
    /// `X-Forwarded-For` that many from its end. What stands further left the client may have made up.
    pub(super) fn of(extensions: &Extensions, headers: &HeaderMap, proxies: usize) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0.ip());
        let Some(from_end) = proxies.checked_sub(1) else {
            return Self::network(peer);
        };
        let forwarded = headers.get_all("x-forwarded-for").iter();
        let forwarded: Vec<&[u8]> = forwarded
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .collect();
        let client = forwarded.iter().rev().nth(from_end);
        Self::network(client.and_then(|client| parse(client)).unwrap_or(peer))
    }

    /// The peer's own, whatever its requests say.
    pub(super) fn of_peer(peer: SocketAddr) -> Self {
        Self::network(peer.ip())
    }

    fn network(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }
}

/// An address, with a port or without, as proxies write it.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip());
    entry.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    reason = "addresses that are written here are addresses"
)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &[&str], proxies: usize) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        Address::of(&extensions, &headers, proxies).0.to_string()
    }

    #[test]
    fn only_the_operator_s_own_proxies_are_believed() {
        let forwarded = ["6.6.6.6, 1.1.1.1", "2.2.2.2"];
        assert_eq!(address("9.9.9.9", &forwarded, 0), "9.9.9.9");
        assert_eq!(address("9.9.9.9", &forwarded, 1), "2.2.2.2");
        assert_eq!(address("9.9.9.9", &forwarded, 2), "1.1.1.1");
        assert_eq!(
            address("9.9.9.9", &["6.6.6.6", "é, 1.1.1.1:80"], 1),
            "1.1.1.1"
        );
        assert_eq!(address("9.9.9.9", &["[2001:db8::1]:80"], 1), "2001:db8::");
        assert_eq!(address("9.9.9.9", &[], 1), "9.9.9.9");
        assert_eq!(address("9.9.9.9", &["rubbish"], 1), "9.9.9.9");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        assert_eq!(address("2001:db8:1:2:3:4:5:6", &[], 0), "2001:db8:1:2::");
        assert_eq!(address("::ffff:9.9.9.9", &[], 0), "9.9.9.9");
    }
}
