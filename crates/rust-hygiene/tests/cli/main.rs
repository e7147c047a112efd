//! The built program, run as a person or Jupyter would, in a home of its own.

// clippy allows this in test functions only; here everything is a test.
#![allow(clippy::unwrap_used)]

mod arguments;
mod colab;
mod doctor;
mod home;
mod install;
mod list;
mod policy;
mod strip;
mod uninstall;
