//! The configuration floor from outside: files in, models or reports out.

mod bad;
mod diff;
mod fixture;
mod full;
mod good;
mod kubernetes;
mod mutate;
mod shown;
mod systemd;
