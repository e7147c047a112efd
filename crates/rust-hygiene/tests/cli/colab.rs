use std::fs;

use serde_json::json;

use crate::home::{Home, word};

#[test]
fn a_dry_run_shows_all_and_writes_nothing() {
    let home = Home::new();
    let python = home.good_python();
    let jupyter = home.python_with("jupyter", json!({"jupyter_server": "2.21.1"}));
    let before = fs::read_dir(home.path("")).unwrap().count();
    let args = [
        "colab",
        "--dry-run",
        "--port",
        "9999",
        "--python",
        word(&python),
        "--jupyter",
        word(&jupyter),
        "--",
        "--ServerApp.root_dir=/my data",
    ];
    let shown = home.run(&args).success().out;
    for expected in [
        "JUPYTER_PATH=DIR ",
        &format!("{} -m jupyter_server", word(&jupyter)),
        "--ServerApp.port=9999",
        "--ServerApp.allow_origin=https://colab.research.google.com",
        "'--ServerApp.root_dir=/my data'",
        &format!("\"{}\"", word(&python)),
    ] {
        assert!(shown.contains(expected), "{expected} is not in {shown}");
    }
    assert_eq!(fs::read_dir(home.path("")).unwrap().count(), before);
}

#[test]
fn what_is_missing_is_told_before_anything_is_started() {
    let home = Home::new();
    let good = home.good_python();
    let error = home
        .run(&["colab", "--dry-run", "--python", word(&good)])
        .failure();
    assert!(
        error.contains("no jupyter_server") && error.contains("--jupyter PATH"),
        "{error}"
    );
    let bare = home.python("bare", 12, json!({"error": "ModuleNotFoundError: no"}));
    let error = home.run(&["colab", "--python", word(&bare)]).failure();
    assert!(error.contains("pip install 'ipython"), "{error}");
    let old = home.python("old", 9, json!({"version": "8.12.0"}));
    let error = home.run(&["colab", "--python", word(&old)]).failure();
    assert!(error.contains("needs 3.10"), "{error}");
    let error = home.run(&["colab", "--port", "0"]);
    assert_eq!(error.code, 2);
}
