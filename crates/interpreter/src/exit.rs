//! How a process ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What is known of an interpreter that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How.
    pub exit: Exit,
    /// The most bytes that it held at a time, since it started or that mark was last set back.
    pub peak: Option<u64>,
    /// What `faulthandler` wrote of it.
    pub fault: String,
}

/// How the interpreter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was ended because its channel was closed or carried something else than frames.
    Unheard,
    /// It was gone before anyone could ask.
    Unknown,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was ended by signal {number} ({})", signal.as_str()),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
            Self::Unheard => f.write_str(
                "was ended, as it could no longer be heard: something closed its file descriptors or wrote to those of the kernel",
            ),
            Self::Unknown => f.write_str("ended, how is not known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_says_its_code_or_the_name_of_its_signal() {
        for (raw, text) in [
            (0, "ended with exit code 0"),
            (3 << 8, "ended with exit code 3"),
            (9, "was ended by signal 9 (SIGKILL)"),
            (11 | 0x80, "was ended by signal 11 (SIGSEGV)"),
            (64, "was ended by signal 64"),
        ] {
            assert_eq!(Exit::from(ExitStatus::from_raw(raw)).to_string(), text);
        }
    }
}
