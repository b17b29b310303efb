//! Many processes by one word: `dns:NAME:PORT`, `file:PATH`, `ADDR,ADDR`.
//!
//! Invariant: what was read says where to look; who is there is found out when
//! the command begins, and once only: a fleet does not change under a walk.
//!
//! Deliberately absent: looking, which `fleet` does.

use super::Address;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the admin interfaces of a fleet are.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(in crate::cli) enum Fleet {
    /// Every address of this name; over TLS, each proves this name.
    Dns {
        /// `NAME:PORT`.
        host: String,
        /// Whether TLS is spoken there.
        secure: bool,
    },
    /// One address in each line of a file.
    File(PathBuf),
    /// These.
    These(Vec<Address>),
}

impl FromStr for Fleet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:") {
            return match path {
                "" => Err("file: needs a path, as in file:/etc/ebbtide/fleet".to_owned()),
                path => Ok(Self::File(path.into())),
            };
        }
        if let Some(name) = text.strip_prefix("dns:") {
            return match name.parse() {
                Ok(Address::Host(host)) => Ok(Self::Dns {
                    host,
                    secure: false,
                }),
                Ok(Address::Secure(host)) => Ok(Self::Dns { host, secure: true }),
                _ => Err("dns: needs NAME:PORT, as in dns:proxies.internal:9900".to_owned()),
            };
        }
        let these = text.split(',').map(|one| {
            let address = one.trim().parse::<Address>();
            address.map_err(|why| format!("{one:?}: {why}"))
        });
        these.collect::<Result<_, _>>().map(Self::These)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleets_are_understood() {
        let dns = |secure| Fleet::Dns {
            host: "proxies.internal:9900".to_owned(),
            secure,
        };
        let host = |text: &str| Address::Host(text.to_owned());
        for (text, fleet) in [
            ("dns:proxies.internal:9900", dns(false)),
            ("dns:https://proxies.internal:9900", dns(true)),
            ("file:fleet.txt", Fleet::File("fleet.txt".into())),
            ("a:1", Fleet::These(vec![host("a:1")])),
            (
                "a:1, unix:/run/e.sock",
                Fleet::These(vec![host("a:1"), Address::Unix("/run/e.sock".into())]),
            ),
        ] {
            assert_eq!(text.parse(), Ok(fleet), "{text}");
        }
        for text in [
            "",
            "dns:",
            "dns:name",
            "dns:unix:/run/e.sock",
            "file:",
            "a:1,",
            "a:1,b",
        ] {
            assert!(text.parse::<Fleet>().is_err(), "{text:?}");
        }
    }
}
