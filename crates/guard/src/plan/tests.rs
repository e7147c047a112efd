use super::*;

const GIB: u64 = 1 << 30;

fn rules(cap: Option<u64>, may_ask: bool) -> Rules {
    Rules {
        level: GuardLevel::Protect,
        cap,
        may_ask,
    }
}

fn tick(held: u64) -> Tick {
    Tick {
        held,
        own: held,
        data: held + 300 * MIB,
        room: 16 * GIB,
        limit: 24 * GIB,
        ..Tick::default()
    }
}

fn names(actions: &[Action]) -> Vec<&'static str> {
    actions
        .iter()
        .map(|action| match action {
            Action::Limit(_) => "limit",
            Action::Warn(_) => "warn",
            Action::AskDepth => "ask",
            Action::Raise(_) => "raise",
            Action::Interrupt(_) => "interrupt",
            Action::KillChild(..) => "kill child",
            Action::Freeze(_) => "freeze",
            Action::Kill(_) => "kill",
        })
        .collect()
}

/// What is done as the memory held goes up, one look after the other.
fn course(rules: Rules, ticks: &[Tick]) -> Vec<Vec<&'static str>> {
    let mut state = State::default();
    ticks
        .iter()
        .enumerate()
        .map(|(i, tick)| {
            let tick = Tick {
                at: AGAIN * i as u32,
                ..tick.clone()
            };
            names(&state.step(rules, &tick))
        })
        .collect()
}

#[test]
fn compiled_code_of_a_library_that_aborts_is_interrupted_if_it_does_not_listen() {
    let over = Tick {
        aborts: true,
        ..tick(GIB + 9 * MIB)
    };
    let more = Tick {
        held: GIB + 12 * MIB,
        ..over.clone()
    };
    assert_eq!(
        course(
            rules(Some(GIB), false),
            &[tick(GIB / 2), over.clone(), more.clone(), more]
        )[1..],
        [
            vec!["limit", "warn", "raise"],
            vec!["raise", "interrupt"],
            vec![]
        ]
    );
}

#[test]
fn the_limit_is_what_is_mapped_and_what_may_still_be_taken() {
    let limit = |rules, tick: &Tick| match State::default().step(rules, tick)[..] {
        [Action::Limit(limit), ..] => limit,
        _ => 0,
    };
    let now = tick(GIB / 2);
    assert_eq!(limit(rules(Some(GIB), false), &now), now.data + GIB / 2);
    assert_eq!(
        limit(rules(None, false), &now),
        now.data + 16 * GIB - reserve(24 * GIB)
    );
    let full = tick(2 * GIB);
    assert_eq!(
        limit(rules(Some(GIB), false), &full),
        full.data + FLOOR,
        "small cells still run"
    );
    let aborts = Tick {
        aborts: true,
        ..now.clone()
    };
    assert!(
        limit(rules(Some(GIB), false), &aborts) > 10 * GIB,
        "no refusal for the cap"
    );
    let error = Tick {
        in_error_path: true,
        ..full.clone()
    };
    assert_eq!(
        limit(rules(Some(GIB), false), &error),
        error.data + FLOOR + ERROR_PATH
    );
    let off = Rules {
        level: GuardLevel::Off,
        ..rules(Some(1), true)
    };
    assert_eq!(State::default().step(off, &full), []);
}

#[test]
fn means_get_harder_as_the_cap_is_exceeded() {
    let above = |more: u64| tick(GIB + more * MIB);
    let up = [tick(GIB / 2), above(10), above(100), above(150), above(220)];
    let expected: [&[&str]; 5] = [
        &["limit"],
        &["warn", "raise"],
        &["raise", "interrupt"],
        &["raise"],
        &["raise", "kill"],
    ];
    let without_limits: Vec<Vec<&str>> = course(rules(Some(GIB), false), &up)
        .into_iter()
        .enumerate()
        .map(|(i, names)| {
            names
                .into_iter()
                .filter(|name| i == 0 || *name != "limit")
                .collect()
        })
        .collect();
    assert_eq!(without_limits, expected);
    assert!(course(rules(Some(GIB), true), &up)[2].contains(&"freeze"));
    let at_once = course(rules(Some(GIB), false), &[tick(GIB / 2), above(240)]);
    assert!(
        at_once[1].contains(&"kill"),
        "nobody waits far beyond the cap"
    );
}

#[test]
fn a_cell_is_asked_how_deep_it_is_whenever_half_of_the_rest_is_gone() {
    let held = [0, 400, 520, 600, 780, 910, 1000, 1020];
    let asked = course(rules(Some(GIB), true), &held.map(|held| tick(held * MIB)));
    let asked = asked.iter().map(|names| names.contains(&"ask"));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [false, false, true, false, true, true, true, false],
        "the last is too near the end"
    );
    let innocent = [tick(900 * MIB), tick(960 * MIB)];
    assert!(!course(rules(Some(GIB), true), &innocent)[1].contains(&"ask"));
}

#[test]
fn children_are_ended_before_the_interpreter_and_no_more_than_needed() {
    let children = |of: &[(u32, u64)]| Tick {
        own: 100 * MIB,
        children: of.to_vec(),
        ..tick(GIB + 300 * MIB)
    };
    let ended = |now: Tick| {
        let kills = |action: &Action| matches!(action, Action::KillChild(..));
        let mut state = State::default();
        state.step(rules(Some(GIB), true), &tick(GIB / 2));
        let done = state.step(rules(Some(GIB), true), &now);
        assert_eq!(
            done.iter().any(kills),
            !done.iter().any(|a| matches!(a, Action::Freeze(_)))
        );
        done.iter().filter(|action| kills(action)).count()
    };
    assert_eq!(
        ended(children(&[(7, 200 * MIB), (8, 200 * MIB), (9, 200 * MIB)])),
        2
    );
    assert_eq!(ended(children(&[(7, 800 * MIB), (8, 400 * MIB)])), 1);
    assert_eq!(
        ended(children(&[(7, 200 * MIB), (8, 20 * MIB)])),
        1,
        "a small one has not done it"
    );
    assert_eq!(ended(children(&[(7, 20 * MIB)])), 0);
}

#[test]
fn who_has_taken_nothing_is_left_alone() {
    let low = Tick {
        room: 10 * MIB,
        ..tick(GIB)
    };
    assert_eq!(
        course(rules(None, true), &[low.clone(), low.clone()])[1],
        Vec::<&str>::new()
    );
    let more = Tick {
        room: 10 * MIB,
        ..tick(GIB + 100 * MIB)
    };
    let done = &course(rules(None, true), &[low, more])[1];
    assert!(
        done.contains(&"raise") && done.contains(&"freeze"),
        "{done:?}"
    );
}

#[test]
fn warn_only_warns_and_grace_is_kept() {
    let warn = Rules {
        level: GuardLevel::Warn,
        ..rules(Some(GIB), false)
    };
    assert_eq!(
        course(warn, &[tick(GIB / 2), tick(3 * GIB)]),
        [vec![], vec!["warn"]]
    );
    let mut state = State {
        grace_until: Some(Duration::from_secs(9)),
        ..State::default()
    };
    state.step(rules(Some(GIB), false), &tick(0));
    let over = Tick {
        at: Duration::from_secs(1),
        ..tick(3 * GIB)
    };
    assert!(!names(&state.step(rules(Some(GIB), false), &over)).contains(&"raise"));
}

#[test]
fn the_nearer_the_more_often() {
    let pause = |held| State::pause(rules(Some(GIB), false), &tick(held)).as_millis();
    assert_eq!(
        [pause(0), pause(GIB - 300 * MIB), pause(GIB - MIB)],
        [100, 10, 5]
    );
}
