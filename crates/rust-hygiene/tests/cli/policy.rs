use std::fs;

use serde_json::Value;

use crate::home::Home;

/// A home whose own configuration file has this text.
fn configured(text: &str) -> Home {
    let home = Home::new();
    fs::create_dir_all(home.path(".config/rust-hygiene")).unwrap();
    fs::write(home.path(".config/rust-hygiene/config.toml"), text).unwrap();
    home
}

#[test]
fn a_configuration_without_a_mistake_is_checked_and_shown() {
    let home = configured("[policy]\nname = \"strict\"\nmin_bytes = \"1 MiB\"\n");
    let out = home.run(&["policy", "check"]).success().out;
    assert!(
        out.contains("config.toml") && out.ends_with("no mistake\n"),
        "{out}"
    );
    let out = home.run(&["policy", "show"]).success().out;
    assert!(out.starts_with("policy strict\n"), "{out}");
    assert!(out.contains("policy.min_bytes = \"1 MiB\""), "{out}");
    let out = home
        .run(&["policy", "show", "--set", "policy.name=observe"])
        .success()
        .out;
    assert!(
        out.starts_with("policy observe\n") && !out.contains("runs"),
        "{out}"
    );
}

#[test]
fn a_mistake_is_named_with_its_file_and_line_and_fails_the_check() {
    let home = configured("[policy]\nname = \"tidy\"\non_idel = []\n");
    let run = home.run(&["policy", "check"]);
    assert_eq!(run.code, 1);
    let said = "config.toml, line 3: unknown key `policy.on_idel`; did you mean `policy.on_idle`?";
    assert!(run.err.contains(said), "{}", run.err);
}

#[test]
fn what_would_happen_is_explained_with_its_reasons() {
    let home = Home::new();
    let out = home.run(&["policy", "explain", "idle"]).success().out;
    for line in [
        "  figures          -     the policy tidy does not run it on idle",
        "  gc               runs  on idle, by the policy tidy, about 100 MiB",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let out = home
        .run(&[
            "policy",
            "explain",
            "idle",
            "--free",
            "1 MiB",
            "--takes-ms",
            "900",
        ])
        .success()
        .out;
    assert!(
        out.contains("it would free about 1.0 MiB, less than 8.0 MiB"),
        "{out}"
    );
    let error = home.run(&["policy", "explain", "sometimes"]).failure();
    assert!(
        error.contains("there is no trigger `sometimes`; use one of after_cell, idle"),
        "{error}"
    );
}

#[test]
fn the_schema_is_json() {
    let schema = Home::new().run(&["policy", "schema"]).success().json();
    assert!(matches!(
        schema["properties"]["policy"]["properties"]["name"],
        Value::Object(_)
    ));
}
