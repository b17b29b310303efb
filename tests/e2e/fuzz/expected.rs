//! What a server may get of a request, field by field.

use super::reading::{Fields, Head, Message, all};

/// What concerns one connection, or is looked at below by itself.
const SPECIAL: [&str; 18] = [
    "connection",
    "content-length",
    "expect",
    "grpc-timeout",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
];

/// What a trailer cannot be.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Fail unless `got` is what becomes of `sent` by a client at `address`.
pub(super) fn same_request(sent: &Message, got: &Message, address: &str) -> Result<(), String> {
    same_head(&sent.head, &got.head, address)?;
    if got.body.content != sent.body.content {
        let (got, sent) = (&got.body.content, &sent.body.content);
        return Err(format!(
            "body {:?} of {:?}",
            got.escape_ascii(),
            sent.escape_ascii()
        ));
    }
    let mut left = sent.body.trailers.clone();
    for trailer in &got.body.trailers {
        if FRAMING.contains(&trailer.0.as_str()) || !take(&mut left, trailer) {
            return Err(format!("the trailer {trailer:?} was not sent"));
        }
    }
    Ok(())
}

/// The same of heads.
pub(super) fn same_head(sent: &Head, got: &Head, address: &str) -> Result<(), String> {
    let wrong = |what: &str, got: &dyn std::fmt::Debug| Err(format!("{what}: {got:?}"));
    if got.method != sent.method {
        return wrong("method", &got.method);
    }
    let (host, path) = target(sent);
    if got.target != path {
        return wrong("target", &got.target);
    }
    if got.old {
        return wrong("version", &got.old);
    }
    let hosts = all(&got.fields, "host");
    let named = host.is_none_or(|host| hosts == [host.as_str()]);
    if hosts.len() != 1 || !named {
        return wrong("Host", &hosts);
    }
    framed(&sent.fields, &got.fields)?;
    added(&sent.fields, &got.fields, address)?;
    passed(&sent.fields, &got.fields)
}

/// Host and path that a request asks for (RFC 9112, section 3.2).
fn target(sent: &Head) -> (Option<String>, String) {
    let field = all(&sent.fields, "host").first().map(ToString::to_string);
    let begins = sent
        .target
        .find("://")
        .filter(|_| !sent.target.starts_with('/'));
    let Some(at) = begins else {
        return (field, sent.target.clone());
    };
    let rest = &sent.target[at + 3..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path.chars().next() {
        // Of OPTIONS it should be `*`; the engine does not tell.
        None => "/".to_owned(),
        Some('?') => format!("/{path}"),
        Some(_) => path.to_owned(),
    };
    (Some(authority.to_owned()), path)
}

/// That the message ends where it ended.
fn framed(sent: &Fields, got: &Fields) -> Result<(), String> {
    let (length, coding) = (all(got, "content-length"), all(got, "transfer-encoding"));
    let declared = all(sent, "content-length");
    let same = if all(sent, "transfer-encoding").is_empty() {
        length == declared && coding.is_empty()
    } else {
        // What is short may have its length declared.
        coding == ["chunked"] || coding.is_empty()
    };
    let upgrades = !all(sent, "upgrade").is_empty();
    let hop = all(got, "connection");
    if !(hop.is_empty() || (upgrades && hop == ["upgrade"])) {
        return Err(format!("Connection: {hop:?}"));
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] {
        if !all(got, name).is_empty() {
            return Err(format!("{name} was passed on"));
        }
    }
    let te = all(got, "te");
    if !(te.is_empty() || te == ["trailers"]) {
        return Err(format!("TE: {te:?}"));
    }
    same.then_some(())
        .ok_or_else(|| format!("length {length:?}, coding {coding:?}"))
}

/// That the proxy adds what it is to add, and that nobody else can.
fn added(sent: &Fields, got: &Fields, address: &str) -> Result<(), String> {
    let wrong = |what: &str, got: &dyn std::fmt::Debug| Err(format!("{what}: {got:?}"));
    let by = all(got, "x-forwarded-for");
    if client(got).as_deref() != Some(address) {
        return wrong("X-Forwarded-For", &by);
    }
    if all(got, "x-forwarded-proto") != ["http"] {
        return wrong("X-Forwarded-Proto", &all(got, "x-forwarded-proto"));
    }
    let via = all(got, "via");
    if !(via.len() == 1 && via[0].ends_with(" ebbtide")) {
        return wrong("Via", &via);
    }
    let asked = all(got, "x-forwarded-host");
    let before = all(sent, "x-forwarded-host");
    let kept = asked == before;
    let nominated = !all(sent, "connection").is_empty();
    if !(kept || (asked.len() == 1 && (before.is_empty() || nominated))) {
        return wrong("X-Forwarded-Host", &asked);
    }
    let claim = got
        .iter()
        .find(|(name, _)| name.replace('_', "-") == "x-forwarded-client-cert");
    claim.map_or(Ok(()), |claim| wrong("a claim", claim))
}

/// The last client in `X-Forwarded-For`: the one that the proxy named.
pub(super) fn client(got: &Fields) -> Option<String> {
    let by = all(got, "x-forwarded-for");
    let last = by.last()?.rsplit(',').next()?;
    Some(last.trim().to_owned())
}

/// That all else is passed on as it was, but what `Connection` names.
fn passed(sent: &Fields, got: &Fields) -> Result<(), String> {
    let mut left = sent.clone();
    for field in got {
        let known = SPECIAL.contains(&field.0.as_str());
        if !known && !take(&mut left, field) {
            return Err(format!("the field {field:?} was not sent"));
        }
    }
    let options: Vec<String> = all(sent, "connection")
        .iter()
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let lost = left.iter().find(|(name, _)| {
        let claim = name.replace('_', "-") == "x-forwarded-client-cert";
        !SPECIAL.contains(&name.as_str()) && !options.contains(name) && !claim
    });
    lost.map_or(Ok(()), |field| Err(format!("the field {field:?} was lost")))
}

/// Take one of these out, if it is there.
fn take(left: &mut Fields, field: &(String, String)) -> bool {
    let at = left.iter().position(|one| one == field);
    at.map(|at| left.swap_remove(at)).is_some()
}
