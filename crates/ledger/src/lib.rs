//! Readings and facts to records, verdicts, findings and hints.
