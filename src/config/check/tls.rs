//! TLS where it ends here: certificates, their keys, and who must show one.
//!
//! Purpose: the `tls` of a listener, or of the admin API, becomes a
//! [`ListenerTls`].
//!
//! Invariant: what counts for the listener as a whole is said once, with its
//! first certificate.
//!
//! Deliberately absent: TLS to servers (see `upstream`).

use super::super::file;
use super::super::model::{Certificate, ClientAuth, ListenerTls};
use super::super::read::{At, OneOf, OneOrMore, value_or};
use super::super::report::{Problem, Reported, Span};
use super::super::tls;
use super::{Check, all};
use rustls::RootCertStore;
use std::sync::Arc;

/// What counts for a listener as a whole.
struct Whole {
    client_ca: Option<Arc<RootCertStore>>,
    client_auth: ClientAuth,
    tickets: bool,
    keylog: bool,
}

impl Check<'_> {
    pub(super) fn listener_tls(
        &self,
        written: At<OneOrMore<file::ListenerTls>>,
    ) -> Result<ListenerTls, Reported> {
        let pairs = written.value?.0;
        let Some(first) = pairs.first() else {
            let problem =
                Problem::at(&written.span, "`tls` is empty").label("no certificate to show");
            return self.refuse(problem.help(
                "write `tls = { cert = \"...\", key = \"...\" }`, or leave it out for clear text",
            ));
        };
        let whole = first.get().and_then(|first| self.whole(first));
        let certificates = all(pairs.iter().enumerate(), |(index, pair)| {
            let pair = pair.get()?;
            if let (1.., Some(span)) = (index, of_whole(pair)) {
                let message = "this counts for the listener, not for one certificate";
                return self.refuse(Problem::at(span, message).help(
                    "write `client_ca`, `client_auth`, `tickets` and `keylog` in the first entry of `tls`",
                ));
            }
            self.pair(&pair.cert, &pair.key, pair.ocsp.as_ref())
        });
        let whole = whole?;
        Ok(ListenerTls {
            certificates: certificates?,
            client_ca: whole.client_ca,
            client_auth: whole.client_auth,
            tickets: whole.tickets,
            keylog: whole.keylog,
        })
    }

    fn whole(&self, first: &file::ListenerTls) -> Result<Whole, Reported> {
        let ca = first.client_ca.as_ref();
        let ca =
            ca.map(|ca| self.parse(ca, |path| tls::roots(&self.read_path(path)).map(Arc::new)));
        let auth = match &first.client_auth {
            Some(key) if first.client_ca.is_none() => {
                let problem = Problem::at(&key.span, "`client_auth` needs `client_ca`");
                self.refuse(problem.help(
                    "add `client_ca = \"ca.pem\"`, the authorities that client certificates come from",
                ))
            }
            key => value_or(key.clone(), OneOf(ClientAuth::default())),
        };
        let tickets = value_or(first.tickets.clone(), true);
        let keylog = value_or(first.keylog.clone(), false);
        Ok(Whole {
            client_ca: ca.transpose()?,
            client_auth: auth?.0,
            tickets: tickets?,
            keylog: keylog?,
        })
    }

    /// Loads a certificate and its key, and blames the file that is wrong.
    pub(super) fn pair(
        &self,
        cert: &At<String>,
        key: &At<String>,
        ocsp: Option<&At<String>>,
    ) -> Result<Certificate, Reported> {
        let chain = self.parse(cert, |path| tls::chain(&self.read_path(path)));
        let secret = self.parse(key, |path| tls::key(&self.read_path(path)));
        let staple = ocsp.map(|key| {
            let staple = self.parse(key, |path| tls::ocsp(&self.read_path(path)))?;
            Ok((staple, &key.span))
        });
        let (chain, staple) = (chain?, staple.transpose()?);
        if let Some((staple, span)) = &staple
            && !tls::speaks_of(staple, &chain)
        {
            let problem = Problem::at(span, "this OCSP response is of another certificate");
            let problem = problem.also(&cert.span, "this certificate");
            return self.refuse(problem.help("ask the responder about the certificate in `cert`"));
        }
        let staple = staple.map(|(staple, _)| staple);
        tls::pair(chain, secret?, staple).or_else(|fault| {
            let problem = fault
                .at(&key.span)
                .label("this key")
                .also(&cert.span, "this certificate");
            self.refuse(problem)
        })
    }
}

/// A key that counts for the whole, if one is written.
fn of_whole(pair: &file::ListenerTls) -> Option<&Span> {
    let keys = [
        pair.client_ca.as_ref().map(|key| &key.span),
        pair.client_auth.as_ref().map(|key| &key.span),
        pair.tickets.as_ref().map(|key| &key.span),
        pair.keylog.as_ref().map(|key| &key.span),
    ];
    keys.into_iter().flatten().next()
}
