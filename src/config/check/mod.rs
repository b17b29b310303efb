//! From the file as written to the model: what the values mean together.
//!
//! Purpose: everything that needs more than one value, the file system or
//! the resolver: names that must exist, addresses that clash, certificates
//! that must match, a plan that must fit.
//!
//! Invariant: every part is checked even when another part is wrong, so one
//! pass finds all problems; a part that could not be made returns
//! [`Reported`], so nothing is refused silently. Defaults live here and in
//! the `Default` of the model's types, nowhere else.
//!
//! Deliberately absent: drawing (see `report`) and reading (see `read`).

mod access;
mod address;
mod admin;
mod clash;
mod drain;
mod eject;
mod handover;
mod health;
mod hook;
mod limits;
mod listener;
mod order;
mod pool;
mod process;
mod retry;
mod route;
mod servers;
mod sni;
mod tls;
mod traces;
mod upstream;

pub(super) use access::usual;
pub(super) use process::level;

use super::file::{File, Server};
use super::files::Files;
use super::model::{self, Config, Place, Process, Upstream, UpstreamId};
use super::read::{At, Size, Time, nearest};
use super::report::{Fault, Problem, Problems, Reported, Span, quote};
use super::units::show_size;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Finds the addresses of a host name and port.
pub type Resolve<'a> = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + 'a;

/// What every check needs.
struct Check<'a> {
    problems: &'a Problems,
    /// The directory that relative paths start from.
    base: &'a Path,
    resolve: &'a Resolve<'a>,
    /// What was read.
    files: RefCell<Files>,
    /// The upstreams' names, in the order of the file.
    upstreams: Vec<String>,
    /// The listeners' names, in the order of the file.
    listener_names: Vec<String>,
}

/// Three keys, of which only one should be written.
type Choices<A, B, C> = (Option<At<A>>, Option<At<B>>, Option<At<C>>);

/// The one of three keys that was written.
enum Choice<A, B, C> {
    First(At<A>),
    Second(At<B>),
    Third(At<C>),
}

/// Checks `file`, which was read from `source`; `files` has that one.
pub(super) fn check(
    file: File,
    (source, files): (&Path, Files),
    problems: &Problems,
    resolve: &Resolve<'_>,
) -> Result<Config, Reported> {
    let File {
        admin,
        process,
        listener,
        upstream,
        handover,
        drain,
        hook,
    } = file;
    let upstreams_written =
        upstream.map_or_else(|| Ok(Vec::new()), |named| named.value.map(|named| named.0));
    let names = upstreams_written.iter().flatten();
    let order = order::written(listener.as_ref());
    let check = Check {
        problems,
        base: source.parent().unwrap_or(Path::new("")),
        resolve,
        files: RefCell::new(files),
        upstreams: names
            .filter_map(|(name, _)| name.value.clone().ok())
            .collect(),
        listener_names: order.iter().map(|(name, _)| name.clone()).collect(),
    };
    check.clashes(admin.as_ref(), listener.as_ref());
    let linger = admin
        .as_ref()
        .and_then(|admin| Some(admin.get().ok()?.linger.as_ref()?.span.clone()));
    let admin = check.admin(admin);
    let process = check.process(process);
    let listeners = check.listeners(listener);
    let upstreams = check.upstreams(upstreams_written, &listeners);
    let upstreams = upstreams.map(|upstreams| in_zone(upstreams, process.as_ref().ok()));
    let handover = check.handover(handover);
    let receipt = check.receipt(drain.as_ref());
    let plan = check.plan(drain);
    let ordered = match (&listeners, &plan) {
        (Ok(listeners), Ok(plan)) => check.order(&order, listeners, plan),
        // Their own problems come first.
        _ => Ok(()),
    };
    let ordered = match (&linger, &admin, &plan) {
        (Some(written), Ok(admin), Ok(plan)) => {
            ordered.and(check.linger(written, admin.linger, plan))
        }
        _ => ordered,
    };
    let hooks = hook.map_or_else(|| Ok(Vec::new()), |hooks| hooks.value);
    let hooks = hooks.and_then(|hooks| all(hooks, |hook| check.hook(hook)));
    Ok(Config {
        source: source.to_owned(),
        files: check.files.into_inner(),
        admin: admin?,
        process: process?,
        listeners: listeners?,
        upstreams: upstreams?,
        handover: handover?,
        plan: ordered.and(plan)?,
        receipt: receipt?,
        hooks: hooks?,
        given: None,
        shown: Arc::default(),
    })
}

/// Checks the servers that a file at `source` lists; those that say of no zone are
/// in this one.
pub(super) fn listed(
    entries: Vec<At<Server>>,
    zone: Option<&Arc<str>>,
    (source, problems): (&Path, &Problems),
) -> Result<Vec<model::Server>, Reported> {
    let check = Check {
        problems,
        base: source.parent().unwrap_or(Path::new("")),
        // The file is read again and again, and not by who may wait for a resolver.
        resolve: &|_, _| Err(io::Error::other("names are not resolved in such a file")),
        files: RefCell::new(Files::with(source)),
        upstreams: Vec::new(),
        listener_names: Vec::new(),
    };
    check.listed(entries, zone)
}

/// Checks all of `items`, also after one was found wrong.
fn all<T, U>(
    items: impl IntoIterator<Item = T>,
    check: impl FnMut(T) -> Result<U, Reported>,
) -> Result<Vec<U>, Reported> {
    // Collected in two steps because collecting into a result stops at
    // the first failure, and the rest would go unchecked.
    let checked: Vec<_> = items.into_iter().map(check).collect();
    checked.into_iter().collect()
}

impl Check<'_> {
    /// Records `problem`.
    fn refuse<T>(&self, problem: Problem) -> Result<T, Reported> {
        Err(self.problems.push(problem))
    }

    /// Passes `key` on to `parse`, and records its fault.
    fn parse<T>(
        &self,
        key: &At<String>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Reported> {
        parse(key.get()?).or_else(|fault| self.refuse(fault.at(&key.span)))
    }

    /// Like [`parse`](Self::parse), with a `default` for a key not written.
    fn parse_or<T>(
        &self,
        key: Option<&At<String>>,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<T, Reported> {
        key.map_or(Ok(default), |key| self.parse(key, parse))
    }

    /// A duration that may not be zero.
    fn time(
        &self,
        name: &str,
        key: Option<At<Time>>,
        default: Duration,
    ) -> Result<Duration, Reported> {
        let Some(key) = key else { return Ok(default) };
        let time = key.value?.0;
        if time.is_zero() {
            let problem = Problem::at(&key.span, format!("`{name}` cannot be zero"));
            return self.refuse(problem.help(
                "there is no way to switch this off; write a longer duration, e.g. `\"1h\"`",
            ));
        }
        Ok(time)
    }

    /// A whole number from `least` to `most`.
    fn number<T: TryFrom<u64>>(
        &self,
        name: &str,
        key: Option<At<u64>>,
        (least, most): (u64, u64),
        default: T,
    ) -> Result<T, Reported> {
        let Some(key) = key else { return Ok(default) };
        let value = key.value?;
        within(value, (least, most)).ok_or_else(|| {
            let problem = Problem::at(&key.span, format!("`{name}` cannot be {value}"));
            let help = format!("write a number from {least} to {most}");
            self.problems.push(problem.help(help))
        })
    }

    /// A size from `least` to `most` bytes.
    fn size(
        &self,
        name: &str,
        key: Option<At<Size>>,
        (least, most): (u64, u64),
        default: usize,
    ) -> Result<usize, Reported> {
        let Some(key) = key else { return Ok(default) };
        let Size(bytes) = key.value?;
        within(bytes, (least, most)).ok_or_else(|| {
            let problem = Problem::at(&key.span, format!("`{name}` cannot be {bytes} bytes"));
            let (least, most) = (show_size(least), show_size(most));
            let help = format!("write a size from `\"{least}\"` to `\"{most}\"`");
            self.problems.push(problem.help(help))
        })
    }

    /// The only one of three `keys` of the table at `span`.
    fn choose<A, B, C>(
        &self,
        span: &Span,
        keys: &str,
        written: Choices<A, B, C>,
    ) -> Result<Choice<A, B, C>, Reported> {
        let (a, b, c) = &written;
        let spans = [
            a.as_ref().map(|a| &a.span),
            b.as_ref().map(|b| &b.span),
            c.as_ref().map(|c| &c.span),
        ];
        let mut spans: Vec<Span> = spans.into_iter().flatten().cloned().collect();
        spans.sort_by_key(|span| span.start);
        match written {
            (Some(a), None, None) => Ok(Choice::First(a)),
            (None, Some(b), None) => Ok(Choice::Second(b)),
            (None, None, Some(c)) => Ok(Choice::Third(c)),
            (None, None, None) => {
                let problem =
                    Problem::at(span, format!("one of {keys} is needed")).label("none is here");
                self.refuse(problem.help("write the one that is meant"))
            }
            _ => {
                let problem = Problem::at(&spans[1], format!("only one of {keys} can be written"));
                let problem = problem.label("the second").also(&spans[0], "the first");
                self.refuse(problem.help("delete what is not meant"))
            }
        }
    }

    /// A path, relative to the directory of the file.
    fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// Such a path, of a file that is about to be read.
    fn read_path(&self, text: &str) -> PathBuf {
        let path = self.path(text);
        self.files.borrow_mut().add(&path);
        path
    }

    /// A file that is to be written, in a folder that is there; `help` is for
    /// who names a folder.
    fn file(&self, key: &str, text: &str, help: &str) -> Result<PathBuf, Fault> {
        let path = self.path(text);
        let shown = |path: &Path| quote(&path.display().to_string());
        if text.ends_with('/') || path.is_dir() || path.file_name().is_none() {
            let what = format!("`{key}` names a folder: {}", shown(&path));
            return Err(Fault::new(what, help));
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let what = format!("there is no folder {}", shown(folder));
            let help =
                "make it, or name another; a relative path starts at the directory of this file";
            return Err(Fault::new(what, help));
        }
        Ok(path)
    }

    /// The upstream that `key` names.
    fn upstream_id(&self, key: &At<String>) -> Result<UpstreamId, Reported> {
        let name = key.get()?;
        if let Some(index) = self.upstreams.iter().position(|known| known == name) {
            return Ok(UpstreamId(index));
        }
        let known: Vec<_> = self.upstreams.iter().map(String::as_str).collect();
        let help = match nearest(name, &known) {
            Some(near) => format!("did you mean `\"{near}\"`?"),
            None if name.is_empty() => "write the name of an upstream".into(),
            None => format!("add `[upstream.{name}]` with its servers"),
        };
        self.refuse(
            Problem::at(&key.span, format!("there is no upstream {}", quote(name))).help(help),
        )
    }

    /// A name of the operator's choice; it becomes a label of metrics and an
    /// argument of commands.
    fn name(&self, what: &str, key: &At<String>) -> Result<String, Reported> {
        const LONGEST: usize = 64;
        let name = key.get()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !name.is_empty() && name.len() <= LONGEST && name.chars().all(plain) {
            return Ok(name.clone());
        }
        let problem = Problem::at(&key.span, format!("{} cannot name {what}", quote(name)));
        self.refuse(problem.help(format!(
            "use 1 to {LONGEST} letters, digits, `_`, `-` and `.`"
        )))
    }
}

/// Upstreams of a process: its zone matters to those whose servers have zones.
fn in_zone(mut upstreams: Vec<Upstream>, process: Option<&Process>) -> Vec<Upstream> {
    let zone = process.and_then(|process| process.zone.as_ref());
    for upstream in &mut upstreams {
        let servers = upstream.servers.iter().map(|server| server.zone.is_some());
        // What a file lists may be in zones of its own.
        let sources = upstream.sources.iter();
        let found =
            sources.map(|source| source.zone.is_some() || matches!(source.place, Place::File(_)));
        let zoned = servers.chain(found).any(|zoned| zoned);
        upstream.zone = zone.filter(|_| zoned).cloned();
    }
    upstreams
}

/// `value` as a `T`, if it lies from `least` to `most`.
fn within<T: TryFrom<u64>>(value: u64, (least, most): (u64, u64)) -> Option<T> {
    let fits = (least..=most).contains(&value);
    T::try_from(value).ok().filter(|_| fits)
}
