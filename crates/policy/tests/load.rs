//! Sources to a configuration, row by row.

mod support;

use std::path::PathBuf;

use policy::{
    BadgeMode, Config, KEYS, LogLevel, Policy, PolicyName, Source, Step, Steps, StreamLimit,
    Trigger, load,
};
use proptest::prelude::*;
use support::{env, good, pairs, problems, project, pyproject, user};

#[test]
fn nothing_configured_is_the_default() {
    assert_eq!(good(&[]), Config::default());
    assert_eq!(
        good(&[
            user(""),
            project("# nothing\n"),
            env(&[]),
            Source::CommandLine(Vec::new())
        ]),
        Config::default()
    );
}

#[test]
fn every_key_can_be_set_in_a_file() {
    let text = r#"
        badge = "warn"
        min_delta = 0
        details_delta = "2 MiB"
        stream_limit = "1 MiB"
        measure = false
        reset_peak = false
        gpu = false
        timeline_ms = 10
        memory_limit = "4 GiB"
        explain_budget_ms = 0
        python = "/opt/py/bin/python"
        [finding]
        out_bytes = "1.5 GiB"
        traceback_bytes = "500MB"
        growth_bytes = 0x10
        [policy]
        name = "custom"
        after_cell = ["gc"]
        on_idle = ["gc", "malloc_trim"]
        on_exception = ["torch_cache"]
        on_pressure = ["figures"]
        on_finding = ["clear_out"]
        before_cell = ["arrow_pool"]
        idle_s = 30
        pressure = 70
        gpu_pressure = 60
        causes = ["figures"]
        min_bytes = "1 MiB"
        time_box_ms = 100
        backoff = 4
        out_bytes = "2 MiB"
        traceback_bytes = "3 MiB"
        keep_names = ["model", "df_*"]
        keep_types = ["DataFrame"]
        keep_tags = ["mine"]
        [log]
        level = "debug"
        file = "/var/log/hygiene"
    "#;
    let config = good(&[user(text)]);
    assert_eq!(config.badge, BadgeMode::Warn);
    assert_eq!((config.min_delta, config.details_delta), (0, 2 << 20));
    assert_eq!(config.stream_limit, StreamLimit::Bytes(1 << 20));
    assert_eq!(
        (config.measure, config.reset_peak, config.gpu),
        (false, false, false)
    );
    assert_eq!(
        (
            config.timeline_ms,
            config.explain_budget_ms,
            config.memory_limit
        ),
        (10, 0, Some(4 << 30))
    );
    assert_eq!(config.python, Some(PathBuf::from("/opt/py/bin/python")));
    let finding = config.finding;
    assert_eq!(
        (
            finding.out_bytes,
            finding.traceback_bytes,
            finding.growth_bytes
        ),
        (3 << 29, 500_000_000, 16)
    );
    let lists = [
        &[Step::Gc][..],
        &[Step::Gc, Step::MallocTrim],
        &[Step::TorchCache],
        &[Step::Figures],
        &[Step::ClearOut],
        &[Step::ArrowPool],
    ];
    assert_eq!(
        config.policy,
        Policy {
            name: PolicyName::Custom,
            lists: lists.map(Steps::of),
            idle_s: 30,
            pressure: 70,
            gpu_pressure: 60,
            causes: vec!["figures".into()],
            min_bytes: 1 << 20,
            time_box_ms: 100,
            backoff: 4,
            out_bytes: 2 << 20,
            traceback_bytes: 3 << 20,
            keep_names: vec!["model".into(), "df_*".into()],
            keep_types: vec!["DataFrame".into()],
            keep_tags: vec!["mine".into()],
        }
    );
    assert_eq!(
        (config.log.level, config.log.file),
        (LogLevel::Debug, Some(PathBuf::from("/var/log/hygiene")))
    );
}

#[test]
fn a_list_is_written_with_commas_where_all_is_text() {
    for text in [
        "gc, malloc_trim",
        "[\"gc\", 'malloc_trim']",
        " GC,Malloc_Trim ",
    ] {
        let config = good(&[env(&[
            ("RUST_HYGIENE_POLICY_NAME", "custom"),
            ("RUST_HYGIENE_POLICY_ON_IDLE", text),
        ])]);
        let steps = Steps::of(&[Step::Gc, Step::MallocTrim]);
        assert_eq!(config.policy.steps_on(Trigger::Idle), steps, "{text}");
    }
    let config = good(&[
        user("policy.keep_names = [\"a\"]"),
        env(&[("RUST_HYGIENE_POLICY_KEEP_NAMES", "none")]),
    ]);
    assert!(config.policy.keep_names.is_empty());
}

#[test]
fn a_list_of_steps_that_nothing_reads_is_told() {
    let said = [
        "configuration: `policy.on_idle` has no effect while `policy.name` is \"tidy\"; set that to \"custom\"",
    ];
    assert_eq!(problems(&[user("policy.on_idle = [\"gc\"]")]), said);
}

#[test]
fn every_key_reads_its_own_default_from_a_file_the_environment_and_the_command_line() {
    for key in KEYS {
        let toml = key.print(&Config::default());
        assert_eq!(
            good(&[user(&format!("{} = {toml}", key.name))]),
            Config::default(),
            "{}",
            key.name
        );
        let text = toml.trim_matches('"');
        assert_eq!(
            good(&[env(&[(&key.env_name(), text)])]),
            Config::default(),
            "{}",
            key.name
        );
        assert_eq!(
            good(&[Source::CommandLine(pairs(&[(key.name, text)]))]),
            Config::default(),
            "{}",
            key.name
        );
    }
}

#[test]
fn a_later_source_wins_key_by_key() {
    let sources = [
        user("badge = \"warn\"\ngpu = false\nmin_delta = 1"),
        project("badge = \"off\"\nmin_delta = 2"),
        env(&[
            ("RUST_HYGIENE_MIN_DELTA", "3"),
            ("RUST_HYGIENE_LOG_LEVEL", "info"),
            ("PATH", "/bin"),
        ]),
        Source::CommandLine(pairs(&[("log.level", "TRACE")])),
    ];
    let config = good(&sources);
    assert_eq!(
        (config.badge, config.gpu, config.min_delta),
        (BadgeMode::Off, false, 3)
    );
    assert_eq!(config.log.level, LogLevel::Trace);
}

#[test]
fn the_environment_and_the_command_line_know_words_for_yes_and_no() {
    for (text, value) in [
        ("1", true),
        ("yes", true),
        ("On", true),
        ("true", true),
        ("0", false),
        ("no", false),
        ("OFF", false),
    ] {
        let set = project(&format!("gpu = {}", !value));
        assert_eq!(
            good(&[set, env(&[("RUST_HYGIENE_GPU", text)])]).gpu,
            value,
            "{text}"
        );
    }
    assert!(
        good(&[env(&[("RUST_HYGIENE_GPU", " ")])]).gpu,
        "an empty variable is not set"
    );
}

#[test]
fn only_its_own_table_of_a_pyproject_is_read() {
    let text = "badge = 7\n[tool.ruff]\nline-length = 110\n[tool.rust-hygiene]\ngpu = false\nlog.level = \"info\"";
    let config = good(&[pyproject(text)]);
    assert_eq!((config.gpu, config.log.level), (false, LogLevel::Info));
    assert_eq!(
        good(&[pyproject("[project]\nname = \"x\"")]),
        Config::default()
    );
    assert_eq!(
        problems(&[pyproject("[tool]\nrust-hygiene = 3")]),
        ["/code/pyproject.toml: `tool.rust-hygiene` must be a table"]
    );
}

#[test]
fn a_path_counts_from_the_folder_of_its_file_and_a_bare_name_from_path() {
    let table = [
        ("python3.12", Some("python3.12")),
        ("./python", Some("/home/me/./python")),
        (".venv/bin/python", Some("/home/me/.venv/bin/python")),
        ("/usr/bin/python3", Some("/usr/bin/python3")),
        ("auto", None),
    ];
    for (text, path) in table {
        let config = good(&[user(&format!("python = \"{text}\""))]);
        assert_eq!(
            config.python.as_deref(),
            path.map(std::path::Path::new),
            "{text}"
        );
        if text.starts_with('.') {
            let config = good(&[env(&[("RUST_HYGIENE_PYTHON", text)])]);
            assert_eq!(
                config.python,
                Some(PathBuf::from(text)),
                "from the environment it is taken as it is"
            );
        }
    }
}

#[test]
fn the_example_file_names_every_key_and_says_nothing_new() {
    let example = Config::example_toml();
    assert_eq!(good(&[user(&example)]), Config::default());
    let uncommented: String = example
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(good(&[user(&uncommented)]), Config::default());
    let set = uncommented
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(" = "))
        .count();
    assert_eq!(set, KEYS.len());
}

/// Texts that are nearly a configuration.
fn nearly() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        (
            prop::sample::select(KEYS.iter().map(|key| key.name).collect::<Vec<_>>()),
            ".{0,12}"
        )
            .prop_map(|(k, v)| format!("{k} = {v}")),
        (
            prop::sample::select(KEYS.iter().map(|key| key.name).collect::<Vec<_>>()),
            any::<i64>()
        )
            .prop_map(|(k, v)| format!("{k} = {v}")),
        "[a-z_]{1,12} = \"[ -~]{0,12}\"",
        Just("[finding]".to_owned()),
        Just("[log]".to_owned()),
        ".{0,40}",
    ];
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_loads_into_a_configuration_within_its_bounds(text in nearly(), value: String) {
        let set: Vec<(String, String)> = KEYS.iter().map(|key| (key.env_name(), value.clone())).collect();
        let (config, problems) = load(&[user(&text), pyproject(&text), Source::Env(set)]);
        prop_assert!((10..=1000).contains(&config.timeline_ms) && config.explain_budget_ms <= 10_000);
        for problem in problems {
            prop_assert!(!problem.to_string().contains(|c: char| c.is_control()), "{}", problem);
        }
    }
}
