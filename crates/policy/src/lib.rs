//! Configuration, and which cleanup step is due.
