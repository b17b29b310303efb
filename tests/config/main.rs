//! The configuration floor from outside: files in, models or reports out.

mod bad;
mod diff;
#[allow(dead_code, reason = "a text is read whole, so nothing is cut")]
#[path = "../fuzz/driver.rs"]
mod driver;
mod fixture;
mod full;
mod fuzz;
mod good;
mod kubernetes;
mod mutate;
mod shown;
mod systemd;
