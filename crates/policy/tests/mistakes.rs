//! What a person is told of a mistake, and that all else still holds.

mod support;

use policy::{BadgeMode, Config, KEYS, Source, load};
use support::{env, pairs, problems, project, user};

#[test]
fn a_mistake_names_the_file_the_line_the_key_and_what_is_allowed() {
    const HOME: &str = "/home/me/config.toml, line 2: ";
    let table = [
        (
            "bagde = \"off\"",
            "unknown key `bagde`; did you mean `badge`?",
        ),
        (
            "finding.outbytes = 1",
            "unknown key `finding.outbytes`; did you mean `finding.out_bytes`?",
        ),
        (
            "badge = \"loud\"",
            "`badge`: \"loud\" is not allowed; use one of auto, output, warn, metadata, off",
        ),
        (
            "badge = true",
            "`badge`: true is not allowed; use one of auto, output, warn, metadata, off",
        ),
        (
            "badge.mode = 1",
            "`badge`: this table is not allowed; use one of auto, output, warn, metadata, off",
        ),
        (
            "min_delta = \"4 gigs\"",
            "`min_delta`: \"4 gigs\": `gigs` is not a unit; use B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)",
        ),
        (
            "stream_limit = 0",
            "`stream_limit`: 0 is not allowed; use \"none\" for no limit, or a size from \"1 KiB\" on",
        ),
        (
            "stream_limit = \"much\"",
            "`stream_limit`: \"much\": not a size; write for instance \"4 GiB\", \"500MB\" or a number of bytes, or \"none\", or \"auto\"",
        ),
        ("min_delta = -1", "`min_delta`: -1: a size is not negative"),
        (
            "min_delta = 1.5",
            "`min_delta`: this fraction is not allowed; use a size such as \"4 GiB\", \"500MB\" or a number of bytes",
        ),
        (
            "memory_limit = \"much\"",
            "`memory_limit`: \"much\": not a size; write for instance \"4 GiB\", \"500MB\" or a number of bytes, or \"none\"",
        ),
        (
            "gpu = \"true\"",
            "`gpu`: \"true\" is not allowed; use true or false, without quotes",
        ),
        ("gpu = 1", "`gpu`: 1 is not allowed; use true or false"),
        (
            "timeline_ms = 9",
            "`timeline_ms`: 9 is not allowed; use a whole number from 10 to 1000",
        ),
        (
            "timeline_ms = 1001",
            "`timeline_ms`: 1001 is not allowed; use a whole number from 10 to 1000",
        ),
        (
            "timeline_ms = [50]",
            "`timeline_ms`: this list is not allowed; use a whole number from 10 to 1000",
        ),
        (
            "python = \"~/py\"",
            "`python`: \"~/py\": `~` is not expanded; write the whole path",
        ),
        (
            "python = \"\"",
            "`python`: \"\" is not allowed; use a path or \"auto\"",
        ),
        (
            "policy.name = \"tidyer\"",
            "`policy.name`: \"tidyer\" is not allowed; use one of observe, suggest, tidy, strict, custom",
        ),
        (
            "policy.on_idel = [\"gc\"]",
            "unknown key `policy.on_idel`; did you mean `policy.on_idle`?",
        ),
        (
            "policy.on_idle = [\"gc\", \"trim\"]",
            "`policy.on_idle`: \"trim\" is not known; use a list of clear_traceback, clear_out, figures, gc, ",
        ),
        (
            "policy.on_idle = \"gc\"",
            "`policy.on_idle`: \"gc\" is not allowed; use a list of clear_traceback, ",
        ),
        (
            "policy.keep_names = [1]",
            "`policy.keep_names`: this list is not allowed; use a list such as [\"a\", \"b\"]",
        ),
        (
            "log.colour = 1",
            "unknown key `log.colour`; there are finding.…, policy.…, guard.…, journal.…, log.level, log.file",
        ),
        ("log = \"debug\"", "unknown key `log`; there are "),
    ];
    for (line, said) in table {
        // The other key of the file still holds.
        let (config, problems) = load(&[user(&format!("explain_budget_ms = 7\n{line}"))]);
        let printed = problems[0].to_string();
        assert!(
            printed.starts_with(&format!("{HOME}{said}")),
            "{line}: {printed}"
        );
        assert_eq!(problems.len(), 1, "{line}");
        assert_eq!(
            config,
            Config {
                explain_budget_ms: 7,
                ..Config::default()
            },
            "{line}"
        );
    }
}

#[test]
fn a_mistake_in_the_environment_or_on_the_command_line_names_what_was_written() {
    let sources = [
        env(&[
            ("RUST_HYGIENE_BADGE", "loud"),
            ("RUST_HYGIENE_MINDELTA", "1"),
            ("RUST_HYGIENE_GPU", "perhaps"),
        ]),
        Source::CommandLine(pairs(&[("gpus", "1"), ("timeline_ms", "soon")])),
    ];
    let said = [
        "environment: RUST_HYGIENE_BADGE: `badge`: \"loud\" is not allowed; use one of auto, output, warn, metadata, off",
        "environment: unknown key `RUST_HYGIENE_MINDELTA`; did you mean `RUST_HYGIENE_MIN_DELTA`?",
        "environment: RUST_HYGIENE_GPU: `gpu`: \"perhaps\" is not allowed; use true or false",
        "command line: unknown key `gpus`; did you mean `gpu`?",
        "command line: `timeline_ms`: \"soon\" is not allowed; use a whole number from 10 to 1000",
    ];
    assert_eq!(problems(&sources), said);
}

#[test]
fn a_bad_value_leaves_the_key_as_the_sources_before_it_set_it() {
    let (config, problems) = load(&[user("badge = \"off\""), project("badge = \"lowd\"")]);
    assert_eq!((config.badge, problems.len()), (BadgeMode::Off, 1));
}

#[test]
fn a_file_that_is_not_toml_is_one_problem_with_its_place_and_changes_nothing() {
    let (config, problems) = load(&[
        user("gpu = false\nbadge = = 1\n"),
        env(&[("RUST_HYGIENE_MIN_DELTA", "5")]),
    ]);
    assert_eq!(
        config,
        Config {
            min_delta: 5,
            ..Config::default()
        }
    );
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].line, problems[0].column), (Some(2), Some(9)));
    let said = problems[0].to_string();
    assert!(
        said.starts_with("/home/me/config.toml, line 2, column 9: not TOML: ")
            && !said.contains('\n'),
        "{said}"
    );
    let twice = self::problems(&[user("gpu = false\ngpu = true")]);
    assert!(twice.len() == 1 && twice[0].contains("line 2"), "{twice:?}");
}

#[test]
fn a_project_may_not_name_a_program_to_run_or_a_file_to_write_to() {
    let (config, problems) = load(&[project(
        "python = \"./evil\"\ngpu = false\n[log]\nfile = \"/home/me/.profile\"",
    )]);
    assert_eq!(
        config,
        Config {
            gpu: false,
            ..Config::default()
        }
    );
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "/code/rust-hygiene.toml, line 1: `python` may not stand in a project's file; set it in your own or as RUST_HYGIENE_PYTHON",
            "/code/rust-hygiene.toml, line 4: `log.file` may not stand in a project's file; set it in your own or as RUST_HYGIENE_LOG_FILE",
        ]
    );
    let named: Vec<&str> = KEYS
        .iter()
        .filter(|key| !key.in_project)
        .map(|key| key.name)
        .collect();
    assert_eq!(named, ["python", "journal.source", "log.file"]);
}

#[test]
fn problems_are_told_in_the_order_of_the_lines_and_too_many_are_counted() {
    let text: String = (0..50).map(|i| format!("nonsense{i} = 1\n")).collect();
    let (_, problems) = load(&[user(&text)]);
    let lines: Vec<Option<usize>> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines[..20], (1..=20).map(Some).collect::<Vec<_>>());
    assert_eq!(problems.len(), 21);
    assert_eq!(
        problems[20].to_string(),
        "/home/me/config.toml: 30 more problems"
    );
}

#[test]
fn a_problem_repeats_no_control_character_and_nothing_endless() {
    let long = "x".repeat(100_000);
    let sources = [user(&format!(
        "badge = \"\\u001b[2J{long}\"\n\"\\u0007{long}\" = 1"
    ))];
    for said in problems(&sources) {
        assert!(
            said.len() < 500 && !said.contains(|c: char| c.is_control()),
            "{said}"
        );
    }
}
