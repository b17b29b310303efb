//! Asking DNS for servers.
//!
//! Purpose: a question about a name becomes an [`Answer`], by hickory's resolver.
//!
//! Invariant: an outage is never taken for an absence. A name that is not fully
//! qualified may stand for several, by the search domains of the system; they are
//! tried in the order of resolv.conf(5), and the first of which nobody can say
//! anything ends the search: behind it another name could answer in its place, or
//! none, and neither would be true. The same holds for the targets of SRV records.
//!
//! The system's `resolv.conf` and hosts file are looked at for each question, as
//! both change under a running process. The resolver is built anew only if they
//! have, since it learns which server is quick. It keeps no answers: when to ask
//! is for `findings` to say.
//!
//! Deliberately absent: DNSSEC and encrypted DNS. Whom a process asks is what its
//! system trusts.

use super::findings::Answer;
use super::said::{Said, Target, answer_of_addresses, answer_of_targets, group_of};
use crate::config::{Discover, Family, Place, Source};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::iter;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long what stands in the hosts file holds.
const HOSTS_TTL: Duration = Duration::from_secs(30);

/// Targets of SRV records that are asked for at a time.
const AT_ONCE: usize = 8;

/// Asks for one source.
pub(super) struct Asker {
    source: Source,
    settings: Discover,
    ways: Option<Ways>,
}

/// Whom to ask.
struct Ways {
    /// The system's `resolv.conf`, if it is that which says so.
    text: Vec<u8>,
    resolver: TokioResolver,
    search: Vec<Name>,
    ndots: usize,
}

impl Asker {
    pub(super) const fn new(source: Source, settings: Discover) -> Self {
        Self {
            source,
            settings,
            ways: None,
        }
    }

    /// Ask once. Takes some times `timeout` at most.
    pub(super) async fn ask(&mut self) -> Answer {
        let hosts = match self.find_ways().await {
            Ok(hosts) => hosts,
            Err(why) => return Answer::Outage { why: why.into() },
        };
        let Some(ways) = &self.ways else {
            let why = "there is no resolver".into();
            return Answer::Outage { why };
        };
        let round = Round {
            ways,
            hosts,
            patience: self.settings.timeout,
        };
        match &self.source.place {
            Place::Dns {
                name,
                port,
                family,
                weight,
            } => {
                let said = round.addresses(name, *family).await;
                let target = Target {
                    port: *port,
                    weight: *weight,
                };
                answer_of_addresses(said, target, &self.source)
            }
            Place::Srv { name, family } => round.targets(name, *family, &self.source).await,
            Place::File(path) => {
                let why = format!("{} is no name", path.display()).into();
                Answer::Outage { why }
            }
        }
    }

    /// Have a resolver; what the hosts file says comes with it.
    async fn find_ways(&mut self) -> Result<Hosts, String> {
        if !self.settings.resolvers.is_empty() {
            if self.ways.is_none() {
                self.ways = Some(of_config(&self.settings)?);
            }
            return Ok(Hosts::default());
        }
        let read = || (fs::read("/etc/resolv.conf"), Hosts::from_system());
        let read = tokio::task::spawn_blocking(read).await;
        let (text, hosts) = read.map_err(|error| error.to_string())?;
        let text = with_server(text.unwrap_or_default());
        if self.ways.as_ref().is_none_or(|ways| ways.text != text) {
            self.ways = Some(of_system(text, self.settings.timeout)?);
        }
        Ok(hosts.unwrap_or_default())
    }
}

/// The text of a `resolv.conf`, with this machine's own server if it has none, as
/// resolv.conf(5) says; also if there is no such file.
fn with_server(mut text: Vec<u8>) -> Vec<u8> {
    let lines = text.split(|byte| *byte == b'\n');
    let mut words = lines.filter_map(|line| line.split(u8::is_ascii_whitespace).next());
    if !words.any(|word| word == b"nameserver") {
        text.extend_from_slice(b"\nnameserver 127.0.0.1\n");
    }
    text
}

fn of_config(settings: &Discover) -> Result<Ways, String> {
    let servers = settings.resolvers.iter().map(|address: &SocketAddr| {
        let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
            let mut connection = ConnectionConfig::new(protocol);
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.to_vec())
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    Ok(Ways {
        text: Vec::new(),
        resolver: built(config, ResolverOpts::default(), settings.timeout)?,
        search: Vec::new(),
        ndots: 0,
    })
}

fn of_system(text: Vec<u8>, patience: Duration) -> Result<Ways, String> {
    let wrong = |error: NetError| format!("/etc/resolv.conf: {error}");
    let (config, options) = parse_resolv_conf(&text).map_err(wrong)?;
    let search = config.search().to_vec();
    let ndots = options.ndots;
    Ok(Ways {
        text,
        resolver: built(config, options, patience)?,
        search,
        ndots,
    })
}

fn built(
    config: ResolverConfig,
    mut options: ResolverOpts,
    patience: Duration,
) -> Result<TokioResolver, String> {
    // Two tries fit into the time that is given.
    options.timeout = patience / 2;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let resolver = builder.with_options(options).build();
    resolver.map_err(|error| error.to_string())
}

/// One question with all that belongs to it.
struct Round<'a> {
    ways: &'a Ways,
    hosts: Hosts,
    patience: Duration,
}

impl Round<'_> {
    /// The addresses of a name, each kind with what was said of it.
    async fn addresses(&self, name: &str, family: Family) -> Vec<(Arc<str>, Said<IpAddr>)> {
        let kinds = kinds(family);
        let in_hosts = |name: &Name| {
            let told = kinds.iter().map(|(label, kind)| {
                let query = Query::query(name.clone(), *kind);
                let found = self.hosts.lookup_static_host(&query);
                (Arc::from(*label), found.map(|lookup| addresses(&lookup)))
            });
            let told: Vec<(Arc<str>, _)> = told.collect();
            let any = told.iter().any(|(_, found)| found.is_some());
            let said = told.into_iter().map(|(label, found)| {
                let none = || Said::none("the hosts file has no such address");
                let found = found.filter(|found| !found.is_empty());
                let said = found.map_or_else(none, |found| Said::Found(found, HOSTS_TTL));
                (label, said)
            });
            any.then(|| said.collect())
        };
        let plain = match plain(name) {
            Ok(plain) => plain,
            Err(why) => return vec![("".into(), Said::Outage(why.into()))],
        };
        if let Some(said) = in_hosts(&plain) {
            return said;
        }
        let mut last = Vec::new();
        for name in candidates(&plain, &self.ways.search, self.ways.ndots) {
            let asked = kinds.iter().map(|(label, kind)| async {
                let said = self.look_up(&name, *kind, addresses).await;
                (Arc::from(*label), said)
            });
            last = join_all(asked).await;
            let absent = |said: &Said<IpAddr>| matches!(said, Said::Nothing(..));
            if !last.iter().all(|(_, said)| absent(said)) {
                break;
            }
        }
        last
    }

    async fn targets(&self, name: &str, family: Family, source: &Source) -> Answer {
        let plain = match plain(name) {
            Ok(plain) => plain,
            Err(why) => return Answer::Outage { why: why.into() },
        };
        let mut said = Said::none("the name does not exist");
        for name in candidates(&plain, &self.ways.search, self.ways.ndots) {
            said = self.look_up(&name, RecordType::SRV, records).await;
            if !matches!(said, Said::Nothing(..)) {
                break;
            }
        }
        let (mut records, ttl) = match said {
            Said::Found(records, ttl) => (records, ttl),
            Said::Nothing(why, ttl) => return Answer::Nothing { why, ttl },
            Said::Outage(why) => return Answer::Outage { why },
        };
        let mut answer = Answer::Nothing {
            why: "its targets have no addresses".into(),
            ttl: Some(ttl),
        };
        while let Some(group) = group_of(&mut records) {
            let asked = iter(group).map(|(target, name)| async move {
                (name.clone(), target, self.addresses(&name, family).await)
            });
            let told: Vec<_> = asked.buffered(AT_ONCE).collect().await;
            answer = answer_of_targets(told, ttl, source);
            // Who is next in line serves only if the first ones are not there.
            if !matches!(answer, Answer::Nothing { .. }) {
                break;
            }
        }
        answer
    }

    async fn look_up<T>(
        &self,
        name: &Name,
        kind: RecordType,
        read: impl Fn(&Lookup) -> Vec<T>,
    ) -> Said<T> {
        let asked = self.ways.resolver.lookup(name.clone(), kind);
        match timeout(self.patience, asked).await {
            Ok(Ok(lookup)) => {
                let found = read(&lookup);
                let ttl = lookup.answers().iter().map(|record| record.ttl).min();
                let ttl = Duration::from_secs(ttl.unwrap_or_default().into());
                if found.is_empty() {
                    return Said::Nothing("there is no usable record".into(), Some(ttl));
                }
                Said::Found(found, ttl)
            }
            Ok(Err(error)) => absence(&error).unwrap_or_else(|| Said::Outage(in_words(&error))),
            Err(_) => Said::Outage(format!("no answer in {:?}", self.patience).into()),
        }
    }
}

fn kinds(family: Family) -> &'static [(&'static str, RecordType)] {
    const BOTH: [(&str, RecordType); 2] = [("A", RecordType::A), ("AAAA", RecordType::AAAA)];
    match family {
        Family::Any => &BOTH,
        Family::Ipv4 => &BOTH[..1],
        Family::Ipv6 => &BOTH[1..],
    }
}

/// Certainty that there is no record, if an error is that.
fn absence<T>(error: &NetError) -> Option<Said<T>> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return None;
    };
    let why = match none.response_code {
        ResponseCode::NXDomain => "the name does not exist",
        ResponseCode::NoError => "the name has no such record",
        _ => return None,
    };
    let ttl = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
    Some(Said::Nothing(why.into(), ttl))
}

fn in_words(error: &NetError) -> Arc<str> {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the resolver says {code}").into(),
        other => other.to_string().into(),
    }
}

fn plain(name: &str) -> Result<Name, String> {
    Name::from_utf8(name).map_err(|error| format!("{name}: {error}"))
}

/// What a name may stand for, fully qualified, in the order in which it is tried.
/// One with enough dots is tried as it is first, another one last.
fn candidates(plain: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut alone = plain.clone();
    alone.set_fqdn(true);
    if plain.is_fqdn() {
        return vec![alone];
    }
    let searched = search.iter().filter_map(|domain| {
        let mut whole = plain.clone().append_domain(domain).ok()?;
        whole.set_fqdn(true);
        Some(whole)
    });
    let mut names: Vec<_> = searched.collect();
    let dots = usize::from(plain.num_labels()).saturating_sub(1);
    let at = if dots >= ndots { 0 } else { names.len() };
    names.insert(at, alone);
    names
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    let all = lookup.answers().iter();
    let all = all.filter_map(|record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    // Nothing can be sent to these, though some would lead to this machine.
    all.filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
        .collect()
}

fn records(lookup: &Lookup) -> Vec<(u16, Target, Arc<str>)> {
    let all = lookup.answers().iter();
    let all = all.filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(srv),
        _ => None,
    });
    // A target that is the root says that there is no such service (RFC 2782).
    let real = all.filter(|srv| srv.port > 0 && !srv.target.is_root());
    real.map(|srv| {
        let mut name = srv.target.to_lowercase();
        name.set_fqdn(true);
        let target = Target {
            port: srv.port,
            weight: srv.weight.into(),
        };
        (srv.priority, target, Arc::from(name.to_utf8()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, search: &[&str], ndots: usize) -> Vec<String> {
        let search: Vec<_> = search
            .iter()
            .map(|domain| Name::from_utf8(domain).expect("a name"))
            .collect();
        let names = candidates(&plain(name).expect("a name"), &search, ndots);
        names.iter().map(Name::to_utf8).collect()
    }

    #[test]
    fn who_has_no_server_asks_this_machine() {
        let own = "\nnameserver 127.0.0.1\n";
        for (text, added) in [
            ("", true),
            ("search a.b\n# nameserver 10.0.0.1\n", true),
            ("search a.b\nnameserver\t10.0.0.1", false),
        ] {
            let whole = with_server(text.into());
            assert_eq!(whole.ends_with(own.as_bytes()), added, "{text}");
            assert!(of_system(whole, Duration::from_secs(1)).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_is_searched_for_as_the_system_does() {
        let search = ["default.svc.cluster.local", "cluster.local."];
        let found = tried("orders", &search, 5);
        let expected = [
            "orders.default.svc.cluster.local.",
            "orders.cluster.local.",
            "orders.",
        ];
        assert_eq!(found, expected);
        let found = tried("orders.internal", &search, 1);
        assert_eq!(found[0], "orders.internal.");
        assert_eq!(found.len(), 3);
        assert_eq!(tried("orders.internal.", &search, 5), ["orders.internal."]);
        assert_eq!(tried("orders", &[], 5), ["orders."]);
    }
}
