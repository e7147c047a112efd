//! Readings of real processes, and of devices that a fake NVIDIA library makes up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of tests fails by a panic"
)]

mod devices;
mod host;
mod python;
mod usage;
