use std::fs;

use serde_json::Value;

use crate::home::{Home, word};

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|spec| spec["name"].as_str().unwrap())
        .collect()
}

#[test]
fn only_our_specs_are_listed() {
    let home = Home::new();
    home.other_kernel(&home.spec("python3"));
    assert_eq!(
        home.run(&["list", "--json"]).success().json(),
        Value::Array(vec![])
    );
    home.run(&["install", "--name", "b"]).success();
    home.run(&["install", "--name", "a"]).success();
    assert_eq!(
        names(&home.run(&["list", "--json"]).success().json()),
        ["a", "b"]
    );
}

#[test]
fn each_spec_tells_its_program_and_its_python() {
    let home = Home::new();
    let python = home.good_python();
    home.run(&["install", "--python", word(&python)]).success();
    let spec = home.run(&["list", "--json"]).success().json()[0].clone();
    assert_eq!(spec["folder"], word(&home.spec("rust-hygiene")));
    assert_eq!(spec["program"], env!("CARGO_BIN_EXE_rust-hygiene"));
    assert_eq!(spec["program_exists"], true);
    assert_eq!(spec["python"], word(&python));
    assert_eq!(spec["rule"], "explicit");
    assert_eq!(spec["hidden_by"], Value::Null);
    let text = home.run(&["list"]).success().out;
    assert!(
        text.contains(word(&python)) && text.contains("--python"),
        "{text}"
    );
}

#[test]
fn a_program_that_is_gone_is_told() {
    let home = Home::new();
    home.run(&["install"]).success();
    let file = home.spec("rust-hygiene").join("kernel.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace(env!("CARGO_BIN_EXE_rust-hygiene"), "/nowhere/rust-hygiene"),
    )
    .unwrap();
    let list = home.run(&["list", "--json"]).success().json();
    assert_eq!(list[0]["program_exists"], false);
    let text = home.run(&["list"]).success().out;
    assert!(text.contains("/nowhere/rust-hygiene is MISSING"), "{text}");
}

#[test]
fn a_packaged_spec_is_resolved_from_its_folder() {
    let home = Home::new();
    let python = home.good_python();
    home.run(&["install", "--sys-prefix", "--python", word(&python)])
        .success();
    let folder = home.path("env/share/jupyter/kernels/rust-hygiene");
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../kernelspec/wheel/data/share/jupyter/kernels/rust-hygiene/kernel.json"
    );
    fs::copy(shipped, folder.join("kernel.json")).unwrap();
    fs::write(home.path("env/bin/rust-hygiene"), "").unwrap();
    let list = home
        .run(&["list", "--json", "--python", word(&python)])
        .success()
        .json();
    assert_eq!(list[0]["program"], word(&home.path("env/bin/rust-hygiene")));
    assert_eq!(list[0]["program_exists"], true);
    assert_eq!(list[0]["python"], word(&python));
    assert_eq!(list[0]["rule"], "beside");
}

#[test]
fn a_spec_behind_another_one_of_its_name_is_hidden() {
    let home = Home::new();
    home.run(&["install", "--name", "twice"]).success();
    let first = home.path("first/kernels/Twice");
    home.other_kernel(&first);
    let list = home
        .run_with(
            &["list", "--json"],
            &[("JUPYTER_PATH", word(&home.path("first")))],
            b"",
        )
        .success()
        .json();
    assert_eq!(names(&list), ["twice"]);
    assert_eq!(list[0]["hidden_by"], word(&first));
}
