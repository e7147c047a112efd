use crate::home::Home;

/// clap ends with 2 if it does not understand the arguments. A connection file that is not there is another error.
#[test]
fn what_ipykernel_would_understand_never_stops_the_kernel_from_being_started() {
    let home = Home::new();
    for args in [
        vec!["-f", "none.json"],
        vec![
            "-f",
            "none.json",
            "--HistoryManager.hist_file=:memory:",
            "--matplotlib=inline",
            "--debug",
        ],
        vec![
            "--IPKernelApp.x=y",
            "-f",
            "none.json",
            "--python",
            "/nowhere",
        ],
        vec![
            "--matplotlib",
            "inline",
            "--connection-file=none.json",
            "extra",
        ],
        vec!["-f", "none.json", "-f", "none.json", "--", "--x"],
    ] {
        let run = home.run(&[vec!["kernel"], args.clone()].concat());
        assert_eq!(run.code, 1, "{args:?}: {}", run.err);
        assert!(!run.err.contains("Usage:"), "{}", run.err);
    }
}

#[test]
fn a_kernel_without_a_connection_file_is_a_usage_error() {
    let run = Home::new().run(&["kernel", "--IPKernelApp.x=y"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("--connection-file"), "{}", run.err);
}

#[test]
fn every_command_explains_itself() {
    let home = Home::new();
    for command in ["kernel", "install", "uninstall", "list", "doctor", "strip"] {
        let run = home.run(&[command, "--help"]).success();
        assert!(
            run.out.contains("Usage: rust-hygiene"),
            "{command}: {}",
            run.out
        );
    }
    assert!(
        home.run(&["--version"])
            .success()
            .out
            .contains(env!("CARGO_PKG_VERSION"))
    );
}
