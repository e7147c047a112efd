//! Running other programs: what is run is shown, and what fails says how to run it again.

use std::fmt;
use std::process::{Command, Stdio};

/// A reason to stop, told as a sentence for the person at the terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure(String);

/// The result of anything here.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Turns an I/O error into a sentence that begins with `doing`.
    pub fn io(doing: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self(format!("{doing}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Runs a program to its end, its output going to the terminal.
///
/// # Errors
/// The program cannot be started, or ends with anything but success.
pub fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    eprintln!("+ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("`{line}` failed ({status})"))),
        Err(error) => Err(Failure::new(format!("cannot start `{line}`: {error}"))),
    }
}

/// Runs a program quietly; true if it could be started and succeeded.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The standard output of a program, trimmed, or `None` if it cannot be started or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program and its arguments as one would type them (arguments with blanks in quotes).
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(char::is_whitespace) {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_typed_again() {
        let mut command = Command::new("tool");
        command.args(["plain", "two words", ""]);
        assert_eq!(command_line(&command), "tool plain 'two words' ''");
    }

    #[test]
    fn a_program_that_fails_is_named_in_the_failure() {
        let failure = run(&mut Command::new("false")).unwrap_err().to_string();
        assert!(failure.starts_with("`false` failed"), "{failure}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named_in_the_failure() {
        let failure = run(&mut Command::new("no-such-program"))
            .unwrap_err()
            .to_string();
        assert!(
            failure.starts_with("cannot start `no-such-program`"),
            "{failure}"
        );
    }
}
