//! How evenly servers are chosen, and what a choice costs, beside pingora's own
//! selection.
//!
//! First a table of spread: of so many requests, how many more than the mean the
//! server has that was given most; and, with exchanges of random length under way,
//! how many more are in flight on the fullest server than on the mean. Then the
//! cost of a choice, by criterion: one worker, all servers healthy, none tried.
//!
//! `make bench-balance` runs it.
//!
//! Deliberately absent: contention. A worker chooses for itself here, and pingora's
//! counter, which its threads share, has one thread.

use criterion::{BenchmarkId, Criterion};
use ebbtide::config;
use ebbtide::drain::{Orders, Protocol};
use ebbtide::proxy::registry::{Registry, RequestGuard};
use ebbtide::proxy::upstream::{Pool, Upstream};
use fastrand::Rng;
use http::{HeaderMap, HeaderValue};
use pingora_load_balancing::discovery::Static;
use pingora_load_balancing::selection::{BackendIter, BackendSelection, Consistent, RoundRobin};
use pingora_load_balancing::{Backend, Backends, LoadBalancer};
use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::io::{Write as _, stdout};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How many servers there are.
const SIZES: [usize; 4] = [3, 10, 100, 1000];

/// Requests for each server, for the spread.
const EACH: usize = 1000;

/// Exchanges under way for each server, on average.
const UNDER_WAY: usize = 10;

/// How a server is chosen.
#[derive(Clone, Copy)]
struct Method {
    name: &'static str,
    balance: &'static str,
    /// The weights of servers, over and over.
    weights: &'static [usize],
    /// Whether requests have keys.
    keys: bool,
}

const METHODS: [Method; 4] = [
    Method {
        name: "round robin",
        balance: "\"round_robin\"",
        weights: &[1],
        keys: false,
    },
    Method {
        name: "round robin, weighted",
        balance: "\"round_robin\"",
        weights: &[1, 2, 3, 4],
        keys: false,
    },
    Method {
        name: "least in flight",
        balance: "\"least_in_flight\"",
        weights: &[1],
        keys: false,
    },
    Method {
        name: "hash",
        balance: "{ hash = \"header:x-key\" }",
        weights: &[1],
        keys: true,
    },
];

fn address(number: usize) -> SocketAddr {
    let low = u32::try_from(number).unwrap_or_default();
    (Ipv4Addr::from_bits(0x0a00_0000 + low), 80).into()
}

/// Whoever chooses a server for a request with this key.
trait Chooser {
    fn choose(&self, key: &[u8]) -> Option<usize>;
}

/// This project.
struct Ours {
    upstream: Arc<Upstream>,
    pool: Arc<Pool>,
    registry: Arc<Registry>,
    keys: bool,
}

impl Ours {
    fn new(method: &Method, servers: usize) -> Result<Self> {
        let written = (0..servers).map(|number| {
            let weight = method.weights[number % method.weights.len()];
            format!("{{ address = \"{}\", weight = {weight} }}", address(number))
        });
        let written: Vec<_> = written.collect();
        let text = format!(
            "[listener.web]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"site\" }}]\n\n\
             [upstream.site]\nservers = [{}]\nbalance = {}\n",
            written.join(", "),
            method.balance
        );
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ebbtide.toml");
        std::fs::write(&file, text)?;
        let config = config::load(&file).map_err(|report| format!("{report:?}"))?;
        let registry = Registry::new();
        let upstream = config.upstreams.first().ok_or("no upstream")?;
        let upstream = Upstream::new(upstream, &registry, None)?;
        Ok(Self {
            pool: upstream.pool(),
            upstream,
            registry,
            keys: method.keys,
        })
    }

    fn select(&self, fields: &HeaderMap) -> Option<usize> {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.pool.select(self.upstream.search(fields, client))
    }
}

impl Chooser for Ours {
    fn choose(&self, key: &[u8]) -> Option<usize> {
        let mut fields = HeaderMap::new();
        if self.keys {
            fields.insert("x-key", HeaderValue::from_bytes(key).ok()?);
        }
        self.select(&fields)
    }
}

/// pingora's selection of one kind.
struct Theirs<S: BackendSelection> {
    balancer: LoadBalancer<S>,
    numbers: HashMap<SocketAddr, usize>,
}

impl<S> Theirs<S>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    fn new(method: &Method, servers: usize) -> Result<Self> {
        let made = (0..servers).map(|number| {
            let weight = method.weights[number % method.weights.len()];
            Backend::new_with_weight(&address(number).to_string(), weight)
        });
        let made = made.collect::<std::result::Result<BTreeSet<_>, _>>()?;
        let balancer = LoadBalancer::from_backends(Backends::new(Static::new(made)));
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(balancer.update())?;
        Ok(Self {
            balancer,
            numbers: (0..servers)
                .map(|number| (address(number), number))
                .collect(),
        })
    }
}

impl<S> Chooser for Theirs<S>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    fn choose(&self, key: &[u8]) -> Option<usize> {
        let chosen = self.balancer.select(key, 256)?;
        self.numbers.get(&chosen.addr.as_inet().copied()?).copied()
    }
}

fn theirs(method: &Method, servers: usize) -> Result<Box<dyn Chooser>> {
    Ok(if method.keys {
        Box::new(Theirs::<Consistent>::new(method, servers)?)
    } else {
        Box::new(Theirs::<RoundRobin>::new(method, servers)?)
    })
}

/// The most that a server has for its weight, in means.
fn spread(counts: &[usize], method: &Method) -> f64 {
    let weight = |number: usize| method.weights[number % method.weights.len()];
    let all: usize = counts.iter().sum();
    let weights: usize = (0..counts.len()).map(weight).sum();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let part = |number: usize| {
        let mean = all as f64 * weight(number) as f64 / weights as f64;
        counts[number] as f64 / mean
    };
    (0..counts.len()).map(part).fold(0.0, f64::max)
}

/// How evenly requests are given out.
fn of_requests(chooser: &dyn Chooser, method: &Method, servers: usize) -> Result<f64> {
    let mut counts = vec![0; servers];
    for number in 0..servers * EACH {
        let chosen = chooser.choose(format!("key-{number}").as_bytes());
        counts[chosen.ok_or("no server")?] += 1;
    }
    Ok(spread(&counts, method))
}

/// How evenly exchanges are under way that take their time: whoever is drawn ends.
/// `board` puts an exchange on a server, for those who look at that.
fn of_exchanges<G>(
    chooser: &dyn Chooser,
    method: &Method,
    servers: usize,
    board: impl Fn(usize) -> G,
) -> Result<f64> {
    let mut rng = Rng::with_seed(1);
    let mut counts = vec![0; servers];
    let mut under_way = Vec::new();
    let (mut sum, mut looks) = (0.0, 0.0);
    let all = servers * UNDER_WAY;
    for number in 0..all * 20 {
        if under_way.len() == all {
            let (ended, _guard) = under_way.swap_remove(rng.usize(..all));
            counts[ended] -= 1;
        }
        let key = format!("key-{}", rng.u64(..));
        let chosen = chooser.choose(key.as_bytes()).ok_or("no server")?;
        counts[chosen] += 1;
        under_way.push((chosen, board(chosen)));
        if number > all * 4 && number % servers == 0 {
            sum += spread(&counts, method);
            looks += 1.0;
        }
    }
    Ok(sum / looks)
}

fn spreads() -> Result<()> {
    let mut out = stdout();
    writeln!(
        out,
        "| method | servers | requests, ours | pingora's | in flight, ours | pingora's |\n\
         |---|---|---|---|---|---|"
    )?;
    for method in &METHODS {
        for servers in SIZES {
            let (ours, theirs) = (Ours::new(method, servers)?, theirs(method, servers)?);
            let scope = ours.registry.scope("web".into(), Orders::default());
            let client = ours.registry.enter(&scope, address(0));
            let board = |server: usize| -> RequestGuard {
                let exchange = client.begin(Protocol::Http2);
                exchange.board(ours.pool.mooring(server));
                exchange
            };
            writeln!(
                out,
                "| {} | {servers} | {:.2} | {:.2} | {:.2} | {:.2} |",
                method.name,
                of_requests(&ours, method, servers)?,
                of_requests(&*theirs, method, servers)?,
                of_exchanges(&ours, method, servers, board)?,
                of_exchanges(&*theirs, method, servers, |_| ())?,
            )?;
        }
    }
    Ok(writeln!(out)?)
}

fn costs(criterion: &mut Criterion) -> Result<()> {
    for method in &METHODS {
        let mut group = criterion.benchmark_group(method.name);
        for servers in SIZES {
            let ours = Ours::new(method, servers)?;
            let all: Vec<_> = (0..1024)
                .map(|number| {
                    let mut fields = HeaderMap::new();
                    let key = HeaderValue::try_from(format!("key-{number}"));
                    fields.insert("x-key", key.unwrap_or(HeaderValue::from_static("key")));
                    fields
                })
                .collect();
            let mut next = all.iter().cycle();
            group.bench_function(BenchmarkId::new("ours", servers), |bench| {
                bench.iter(|| next.next().map(|fields| black_box(ours.select(fields))));
            });
            let theirs = theirs(method, servers)?;
            let keys: Vec<_> = (0..1024).map(|number| format!("key-{number}")).collect();
            let mut next = keys.iter().cycle();
            group.bench_function(BenchmarkId::new("pingora", servers), |bench| {
                bench.iter(|| {
                    next.next()
                        .map(|key| black_box(theirs.choose(key.as_bytes())))
                });
            });
        }
        group.finish();
    }
    Ok(())
}

fn main() -> Result<()> {
    spreads()?;
    let mut criterion = Criterion::default().configure_from_args();
    costs(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
