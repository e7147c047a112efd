//! The Jupyter wire: connection file, signed envelopes, the five channels.
