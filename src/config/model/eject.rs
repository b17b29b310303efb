//! What is heard of servers between health checks.
//!
//! Purpose: when exchanges themselves take a server out, and what a server says
//! of its own end.
//!
//! Invariant: see the module above; the defaults are here.
//!
//! Deliberately absent: who is ejected.

use http::HeaderName;
use std::time::Duration;

/// When a server that fails exchanges is ejected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Eject {
    /// Connections in a row that could not be made; zero is never.
    pub connect_errors: u32,
    /// Exchanges in a row without an answer; zero is never.
    pub resets: u32,
    /// Answers in a row with 5xx; zero is never.
    pub server_errors: u32,
    /// How servers are held against each other, if they are.
    pub success_rate: Option<SuccessRate>,
    /// For how long, the first time; never zero.
    pub time: Duration,
    /// For how long at most.
    pub longest: Duration,
    /// The percentage of an upstream's servers that may be ejected at once.
    pub max: u32,
}

impl Default for Eject {
    fn default() -> Self {
        Self {
            connect_errors: 5,
            resets: 0,
            server_errors: 0,
            success_rate: None,
            time: Duration::from_secs(30),
            longest: Duration::from_secs(300),
            max: 50,
        }
    }
}

/// How servers are held against each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SuccessRate {
    /// How often; never zero.
    pub every: Duration,
    /// How many servers must have enough requests.
    pub servers: u32,
    /// What is enough.
    pub requests: u32,
    /// How far below the mean an outlier is, in hundredths of the standard
    /// deviation.
    pub deviations: u32,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            servers: 5,
            requests: 100,
            deviations: 190,
        }
    }
}

/// How a server says that it is going, and for how long it is believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Going {
    /// The field of an answer that says so.
    pub header: Option<HeaderName>,
    /// Whether a GOAWAY on every connection does.
    pub goaway: bool,
    /// How many answers in a row with `Connection: close` do; zero is never.
    pub closes: u32,
    /// How long that holds, if no health check says otherwise; never zero.
    pub time: Duration,
}

impl Default for Going {
    fn default() -> Self {
        let header = HeaderName::from_static("x-envoy-immediate-health-check-fail");
        Self {
            header: Some(header),
            goaway: true,
            closes: 3,
            time: Duration::from_secs(10),
        }
    }
}
