//! Readings of host and GPU memory of a process tree.
