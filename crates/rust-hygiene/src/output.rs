//! Text for a person or a pipe. A reader that went away (`rust-hygiene list | head -1`) is no error.

use std::io::{self, ErrorKind, Write};

/// Writes bytes to standard output and flushes.
///
/// # Errors
/// Any write error but a closed pipe.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes one line to standard output.
///
/// # Errors
/// As [`write`].
pub fn line(text: &str) -> io::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes one line to standard error; if even that fails there is nobody to tell.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
