//! The description of the interface (`OpenAPI` 3.1), as `/openapi.json`.
//!
//! Invariant, held by tests: it lists the paths and methods of `api::ROUTES`,
//! all of them and no others, and every answer has exactly the members that
//! its schema lists.
//!
//! Deliberately absent: generating it. It is written for its readers, and the
//! tests keep it true.

/// The document.
pub(super) const DESCRIPTION: &str = include_str!("openapi.json");
