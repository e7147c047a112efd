//! Sorts the arguments of `kernel` before clap sees them.
//!
//! Front ends and users add what ipykernel would understand (`--HistoryManager.hist_file=:memory:`, `--matplotlib=inline`,
//! `--debug`), before or after ours. clap refuses an unknown flag; a kernel that does not start for the sake of one is worse than
//! one that ignores it. So ours go first, then `--`, then everything else.

use std::ffi::{OsStr, OsString};

/// Spellings of our options: (as written, canonical). ipykernel also takes `--f=` and the full traitlets name.
const OPTIONS: [(&str, &str); 7] = [
    ("-f", "--connection-file"),
    ("--f", "--connection-file"),
    ("--connection-file", "--connection-file"),
    ("--IPKernelApp.connection_file", "--connection-file"),
    ("--python", "--python"),
    ("--log", "--log"),
    ("--set", "--set"),
];

/// Returns the arguments as they are unless the first one is `kernel`; then our options, `--`, and the unknown rest.
pub fn sort(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut sorted: Vec<OsString> = args.by_ref().take(2).collect();
    if sorted.get(1).is_none_or(|command| command != "kernel") {
        sorted.extend(args);
        return sorted;
    }
    let mut rest: Vec<OsString> = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.extend(args.by_ref());
        } else if arg == "-h" || arg == "--help" {
            sorted.push(arg);
        } else if let Some((option, value)) = ours(&arg) {
            sorted.push(option.into());
            sorted.extend(value.or_else(|| args.next()));
        } else {
            rest.push(arg);
        }
    }
    if !rest.is_empty() {
        sorted.push("--".into());
        // Rest arguments are text for IPython; bytes that are no UTF-8 must not stop the start either.
        sorted.extend(
            rest.into_iter()
                .map(|arg| OsString::from(arg.to_string_lossy().into_owned())),
        );
    }
    sorted
}

/// The canonical option and the value attached to it, if the argument is one of ours.
fn ours(arg: &OsStr) -> Option<(&'static str, Option<OsString>)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = arg.as_bytes();
    for (written, option) in OPTIONS {
        let Some(tail) = bytes.strip_prefix(written.as_bytes()) else {
            continue;
        };
        match tail.first() {
            None => return Some((option, None)),
            Some(b'=') => return Some((option, Some(OsString::from_vec(tail[1..].to_vec())))),
            // `-fPATH`, the short form with its value attached.
            Some(_) if written == "-f" => {
                return Some((option, Some(OsString::from_vec(tail.to_vec()))));
            }
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(line: &str) -> String {
        let args = line.split_whitespace().map(OsString::from);
        let words: Vec<_> = sort(args)
            .into_iter()
            .map(|arg| arg.into_string().unwrap())
            .collect();
        words.join(" ")
    }

    #[test]
    fn our_options_come_first_and_strangers_follow_two_dashes() {
        for (given, expected) in [
            ("x", "x"),
            ("x kernel", "x kernel"),
            ("x doctor --odd", "x doctor --odd"),
            ("x kernel -f a", "x kernel --connection-file a"),
            ("x kernel -fa", "x kernel --connection-file a"),
            ("x kernel -f=a", "x kernel --connection-file a"),
            ("x kernel --f=a", "x kernel --connection-file a"),
            (
                "x kernel --IPKernelApp.connection_file=a",
                "x kernel --connection-file a",
            ),
            (
                "x kernel --A.b=c -f a --debug",
                "x kernel --connection-file a -- --A.b=c --debug",
            ),
            (
                "x kernel --matplotlib=inline --python p -f a",
                "x kernel --python p --connection-file a -- --matplotlib=inline",
            ),
            (
                "x kernel -f a --log-level=10 --logfile=z",
                "x kernel --connection-file a -- --log-level=10 --logfile=z",
            ),
            ("x kernel --A.b=c -- -f b", "x kernel -- --A.b=c -f b"),
            ("x kernel -f", "x kernel --connection-file"),
            ("x kernel --help", "x kernel --help"),
        ] {
            assert_eq!(sorted(given), expected, "{given}");
        }
    }

    #[test]
    fn an_argument_that_is_not_unicode_does_not_stop_the_start() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"--A.b=\xff".to_vec());
        let args = ["x".into(), "kernel".into(), "-f".into(), "a".into(), odd];
        assert_eq!(sort(args).last().unwrap(), "--A.b=\u{fffd}");
    }
}
