use std::fs;

use serde_json::json;

use crate::home::{Home, word};

#[test]
fn the_spec_starts_this_very_program_and_has_its_icons() {
    let home = Home::new();
    home.run(&["install"]).success();
    let folder = home.spec("rust-hygiene");
    let expected = json!({
        "argv": [env!("CARGO_BIN_EXE_rust-hygiene"), "kernel", "-f", "{connection_file}"],
        "display_name": "Rust-Hygiene Python",
        "language": "python",
        "interrupt_mode": "message",
        "kernel_protocol_version": "5.5",
        "metadata": {"debugger": true},
        "env": {},
    });
    assert_eq!(home.kernel_json(&folder), expected);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "kernel.json",
            "logo-32x32.png",
            "logo-64x64.png",
            "logo-svg.svg"
        ]
    );
    for (size, name) in [(32, "logo-32x32.png"), (64, "logo-64x64.png")] {
        let png = fs::read(folder.join(name)).unwrap();
        assert_eq!(
            png[16..24],
            [[0, 0, 0, size], [0, 0, 0, size]].concat(),
            "width and height of {name}"
        );
    }
}

#[test]
fn every_option_finds_its_way_into_the_spec() {
    let home = Home::new();
    let python = home.good_python();
    let args = [
        "install",
        "--name",
        "Mine",
        "--display-name",
        "My kernel",
        "--python",
        word(&python),
        "--env",
        "A",
        "1",
        "--env",
        "B",
        "-x=y z",
    ];
    home.run(&args).success();
    let spec = home.kernel_json(&home.spec("mine"));
    assert_eq!(spec["argv"][2], "--python");
    assert_eq!(spec["argv"][3], word(&python));
    assert_eq!(spec["display_name"], "My kernel");
    assert_eq!(spec["env"], json!({"A": "1", "B": "-x=y z"}));
}

#[test]
fn the_users_folder_follows_jupyters_variables() {
    let home = Home::new();
    for (variables, expected) in [
        (
            vec![("JUPYTER_DATA_DIR", ""), ("XDG_DATA_HOME", "")],
            ".local/share/jupyter",
        ),
        (
            vec![
                ("JUPYTER_DATA_DIR", ""),
                ("XDG_DATA_HOME", word(&home.path("xdg"))),
            ],
            "xdg/jupyter",
        ),
    ] {
        home.run_with(&["install", "--user"], &variables, b"")
            .success();
        assert!(
            home.path(expected)
                .join("kernels/rust-hygiene/kernel.json")
                .is_file(),
            "{expected}"
        );
    }
}

#[test]
fn a_prefix_and_an_environment_take_the_spec() {
    let home = Home::new();
    let python = home.good_python();
    home.run(&["install", "--prefix", "relative"]).success();
    assert!(
        home.path("relative/share/jupyter/kernels/rust-hygiene/kernel.json")
            .is_file()
    );
    home.run(&["install", "--sys-prefix", "--python", word(&python)])
        .success();
    let folder = home.path("env/share/jupyter/kernels/rust-hygiene");
    assert_eq!(home.kernel_json(&folder)["argv"][3], word(&python));
    fs::remove_dir_all(&folder).unwrap();
    home.run_with(
        &["install", "--sys-prefix"],
        &[("VIRTUAL_ENV", word(&home.path("env")))],
        b"",
    )
    .success();
    assert_eq!(home.kernel_json(&folder)["argv"][2], "-f");
}

#[test]
fn installing_twice_updates_the_spec() {
    let home = Home::new();
    home.run(&["install"]).success();
    home.run(&["install", "--display-name", "Second"]).success();
    assert_eq!(
        home.kernel_json(&home.spec("rust-hygiene"))["display_name"],
        "Second"
    );
}

#[test]
fn the_spec_of_another_kernel_is_replaced_by_force_only() {
    let home = Home::new();
    for broken in [false, true] {
        let folder = home.spec("theirs");
        home.other_kernel(&folder);
        if broken {
            fs::write(folder.join("kernel.json"), "{").unwrap();
        }
        let before = fs::read(folder.join("kernel.json")).unwrap();
        let complaint = home.run(&["install", "--name", "theirs"]).failure();
        assert!(complaint.contains("--force"), "{complaint}");
        assert_eq!(fs::read(folder.join("kernel.json")).unwrap(), before);
        home.run(&["install", "--name", "theirs", "--force"])
            .success();
        assert_eq!(
            home.kernel_json(&folder)["display_name"],
            "Rust-Hygiene Python"
        );
    }
}

#[test]
fn a_python_that_does_not_work_is_refused_before_anything_is_written() {
    let home = Home::new();
    let old = home.python("old", 9, json!({"version": "8.12.0"}));
    let broken = home.path("bin/broken");
    std::os::unix::fs::symlink("/bin/false", &broken).unwrap();
    for (python, expected) in [
        (word(&home.path("nowhere")), "nowhere"),
        (word(&old), "needs 3.10 or later"),
        (word(&broken), "does not work as a Python"),
    ] {
        let complaint = home.run(&["install", "--python", python]).failure();
        assert!(complaint.contains(expected), "{complaint}");
        assert!(!home.spec("rust-hygiene").exists());
    }
}

#[test]
fn a_missing_ipython_is_a_warning_with_the_command_that_mends_it() {
    let home = Home::new();
    let python = home.python(
        "bare",
        12,
        json!({"error": "ModuleNotFoundError: No module named 'IPython'"}),
    );
    let run = home.run(&["install", "--python", word(&python)]).success();
    assert!(
        run.err
            .contains(&format!("{} -m pip install", python.display())),
        "{}",
        run.err
    );
    assert!(home.spec("rust-hygiene").exists());
}

#[test]
fn senseless_options_are_usage_errors_or_explained() {
    let home = Home::new();
    for args in [
        vec!["--name", "a/b"],
        vec!["--name", ".."],
        vec!["--name", ""],
        vec!["--env", "A"],
        vec!["--user", "--sys-prefix"],
    ] {
        let run = home.run(&[vec!["install"], args.clone()].concat());
        assert_eq!(run.code, 2, "{args:?}: {}", run.err);
    }
    let complaint = home.run(&["install", "--env", "A=B", "c"]).failure();
    assert!(complaint.contains("--env KEY VALUE"), "{complaint}");
    assert!(!home.path("data").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_explained() {
    let home = Home::new();
    fs::write(home.path("data"), "a file in the way").unwrap();
    let complaint = home.run(&["install"]).failure();
    assert!(complaint.contains("--prefix DIR"), "{complaint}");
}
