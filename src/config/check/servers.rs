//! Servers, and where others are found.
//!
//! Purpose: the entries of `servers` become [`Server`]s and [`Source`]s, and the
//! table `discover` a [`Discover`]. What a file lists becomes servers in the
//! same way.
//!
//! Invariant: an upstream has a server or a source, and no address twice: the
//! second would get a double share, and a drain of that server would miss half.
//!
//! Deliberately absent: asking. A host name in `address` has the address that
//! it had at load; a source has none yet.

use super::super::file::{self, ServerTable};
use super::super::model::{Discover, Family, Place, Server, ServerAddress, Source};
use super::super::read::{At, OneOf, Time, value_or};
use super::super::report::{Fault, Problem, Reported, Span, quote};
use super::{Check, address, all};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a share may be: enough to tell machines apart, and few enough for a
/// ring of hashes to be small.
const MOST_WEIGHT: u64 = 100;

/// The port of a resolver (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;

/// What an entry of `servers` is.
enum Entry {
    Server(Server, Span),
    Source(Source, Span),
}

/// The one key that says what an entry is.
enum Kind {
    Address(At<String>),
    Dns(At<String>),
    Srv(At<String>),
    File(At<String>),
}

impl Check<'_> {
    pub(super) fn servers(
        &self,
        written: At<Vec<At<file::Server>>>,
    ) -> Result<(Vec<Server>, Vec<Source>), Reported> {
        let entries = written.value?;
        if entries.is_empty() {
            let problem = Problem::at(&written.span, "`servers` is empty")
                .label("nothing to send requests to");
            return self
                .refuse(problem.help("write at least one, e.g. `servers = [\"10.0.0.11:8080\"]`"));
        }
        let mut known: HashMap<ServerAddress, Span> = HashMap::new();
        let mut places: Vec<(String, Span)> = Vec::new();
        let entries = all(entries, |entry| {
            let entry = self.entry(entry)?;
            match &entry {
                Entry::Server(server, span) => self.only_once(server, span, &mut known)?,
                Entry::Source(source, span) => {
                    let name = source.place.to_string();
                    if let Some((_, first)) = places.iter().find(|(known, _)| *known == name) {
                        let message = format!("{name} is in this upstream twice");
                        let problem = Problem::at(span, message).also(first, "first written here");
                        return self.refuse(problem.help("delete one of them"));
                    }
                    places.push((name, span.clone()));
                }
            }
            Ok(entry)
        })?;
        let (mut servers, mut sources) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Server(server, _) => servers.push(server),
                Entry::Source(source, _) => sources.push(source),
            }
        }
        Ok((servers, sources))
    }

    /// The servers that a file lists.
    pub(super) fn listed(
        &self,
        entries: Vec<At<file::Server>>,
        zone: Option<&Arc<str>>,
    ) -> Result<Vec<Server>, Reported> {
        let mut known: HashMap<ServerAddress, Span> = HashMap::new();
        all(entries, |entry| match self.entry(entry)? {
            Entry::Server(server, span) => {
                self.only_once(&server, &span, &mut known)?;
                Ok(Server {
                    zone: server.zone.or_else(|| zone.cloned()),
                    ..server
                })
            }
            Entry::Source(_, span) => {
                let problem = Problem::at(&span, "a file lists addresses");
                self.refuse(problem.help("write this entry into the config's `servers`"))
            }
        })
    }

    fn only_once(
        &self,
        server: &Server,
        span: &Span,
        known: &mut HashMap<ServerAddress, Span>,
    ) -> Result<(), Reported> {
        let Some(first) = known.insert(server.address.clone(), span.clone()) else {
            return Ok(());
        };
        let message = format!("{} is in this upstream twice", server.address);
        let problem = Problem::at(span, message).also(&first, "first written here");
        self.refuse(problem.help("delete one of them"))
    }

    fn entry(&self, entry: At<file::Server>) -> Result<Entry, Reported> {
        let At { span, value } = entry;
        let table = match value? {
            file::Server::Plain(address) => ServerTable {
                address: Some(At {
                    span: span.clone(),
                    value: Ok(address),
                }),
                ..ServerTable::default()
            },
            file::Server::Table(table) => *table,
        };
        self.table(table, span)
    }

    fn table(&self, table: ServerTable, span: Span) -> Result<Entry, Reported> {
        let ServerTable {
            address,
            dns,
            srv,
            file,
            port,
            family,
            weight,
            zone,
        } = table;
        let kinds = [
            address.map(Kind::Address),
            dns.map(Kind::Dns),
            srv.map(Kind::Srv),
            file.map(Kind::File),
        ];
        let kind = self.only_kind(&span, kinds)?;
        let by_name = matches!(kind, Kind::Dns(_) | Kind::Srv(_));
        let weighed = matches!(kind, Kind::Address(_) | Kind::Dns(_));
        let fits = [
            self.goes_with(port.as_ref(), "port", "`dns`", matches!(kind, Kind::Dns(_))),
            self.goes_with(family.as_ref(), "family", "`dns` and `srv`", by_name),
            self.goes_with(weight.as_ref(), "weight", "`address` and `dns`", weighed),
        ];
        let zone = zone.map(|zone| self.zone(&zone)).transpose();
        let weight = self.number("weight", weight, (1, MOST_WEIGHT), 1);
        let family = value_or(family, OneOf(Family::default())).map(|family| family.0);
        let place = match kind {
            Kind::Address(key) => {
                let server = self.parse(&key, |text| self.server(text));
                let (weight, zone) = (weight?, zone?);
                fits.into_iter().collect::<Result<(), _>>()?;
                let server = Server {
                    weight,
                    zone,
                    ..server?
                };
                return Ok(Entry::Server(server, key.span));
            }
            Kind::Dns(key) => {
                let port = self.port(port, &key.span);
                let name = self.parse(&key, |text| name_in_dns(text, "dns"));
                let (port, name) = (port?, name?);
                let (family, weight) = (family?, weight?);
                Place::Dns {
                    name,
                    port,
                    family,
                    weight,
                }
            }
            Kind::Srv(key) => Place::Srv {
                name: self.parse(&key, |text| name_in_dns(text, "srv"))?,
                family: family?,
            },
            Kind::File(key) => Place::File(self.parse(&key, |text| {
                if text.is_empty() || text.ends_with('/') {
                    let what = format!("{} is not the path of a file", quote(text));
                    let help = "name a file, e.g. `{ file = \"servers.txt\" }`";
                    return Err(Fault::new(what, help));
                }
                Ok(self.path(text))
            })?),
        };
        let zone = zone?;
        fits.into_iter().collect::<Result<(), _>>()?;
        Ok(Entry::Source(Source { place, zone }, span))
    }

    fn only_kind(&self, span: &Span, kinds: [Option<Kind>; 4]) -> Result<Kind, Reported> {
        let keys = "`address`, `dns`, `srv` and `file`";
        let mut written = kinds.into_iter().flatten();
        let (first, second) = (written.next(), written.next());
        let what = match (first, second) {
            (Some(kind), None) => return Ok(kind),
            (None, _) => format!("a server needs one of {keys}"),
            (Some(_), Some(_)) => format!("a server can have only one of {keys}"),
        };
        self.refuse(Problem::at(span, what).help(
            "write the one that is meant, e.g. `{ address = \"10.0.0.11:8080\" }` or \
             `{ dns = \"site.internal\", port = 8080 }`",
        ))
    }

    /// Refuses a key that means nothing where it stands.
    fn goes_with<T>(
        &self,
        key: Option<&At<T>>,
        name: &str,
        with: &str,
        does: bool,
    ) -> Result<(), Reported> {
        match key.filter(|_| !does) {
            None => Ok(()),
            Some(key) => {
                let problem = Problem::at(&key.span, format!("`{name}` goes with {with} only"));
                self.refuse(problem.help(format!("delete `{name}`")))
            }
        }
    }

    fn port(&self, port: Option<At<u64>>, dns: &Span) -> Result<u16, Reported> {
        if port.is_none() {
            let problem = Problem::at(dns, "`dns` needs `port`");
            return self.refuse(problem.help(
                "an address in DNS has no port: add it, e.g. `port = 8080`; with `srv` the \
                 records say it",
            ));
        }
        self.number("port", port, (1, u64::from(u16::MAX)), 0)
    }

    /// The name of a zone.
    pub(super) fn zone(&self, key: &At<String>) -> Result<Arc<str>, Reported> {
        self.name("a zone", key).map(Arc::from)
    }

    fn server(&self, text: &str) -> Result<Server, Fault> {
        let address = match address::server(text)? {
            address::Written::Inet(address) => ServerAddress::Inet(address),
            address::Written::Unix(path) => {
                ServerAddress::Unix(address::unix_fits(self.base.join(path))?)
            }
            address::Written::Host(host, port) => ServerAddress::Inet(self.look_up(&host, port)?),
        };
        Ok(Server {
            name: Arc::from(text),
            address,
            weight: 1,
            zone: None,
            found_by: None,
        })
    }

    /// The address of a host: its first IPv4 one if there is one, since
    /// `localhost` and many internal names list an IPv6 address that nothing
    /// listens on.
    fn look_up(&self, host: &str, port: u16) -> Result<SocketAddr, Fault> {
        let what = format!("{} has no address", quote(host));
        let help = "a host name is resolved once, when the file is loaded: mend the name or write an IP address";
        let found = (self.resolve)(host, port);
        let found = found.map_err(|error| Fault::new(format!("{what}: {error}"), help))?;
        let ipv4 = found.iter().find(|address| address.is_ipv4());
        ipv4.or(found.first())
            .copied()
            .ok_or_else(|| Fault::new(what, help))
    }

    pub(super) fn discover(
        &self,
        written: Option<At<file::Discover>>,
        servers: Result<&[Source], Reported>,
    ) -> Result<Discover, Reported> {
        if let (Some(written), Ok([])) = (&written, servers) {
            let what = "`discover` says how servers are found, and none are looked for";
            let problem = Problem::at(&written.span, what);
            return self.refuse(
                problem.help(
                    "delete it, or write an entry with `dns`, `srv` or `file` into `servers`",
                ),
            );
        }
        let written = value_or(written, file::Discover::default())?;
        let usual = Discover::default();
        let resolvers = written
            .resolvers
            .map_or_else(|| Ok(Vec::new()), |listed| self.resolvers(listed));
        let longest_at = written.longest.as_ref().map(|key| key.span.clone());
        let least_at = written.least.as_ref().map(|key| key.span.clone());
        let least = self.time("least", written.least, usual.least);
        let longest = self.time("longest", written.longest, usual.longest);
        let timeout = self.time("timeout", written.timeout, usual.timeout);
        let retry = self.time("retry", written.retry, usual.retry);
        let hold = value_or(written.hold, Time(usual.hold));
        let empty = value_or(written.empty, Time(usual.empty));
        let every = self.time("every", written.every, usual.every);
        let (least, longest) = (least?, longest?);
        if least > longest
            && let Some(span) = least_at.or(longest_at)
        {
            let problem = Problem::at(&span, "`least` is longer than `longest`");
            return self.refuse(problem.help(format!(
                "they bound a time to live; without being written they are {} and {}",
                shown(usual.least),
                shown(usual.longest)
            )));
        }
        Ok(Discover {
            resolvers: resolvers?,
            least,
            longest,
            timeout: timeout?,
            retry: retry?,
            hold: hold?.0,
            empty: empty?.0,
            every: every?,
        })
    }

    fn resolvers(&self, listed: At<Vec<At<String>>>) -> Result<Vec<SocketAddr>, Reported> {
        let keys = listed.value?;
        if keys.is_empty() {
            let problem = Problem::at(&listed.span, "`resolvers` is empty");
            return self.refuse(problem.help("delete it to ask those of the system"));
        }
        all(keys, |key| self.parse(&key, resolver))
    }
}

fn shown(time: Duration) -> String {
    format!("`\"{}\"`", super::super::units::show(time))
}

/// A name to ask for, in lower case.
fn name_in_dns(text: &str, key: &str) -> Result<Arc<str>, Fault> {
    let wrong = |help: String| {
        Fault::new(
            format!("{} is not a name to ask DNS for", quote(text)),
            help,
        )
    };
    if address::host_name(text) {
        return Ok(Arc::from(text.to_ascii_lowercase()));
    }
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return Err(wrong(
            "an address needs no asking: write it as a server of its own".into(),
        ));
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
        && address::host_name(name)
    {
        return Err(wrong(match key {
            "dns" => format!("write `dns = \"{name}\", port = {port}`"),
            _ => format!("the records say the port: write `srv = \"{name}\"`"),
        }));
    }
    Err(wrong(format!(
        "write a host name, e.g. `{key} = \"{}\"`",
        match key {
            "dns" => "orders.default.svc.cluster.local.",
            _ => "_grpc._tcp.orders.default.svc.cluster.local.",
        }
    )))
}

fn resolver(text: &str) -> Result<SocketAddr, Fault> {
    let address = text.parse::<IpAddr>().map(|ip| (ip, DNS_PORT).into());
    let address = address.or_else(|_| text.parse::<SocketAddr>());
    let usable = address.ok().filter(|one| one.port() > 0);
    usable.ok_or_else(|| {
        let what = format!("{} is not the address of a resolver", quote(text));
        Fault::new(what, "write an IP address, with a port if it is not 53")
    })
}
