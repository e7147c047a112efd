use std::fs;

use serde_json::json;

use crate::home::Home;

#[test]
fn what_was_installed_is_removed_without_a_trace() {
    let home = Home::new();
    home.run(&["install", "--name", "one"]).success();
    home.run(&["install", "--name", "two"]).success();
    home.run(&["uninstall", "--name", "one", "--yes"]).success();
    assert!(!home.spec("one").exists());
    assert!(home.spec("two").join("kernel.json").is_file());
}

#[test]
fn nothing_is_removed_unless_somebody_agrees() {
    let home = Home::new();
    home.run(&["install"]).success();
    let complaint = home.run(&["uninstall"]).failure();
    assert!(complaint.contains("--yes"), "{complaint}");
    assert!(home.spec("rust-hygiene").join("kernel.json").is_file());
}

#[test]
fn other_kernels_and_packaged_specs_are_left_alone() {
    let home = Home::new();
    let folder = home.spec("rust-hygiene");
    home.other_kernel(&folder);
    let complaint = home.run(&["uninstall", "--yes"]).failure();
    assert!(
        complaint.contains("jupyter kernelspec uninstall"),
        "{complaint}"
    );
    let packaged = json!({"argv": ["{resource_dir}/../../../../bin/rust-hygiene", "kernel", "-f", "{connection_file}"]});
    fs::write(folder.join("kernel.json"), packaged.to_string()).unwrap();
    let complaint = home.run(&["uninstall", "--yes"]).failure();
    assert!(
        complaint.contains("pip uninstall rust-hygiene"),
        "{complaint}"
    );
    assert!(folder.join("kernel.json").is_file());
}

#[test]
fn files_that_are_not_ours_stay() {
    let home = Home::new();
    home.run(&["install"]).success();
    fs::write(home.spec("rust-hygiene").join("notes.txt"), "mine").unwrap();
    let run = home.run(&["uninstall", "--yes"]).success();
    assert!(run.err.contains("notes.txt"), "{}", run.err);
    let left: Vec<_> = fs::read_dir(home.spec("rust-hygiene"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(left, ["notes.txt"]);
}

#[test]
fn a_link_is_removed_and_what_it_leads_to_is_not() {
    let home = Home::new();
    home.run(&["install", "--name", "real"]).success();
    std::os::unix::fs::symlink(home.spec("real"), home.spec("link")).unwrap();
    home.run(&["uninstall", "--name", "link", "--yes"])
        .success();
    assert!(!home.spec("link").is_symlink());
    assert!(home.spec("real").join("kernel.json").is_file());
}

#[test]
fn a_missing_spec_is_an_error_that_says_where_to_look() {
    let complaint = Home::new().run(&["uninstall", "--yes"]).failure();
    assert!(complaint.contains("rust-hygiene list"), "{complaint}");
}
