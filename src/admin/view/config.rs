//! The config in force, as the admin interface shows it.
//!
//! Invariant: as in the module above. Absent: secrets (see
//! [`Config::shown`](crate::config::Config::shown)).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The config that the process runs by, and how it came to it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InForce {
    /// How many configs the process has run by, this one included.
    pub generation: u64,
    /// Since when, as RFC 3339 has it.
    pub since: String,
    /// The file, as it was named.
    pub source: String,
    /// All of it, every default written out.
    pub config: Value,
}

/// The same as TOML, which loads again.
impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            generation,
            since,
            source,
            config,
        } = self;
        writeln!(f, "# In force since {since}, generation {generation}.")?;
        writeln!(
            f,
            "# From {source:?}; relative paths start at its directory."
        )?;
        writeln!(
            f,
            "# Every default is written out; secrets are \"(hidden)\".\n"
        )?;
        let text = toml::to_string_pretty(config).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}
