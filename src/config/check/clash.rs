//! Addresses that two sockets cannot both have.
//!
//! Purpose: find listeners, the admin API among them, that would bind the
//! same address, or one of which would take what is meant for the other.
//!
//! Invariant: each listener is reported at most once, against the first that
//! it clashes with.
//!
//! Deliberately absent: binding. With `SO_REUSEPORT` the kernel would let
//! two listeners of one process share an address and spread connections over
//! them at random, so only this check stands in the way.

use super::super::file::{Admin, Listener};
use super::super::read::{At, Named};
use super::super::report::{Problem, Span};
use super::{Check, address, admin};
use std::net::{IpAddr, SocketAddr};

/// An address that is taken, and by what.
struct Taken {
    address: SocketAddr,
    what: String,
    /// Where that is written; the default of the admin API is not.
    span: Option<Span>,
}

impl Check<'_> {
    /// Reports every listener whose address an earlier one, or the admin
    /// API, takes already.
    pub(super) fn clashes(
        &self,
        admin: Option<&At<Admin>>,
        listeners: Option<&At<Named<Listener>>>,
    ) {
        let mut taken = Vec::new();
        taken.extend(admin_address(admin));
        let listeners = listeners.and_then(|listeners| listeners.get().ok());
        for (name, listener) in listeners.map_or(&[][..], |listeners| &listeners.0) {
            let Ok(listener) = listener.get() else {
                continue;
            };
            let listen = &listener.listen;
            let Some(address) = listen
                .get()
                .ok()
                .and_then(|text| address::listen(text).ok())
            else {
                continue;
            };
            if let Some(first) = taken.iter().find(|taken| overlap(taken.address, address)) {
                self.problems.push(clash(&listen.span, address, first));
                continue;
            }
            let name = name.value.as_deref().unwrap_or_default();
            taken.push(Taken {
                address,
                what: format!("listener `{name}`"),
                span: Some(listen.span.clone()),
            });
        }
    }
}

fn admin_address(admin: Option<&At<Admin>>) -> Option<Taken> {
    let written = admin.and_then(|admin| admin.get().ok()?.listen.as_ref());
    Some(Taken {
        address: match written {
            Some(listen) => address::listen(listen.get().ok()?).ok()?,
            None => admin::ADMIN,
        },
        what: "the admin API".into(),
        span: written.map(|listen| listen.span.clone()),
    })
}

fn clash(span: &Span, address: SocketAddr, first: &Taken) -> Problem {
    let message = format!(
        "{address} clashes with {}, which has {}",
        first.what, first.address
    );
    let problem = Problem::at(span, message);
    let problem = match &first.span {
        Some(at) => problem.also(at, "taken here"),
        None => problem.label("the admin API listens here unless told otherwise"),
    };
    let wildcard = [address, first.address]
        .into_iter()
        .find(|taken| taken.ip().is_unspecified());
    problem.help(match wildcard {
        Some(all) if address.ip() != first.address.ip() => {
            let ipv4 = if all.is_ipv6() { ", IPv4 ones too" } else { "" };
            format!("{} takes every address of the machine{ipv4}; choose another port, or name the address", all.ip())
        }
        _ => "choose another port or address for one of them".into(),
    })
}

/// Whether two sockets cannot both have their address. Port 0 is a different
/// port for each; `[::]` takes IPv4 as well (`IPV6_V6ONLY` of ipv6(7) being off).
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (x, y) = (a.ip().to_canonical(), b.ip().to_canonical());
    let covers =
        |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (x == y || covers(x, y) || covers(y, x))
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn overlap_knows_wildcards_and_families() {
        let cases = [
            ("1.2.3.4:80", "1.2.3.4:80", true),
            ("1.2.3.4:80", "1.2.3.4:81", false),
            ("1.2.3.4:80", "1.2.3.5:80", false),
            ("0.0.0.0:80", "1.2.3.4:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "1.2.3.4:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4:80", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ];
        for (a, b, clash) in cases {
            let (a, b) = (a.parse().expect(a), b.parse().expect(b));
            assert_eq!(overlap(a, b), clash, "{a} {b}");
            assert_eq!(overlap(b, a), clash, "{b} {a}");
        }
    }
}
