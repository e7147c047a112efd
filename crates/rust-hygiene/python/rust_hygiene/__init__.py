"""Rust-Hygiene Python, a Jupyter kernel. The kernel is a native program; this package only finds and starts it."""
