use serde_json::{Value, json};

use crate::home::{Home, Run, word};

#[track_caller]
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// The verdict and the exit code must say the same.
#[track_caller]
fn report(run: Run) -> Value {
    let report = run.json();
    assert_eq!(report["ok"], run.code == 0, "{report:#}");
    report
}

#[test]
fn a_good_python_and_an_installed_kernel_are_well() {
    let home = Home::new();
    let python = home.good_python();
    home.run(&["install", "--python", word(&python)]).success();
    let report = report(home.run(&["doctor", "--json", "--python", word(&python)]));
    assert_eq!(report["ok"], true, "{report:#}");
    for name in ["interpreter", "python", "ipython", "kernelspec"] {
        assert_eq!(check(&report, name)["status"], "ok", "{name}");
    }
    for name in [
        "peak",
        "shared pages",
        "process tree",
        "memory",
        "gpu",
        "configuration",
    ] {
        assert_ne!(check(&report, name)["status"], "fail", "{name}");
    }
}

#[test]
fn the_rule_that_chose_the_python_is_named() {
    let home = Home::new();
    let python = home.good_python();
    let env = word(&home.path("env")).to_owned();
    for (variable, value) in [
        ("RUST_HYGIENE_PYTHON", word(&python)),
        ("VIRTUAL_ENV", env.as_str()),
        ("CONDA_PREFIX", env.as_str()),
    ] {
        let report = report(home.run_with(&["doctor", "--json"], &[(variable, value)], b""));
        let message = check(&report, "interpreter")["message"].as_str().unwrap();
        assert!(
            message.contains(variable) && message.contains(word(&python)),
            "{message}"
        );
    }
}

#[test]
fn each_thing_that_stops_the_kernel_fails_with_advice() {
    let home = Home::new();
    let old_python = home.python("old", 9, json!({"version": "9.1.0"}));
    let old_ipython = home.python("stale", 12, json!({"version": "8.11.0"}));
    let bare = home.python(
        "bare",
        12,
        json!({"error": "ModuleNotFoundError: No module named 'IPython'"}),
    );
    let nowhere = home.path("nowhere");
    for (python, name) in [
        (&old_python, "python"),
        (&old_ipython, "ipython"),
        (&bare, "ipython"),
        (&nowhere, "interpreter"),
    ] {
        let report = report(home.run(&["doctor", "--json", "--python", word(python)]));
        let check = check(&report, name);
        assert_eq!(check["status"], "fail", "{check}");
        assert!(check["advice"].is_string(), "{check}");
    }
}

#[test]
fn without_any_python_the_doctor_still_reports_everything_else() {
    let home = Home::new();
    let run = home.run(&["doctor"]);
    assert_eq!(run.code, 1);
    assert!(run.out.starts_with("FAIL  interpreter"), "{}", run.out);
    assert!(run.out.contains("\nwarn  kernelspec"), "{}", run.out);
    assert!(run.out.contains("configuration"), "{}", run.out);
}

#[test]
fn a_configuration_is_judged_by_the_rules_of_the_kernel() {
    let home = Home::new();
    let folder = home.path("settings");
    let config = folder.join("rust-hygiene/config.toml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    for (text, expected) in [
        (None, "info"),
        (Some("badge = \"warn\""), "ok"),
        (Some("badge = \"loud\""), "warn"),
        (Some("bagde = \"warn\""), "warn"),
        (Some("a ="), "warn"),
    ] {
        if let Some(text) = text {
            std::fs::write(&config, text).unwrap();
        }
        let report = report(home.run_with(
            &["doctor", "--json"],
            &[("XDG_CONFIG_HOME", word(&folder))],
            b"",
        ));
        assert_eq!(
            check(&report, "configuration")["status"],
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn a_real_python_is_understood() {
    let ask = "import sys; print(sys.executable, '%d.%d.%d' % sys.version_info[:3])";
    let output = std::process::Command::new("python3")
        .args(["-c", ask])
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let (python, version) = answer.trim().rsplit_once(' ').unwrap();
    let home = Home::new();
    let report = report(home.run(&["doctor", "--json", "--python", python]));
    let message = check(&report, "python")["message"].as_str().unwrap();
    assert!(message.contains(version), "{message}");
    assert!(check(&report, "ipython")["message"].is_string());
}
