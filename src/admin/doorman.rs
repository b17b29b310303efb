//! Who is let in, and what for: the rules of one config.
//!
//! Purpose: tokens and TLS settings as they are in force; a reload replaces
//! them as a whole, and a successor makes its own from its own config: nothing
//! of them is in the sockets that are handed over.
//!
//! Invariant: whoever may change something has the operator's token where there
//! is one, or a client certificate where those are asked for, or is on an
//! address that nobody else can reach.
//!
//! Deliberately absent: what a request says (see `auth`).

use super::auth::{Credentials, Role, Way};
use crate::config;
use crate::proxy;
use rustls::ServerConfig;
use std::fmt;
use std::sync::Arc;

/// The name under which errors speak of the interface.
const OWNER: &str = "admin";

/// Decides who is let in.
#[derive(Clone, Default)]
pub struct Doorman {
    pub(super) tls: Option<Arc<ServerConfig>>,
    tokens: Vec<String>,
    read_tokens: Vec<String>,
    /// Whether a client certificate is asked for.
    certificates: bool,
}

impl Doorman {
    /// The one that a config asks for.
    ///
    /// # Errors
    /// [`proxy::Error::Tls`] if its TLS settings cannot be used.
    pub fn of(admin: &config::Admin) -> proxy::Result<Self> {
        let tls = admin.tls.as_ref();
        let made = tls.map(|tls| proxy::tls_of(&Arc::from(OWNER), tls, &["http/1.1"]));
        Ok(Self {
            tls: made.transpose()?,
            tokens: admin.tokens.clone(),
            read_tokens: admin.read_tokens.clone(),
            certificates: tls.is_some_and(|tls| tls.client_ca.is_some()),
        })
    }

    /// One that asks for these tokens: to do anything, and to look.
    #[must_use]
    pub fn with_tokens(tokens: Vec<String>, read_tokens: Vec<String>) -> Self {
        Self {
            tokens,
            read_tokens,
            ..Self::default()
        }
    }

    /// Whether they are a token that somebody was given.
    pub(super) fn knows(&self, credentials: &Credentials<'_>) -> bool {
        // Both are looked through whatever comes of the first.
        let operates = credentials.is_one_of(&self.tokens);
        credentials.is_one_of(&self.read_tokens) || operates
    }

    /// Whether it lets in the same people for the same.
    pub(super) fn admits_like(&self, other: &Self) -> bool {
        self.tokens == other.tokens
            && self.read_tokens == other.read_tokens
            && self.certificates == other.certificates
    }

    /// What who has these credentials, and came so, may do; nothing, if `None`.
    pub(super) fn role(&self, credentials: &Credentials<'_>, way: Way) -> Option<Role> {
        // Both are looked through whatever comes of the first.
        let operates = credentials.is_one_of(&self.tokens);
        let reads = credentials.is_one_of(&self.read_tokens);
        let shown = self.certificates && way.certificate;
        // Over a Unix socket nobody can show one: whoever may open it is in.
        let open = self.tokens.is_empty() && !(self.certificates && way.inet);
        if operates || open || (shown && credentials.is_none()) {
            Some(Role::Operator)
        } else {
            reads.then_some(Role::Reader)
        }
    }
}

/// Shows no token.
impl fmt::Debug for Doorman {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorman")
            .field("tls", &self.tls.is_some())
            .field("tokens", &self.tokens.len())
            .field("read_tokens", &self.read_tokens.len())
            .field("certificates", &self.certificates)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

    fn may(doorman: &Doorman, token: Option<&'static str>, certificate: bool) -> Option<Role> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(token));
        }
        let way = Way {
            inet: true,
            tls: true,
            certificate,
        };
        doorman.role(&Credentials::of(&headers), way)
    }

    #[test]
    fn each_token_opens_what_it_is_for() {
        let doorman = Doorman::with_tokens(
            vec!["all".into(), "next".into()],
            vec!["look".into(), "see".into()],
        );
        for (token, role) in [
            ("Bearer all", Some(Role::Operator)),
            ("Bearer next", Some(Role::Operator)),
            ("Bearer look", Some(Role::Reader)),
            ("bearer see", Some(Role::Reader)),
            ("Bearer al", None),
            ("Basic all", None),
            ("Bearer ", None),
        ] {
            assert_eq!(may(&doorman, Some(token), false), role, "{token}");
        }
        assert_eq!(may(&doorman, None, false), None);
        // A certificate that was not asked for means nothing.
        assert_eq!(may(&doorman, None, true), None);
        let open = Doorman::default();
        assert_eq!(may(&open, None, false), Some(Role::Operator));
    }

    #[test]
    fn a_token_that_was_made_up_is_not_known() {
        let doorman = Doorman::with_tokens(vec!["all".into()], vec!["look".into()]);
        assert!(doorman.knows(&Credentials::Bearer(b"all")));
        assert!(doorman.knows(&Credentials::Bearer(b"look")));
        for unknown in [
            Credentials::Bearer(b"x"),
            Credentials::None,
            Credentials::Unclear,
        ] {
            assert!(!doorman.knows(&unknown), "{unknown:?}");
            assert!(!Doorman::default().knows(&unknown), "{unknown:?}");
        }
    }

    #[test]
    fn a_certificate_takes_the_place_of_a_token_that_is_not_sent() {
        let mut doorman = Doorman::with_tokens(vec!["all".into()], vec!["look".into()]);
        doorman.certificates = true;
        assert_eq!(may(&doorman, None, true), Some(Role::Operator));
        assert_eq!(may(&doorman, None, false), None);
        assert_eq!(
            may(&doorman, Some("Bearer all"), false),
            Some(Role::Operator)
        );
        assert_eq!(may(&doorman, Some("Bearer look"), true), Some(Role::Reader));
        assert_eq!(may(&doorman, Some("Bearer wrong"), true), None);
        let alone = Doorman {
            certificates: true,
            ..Doorman::default()
        };
        assert_eq!(may(&alone, None, true), Some(Role::Operator));
        assert_eq!(may(&alone, None, false), None);
        let unix = alone.role(&Credentials::None, Way::default());
        assert_eq!(unix, Some(Role::Operator));
    }
}
