//! What a process has found, told to the one that takes over.
//!
//! Purpose: a handover in an outage of the resolver keeps the last good servers,
//! as everything else does.
//!
//! Invariant: what is told fits into one message; what does not is asked for.
//!
//! Deliberately absent: trust. The first answer to the successor's own question
//! counts.

use super::findings::Part;
use crate::config::{Server, ServerAddress, Source};
use crate::control::SourceStatus;
use crate::process::handover::Found;
use std::path::PathBuf;
use std::sync::Arc;

/// So many bytes of a message are for servers.
const ROOM: usize = 32 * 1024;

/// What these sources have, as far as it fits.
pub(super) fn told<'s>(
    sources: impl Iterator<Item = (&'s SourceStatus, Vec<(Part, Server)>)>,
) -> Vec<Found> {
    let mut room = ROOM;
    let mut told = Vec::new();
    for (status, servers) in sources {
        let servers = servers.into_iter().map(|(part, server)| {
            let zone = server.zone.as_deref().map(str::to_owned);
            let address = server.address.to_string();
            (address, server.weight, zone, part.to_string())
        });
        let found = Found {
            upstream: status.upstream.to_string(),
            source: status.source.to_string(),
            servers: servers.collect(),
        };
        let size = serde_json::to_vec(&found).map_or(usize::MAX, |text| text.len());
        if let Some(left) = room.checked_sub(size) {
            room = left;
            told.push(found);
        }
    }
    told
}

/// What a predecessor had from this source of an upstream.
pub(super) fn of(all: &[Found], upstream: &str, source: &Source) -> Option<Vec<(Part, Server)>> {
    let name = source.place.to_string();
    let mut all = all.iter();
    let found = all.find(|one| one.upstream == upstream && one.source == name)?;
    let name: Arc<str> = name.into();
    let servers = found
        .servers
        .iter()
        .filter_map(|(address, weight, zone, part)| {
            let place = match address.strip_prefix("unix:") {
                Some(path) => ServerAddress::Unix(PathBuf::from(path)),
                None => ServerAddress::Inet(address.parse().ok()?),
            };
            let server = Server {
                name: address.as_str().into(),
                address: place,
                weight: (*weight).max(1),
                zone: zone.as_deref().map(Arc::from),
                found_by: Some(Arc::clone(&name)),
            };
            Some((Part::from(part.as_str()), server))
        });
    Some(servers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn source() -> Source {
        Source {
            place: Place::File("servers.txt".into()),
            zone: None,
        }
    }

    fn servers(count: u16) -> Vec<(Part, Server)> {
        let server = |port: u16| Server {
            name: format!("10.0.0.1:{port}").into(),
            address: ServerAddress::Inet(([10, 0, 0, 1], port).into()),
            weight: 3,
            zone: Some("a".into()),
            found_by: Some("file:servers.txt".into()),
        };
        let all = (1..=count).map(|port| ("A".into(), server(port)));
        all.collect()
    }

    fn status(upstream: &str) -> SourceStatus {
        SourceStatus::new(upstream.into(), "file:servers.txt".into())
    }

    #[test]
    fn what_is_told_is_what_was_known() {
        let status = status("site");
        let told = told([(&status, servers(2))].into_iter());
        let text = serde_json::to_string(&told).expect("JSON");
        let heard: Vec<Found> = serde_json::from_str(&text).expect("the same");
        assert_eq!(of(&heard, "site", &source()), Some(servers(2)));
        assert_eq!(of(&heard, "other", &source()), None);
    }

    #[test]
    fn what_does_not_fit_is_left_out_as_a_whole() {
        let (large, small) = (status("large"), status("small"));
        let told = told([(&large, servers(5_000)), (&small, servers(5))].into_iter());
        let names: Vec<_> = told.iter().map(|one| &*one.upstream).collect();
        assert_eq!(names, ["small"]);
    }
}
