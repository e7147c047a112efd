//! A cell record as a MIME bundle.
