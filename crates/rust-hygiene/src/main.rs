//! Rust-Hygiene Python: a Jupyter kernel that tells where the memory went.

fn main() {}
