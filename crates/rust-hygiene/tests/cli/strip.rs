use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::home::Home;

const WITH: &str = "{\n \"cells\": [{\"outputs\": [\n  {\"text\": \"\\u00e9\"},\n  {\"metadata\": {\"rust_hygiene\": {\"v\": 1}}}\n ]}]\n}";
const WITHOUT: &str = "{\n \"cells\": [{\"outputs\": [\n  {\"text\": \"\\u00e9\"}\n ]}]\n}";

#[test]
fn a_notebook_is_stripped_in_place_and_keeps_its_permissions() {
    let home = Home::new();
    let file = home.path("a.ipynb");
    fs::write(&file, WITH).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    home.run(&["strip", "a.ipynb"]).success();
    assert_eq!(fs::read_to_string(&file).unwrap(), WITHOUT);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn a_linked_notebook_stays_a_link() {
    let home = Home::new();
    fs::write(home.path("a.ipynb"), WITH).unwrap();
    std::os::unix::fs::symlink("a.ipynb", home.path("link.ipynb")).unwrap();
    home.run(&["strip", "link.ipynb"]).success();
    assert!(home.path("link.ipynb").is_symlink());
    assert_eq!(fs::read_to_string(home.path("a.ipynb")).unwrap(), WITHOUT);
}

#[test]
fn the_result_can_go_elsewhere() {
    let home = Home::new();
    fs::write(home.path("a.ipynb"), WITH).unwrap();
    home.run(&["strip", "a.ipynb", "-o", "b.ipynb"]).success();
    assert_eq!(fs::read_to_string(home.path("b.ipynb")).unwrap(), WITHOUT);
    assert_eq!(
        home.run(&["strip", "a.ipynb", "-o", "-"]).success().out,
        WITHOUT
    );
    assert_eq!(fs::read_to_string(home.path("a.ipynb")).unwrap(), WITH);
}

#[test]
fn as_a_git_filter_it_reads_and_writes_pipes() {
    let home = Home::new();
    for text in [WITH, WITHOUT] {
        assert_eq!(
            home.run_with(&["strip", "-"], &[], text.as_bytes())
                .success()
                .out,
            WITHOUT
        );
    }
}

#[test]
fn what_is_no_notebook_is_refused_and_left_as_it_is() {
    let home = Home::new();
    for bytes in [&b"not json"[..], b"{\"a\": 1}", b"\xff\xfe"] {
        fs::write(home.path("a.ipynb"), bytes).unwrap();
        home.run(&["strip", "a.ipynb"]).failure();
        assert_eq!(fs::read(home.path("a.ipynb")).unwrap(), bytes);
        let run = home.run_with(&["strip", "-"], &[], bytes);
        assert_eq!((run.out.as_str(), run.code), ("", 1));
    }
    home.run(&["strip", "missing.ipynb"]).failure();
}
