//! For every trigger and step: the configuration that enables it, one that forbids it, and the reason that is printed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use policy::{
    Backoff, Config, Decision, Occasion, Offer, Offers, Policy, PolicyName, Step, Steps, Trigger,
    Verdict, decide,
};
use support::{good, user};

const MIB: u64 = 1 << 20;

/// Every step has much to give back, and nothing speaks against it.
fn offers() -> Offers {
    let offer = Offer {
        bytes: Some(900 * MIB),
        seconds: Some(0.1),
        refusal: None,
    };
    Step::ALL
        .into_iter()
        .map(|step| (step, offer.clone()))
        .collect()
}

fn occasion(trigger: Trigger) -> Occasion {
    Occasion {
        trigger: Some(trigger),
        findings: Step::ALL
            .into_iter()
            .map(|step| ("pool_cache".to_owned(), step))
            .collect(),
        moved: 900 * MIB,
        resident: 2000 * MIB,
        ..Occasion::default()
    }
}

fn of(decisions: Vec<Decision>, step: Step) -> (Verdict, String) {
    let decision = decisions.into_iter().find(|d| d.step == step).unwrap();
    (decision.verdict, decision.reason.to_string())
}

fn decided(config: &Config, trigger: Trigger, step: Step) -> (Verdict, String) {
    let decisions = decide(
        &config.policy,
        &occasion(trigger),
        &offers(),
        &Backoff::default(),
    );
    of(decisions, step)
}

fn list_key(trigger: Trigger) -> &'static str {
    trigger.key().strip_prefix("policy.").unwrap()
}

#[test]
fn for_every_trigger_and_step_a_custom_list_enables_it_and_its_absence_forbids_it() {
    for trigger in Trigger::OF_POLICIES {
        for step in Step::ALL {
            let key = list_key(trigger);
            let enables = format!("[policy]\nname = \"custom\"\n{key} = [\"{step}\"]");
            assert_eq!(
                decided(&good(&[user(&enables)]), trigger, step),
                (
                    Verdict::Run,
                    format!("on {trigger}, by the policy custom, about 900 MiB")
                ),
                "{enables}"
            );
            let others: Vec<String> = Step::ALL
                .into_iter()
                .filter(|&other| other != step)
                .map(|other| format!("\"{other}\""))
                .collect();
            let forbids = format!(
                "[policy]\nname = \"custom\"\n{key} = [{}]",
                others.join(", ")
            );
            assert_eq!(
                decided(&good(&[user(&forbids)]), trigger, step),
                (Verdict::No, format!("`policy.{key}` does not list it")),
                "{forbids}"
            );
            assert_eq!(
                decided(&good(&[user("policy.name = \"observe\"")]), trigger, step),
                (Verdict::No, "the policy observe runs nothing".to_owned())
            );
            assert_eq!(
                decided(&good(&[user("policy.name = \"suggest\"")]), trigger, step).0,
                Verdict::Suggest
            );
        }
    }
}

/// What the named policies run: R run, . not. Columns are `Trigger::OF_POLICIES`.
#[test]
fn the_named_policies_run_what_their_table_says() {
    let table = [
        (Step::ClearTraceback, "......", ".R.RRR"),
        (Step::ClearOut, "......", ".R.RRR"),
        (Step::Figures, "......", ".R.RRR"),
        (Step::Gc, "RRRRRR", "RRRRRR"),
        (Step::TorchCache, "....R.", ".RRRRR"),
        (Step::PinnedCache, "......", ".RRRRR"),
        (Step::CupyPool, "......", ".RRRRR"),
        (Step::IdleWorkers, "....R.", ".RRRRR"),
        (Step::ArrowPool, "RRRRRR", "RRRRRR"),
        (Step::AllocatorPurge, "RRRRRR", "RRRRRR"),
        (Step::MallocTrim, "RRRRRR", "RRRRRR"),
    ];
    assert_eq!(table.map(|(step, ..)| step), Step::ALL);
    for (step, tidy, strict) in table {
        for (name, row) in [("tidy", tidy), ("strict", strict)] {
            let config = good(&[user(&format!("policy.name = \"{name}\""))]);
            for (trigger, mark) in Trigger::OF_POLICIES.into_iter().zip(row.chars()) {
                let (verdict, reason) = decided(&config, trigger, step);
                let expected = if mark == 'R' {
                    (
                        Verdict::Run,
                        format!("on {trigger}, by the policy {name}, about 900 MiB"),
                    )
                } else {
                    (
                        Verdict::No,
                        format!("the policy {name} does not run it on {trigger}"),
                    )
                };
                assert_eq!((verdict, reason), expected, "{step} {name} {trigger}");
            }
        }
    }
}

type Change = fn(&mut Policy, &mut Occasion, &mut Offers, &mut Backoff);

/// Changes of an ordinary occasion, the step that they forbid or allow, and what is printed.
#[test]
fn limits_exclusions_and_refusals_each_have_their_reason() {
    use Verdict::{No, Run};
    let table: &[(&str, Trigger, Step, Change, Verdict, &str)] = &[
        (
            "too little",
            Trigger::Idle,
            Step::Gc,
            |_, _, offers, _| offers.get_mut(&Step::Gc).unwrap().bytes = Some(3 * MIB),
            No,
            "it would free about 3.0 MiB, less than 8.0 MiB",
        ),
        (
            "a lower bar",
            Trigger::Idle,
            Step::Gc,
            |policy, _, offers, _| {
                policy.min_bytes = MIB;
                offers.get_mut(&Step::Gc).unwrap().bytes = Some(3 * MIB);
            },
            Run,
            "on idle, by the policy strict, about 3.0 MiB",
        ),
        (
            "slack under 32 MiB",
            Trigger::Idle,
            Step::MallocTrim,
            |_, occasion, offers, _| {
                occasion.resident = 40 * MIB;
                offers.get_mut(&Step::MallocTrim).unwrap().bytes = Some(20 * MIB);
            },
            No,
            "it would free about 20 MiB, less than 32 MiB",
        ),
        (
            "slack under a tenth of what is resident",
            Trigger::Idle,
            Step::MallocTrim,
            |_, occasion, offers, _| {
                occasion.resident = 10_240 * MIB;
                offers.get_mut(&Step::MallocTrim).unwrap().bytes = Some(900 * MIB);
            },
            No,
            "it would free about 900 MiB, less than 1.0 GiB",
        ),
        (
            "it takes too long",
            Trigger::Idle,
            Step::Gc,
            |_, _, offers, _| offers.get_mut(&Step::Gc).unwrap().seconds = Some(1.2),
            No,
            "it would take about 1200 ms, more than 500 ms",
        ),
        (
            "it takes long, but memory is short",
            Trigger::Pressure,
            Step::Gc,
            |_, _, offers, _| offers.get_mut(&Step::Gc).unwrap().seconds = Some(1.2),
            Run,
            "on pressure, by the policy strict, about 900 MiB",
        ),
        (
            "nothing has moved",
            Trigger::Idle,
            Step::Gc,
            |_, occasion, offers, _| {
                occasion.moved = MIB;
                offers.get_mut(&Step::Gc).unwrap().bytes = None;
            },
            No,
            "only 1.0 MiB moved since the last time, less than 8.0 MiB",
        ),
        (
            "nothing has moved since it ran",
            Trigger::Idle,
            Step::Gc,
            |_, occasion, offers, _| {
                occasion.moved_when.insert(Step::Gc, 899 * MIB);
                offers.get_mut(&Step::Gc).unwrap().bytes = None;
            },
            No,
            "only 1.0 MiB moved since the last time, less than 8.0 MiB",
        ),
        (
            "nothing has moved, but figures were closed",
            Trigger::Idle,
            Step::Gc,
            |_, occasion, offers, backoff| {
                occasion.moved = 0;
                backoff.ran(Step::Gc, false, 16);
                occasion.done = Steps::of(&[Step::Figures]);
                offers.get_mut(&Step::Gc).unwrap().bytes = None;
            },
            Run,
            "on idle, by the policy strict",
        ),
        (
            "it backs off",
            Trigger::Idle,
            Step::ArrowPool,
            |_, occasion, _, backoff| {
                occasion.moved_when.insert(Step::ArrowPool, 890 * MIB);
                backoff.ran(Step::ArrowPool, false, 16);
                backoff.ran(Step::ArrowPool, false, 16);
            },
            No,
            "it freed nothing lately; passed over 2 more times",
        ),
        (
            "the interpreter refuses",
            Trigger::Idle,
            Step::TorchCache,
            |_, _, offers, _| {
                offers.get_mut(&Step::TorchCache).unwrap().refusal =
                    Some("CUDA is not in use".into());
            },
            No,
            "CUDA is not in use",
        ),
        (
            "the interpreter has nothing for it",
            Trigger::Idle,
            Step::CupyPool,
            |_, _, offers, _| drop(offers.remove(&Step::CupyPool)),
            No,
            "there is nothing for it to do",
        ),
        (
            "it ran already",
            Trigger::Idle,
            Step::Figures,
            |_, occasion, _, _| occasion.done = Steps::of(&[Step::Figures]),
            No,
            "it has run",
        ),
        (
            "the cell is kept",
            Trigger::Idle,
            Step::ClearOut,
            |_, occasion, _, _| occasion.kept = Some("`# hygiene: keep`".into()),
            No,
            "the cell is kept by `# hygiene: keep`",
        ),
        (
            "a kept cell keeps its results, not its garbage",
            Trigger::Idle,
            Step::Gc,
            |_, occasion, _, _| occasion.kept = Some("`# hygiene: keep`".into()),
            Run,
            "on idle, by the policy strict, about 900 MiB",
        ),
        (
            "the exception is new",
            Trigger::Idle,
            Step::ClearTraceback,
            |_, occasion, _, _| occasion.last_failed = true,
            No,
            "the exception was just raised; %debug may want it",
        ),
        (
            "the exception is new, but memory is short",
            Trigger::Pressure,
            Step::ClearTraceback,
            |_, occasion, _, _| occasion.last_failed = true,
            Run,
            "on pressure, by the policy strict, about 900 MiB",
        ),
        (
            "no finding",
            Trigger::Finding,
            Step::ArrowPool,
            |_, occasion, _, _| occasion.findings.clear(),
            No,
            "no finding is about what it frees",
        ),
        (
            "a finding of a cause that is not listed",
            Trigger::Finding,
            Step::ArrowPool,
            |policy, _, _, _| policy.causes = vec!["figures".into()],
            No,
            "`policy.causes` does not list pool_cache",
        ),
        (
            "a finding of a cause that is listed",
            Trigger::Finding,
            Step::ArrowPool,
            |policy, _, _, _| policy.causes = vec!["figures".into(), "pool_cache".into()],
            Run,
            "on finding, by the policy strict, about 900 MiB",
        ),
        (
            "free pages after a finding's step",
            Trigger::Finding,
            Step::MallocTrim,
            |_, occasion, _, _| {
                occasion.findings.clear();
                occasion.done = Steps::of(&[Step::Gc]);
            },
            Run,
            "on finding, by the policy strict, about 900 MiB",
        ),
        (
            "asked for by name: no limit holds",
            Trigger::Asked,
            Step::Gc,
            |policy, occasion, offers, backoff| {
                policy.name = PolicyName::Observe;
                occasion.asked = Steps::of(&[Step::Gc]);
                occasion.kept = Some("a tag".into());
                backoff.ran(Step::Gc, false, 16);
                *offers.get_mut(&Step::Gc).unwrap() = Offer {
                    bytes: Some(1),
                    seconds: Some(60.0),
                    refusal: None,
                };
            },
            Run,
            "asked for, about 1 B",
        ),
        (
            "asked for by name: what cannot be done is said",
            Trigger::Asked,
            Step::Gc,
            |_, occasion, offers, _| {
                occasion.asked = Steps::of(&[Step::Gc]);
                offers.get_mut(&Step::Gc).unwrap().refusal = Some("no".into());
            },
            No,
            "no",
        ),
        (
            "others were asked for",
            Trigger::Asked,
            Step::Gc,
            |_, occasion, _, _| occasion.asked = Steps::of(&[Step::MallocTrim]),
            No,
            "it was not asked for",
        ),
    ];
    for (what, trigger, step, change, verdict, reason) in table {
        let mut policy = Policy {
            name: PolicyName::Strict,
            ..Policy::default()
        };
        let (mut occasion, mut offers, mut backoff) =
            (occasion(*trigger), offers(), Backoff::default());
        change(&mut policy, &mut occasion, &mut offers, &mut backoff);
        let decisions = decide(&policy, &occasion, &offers, &backoff);
        assert_eq!(
            of(decisions, *step),
            (*verdict, (*reason).to_owned()),
            "{what}"
        );
    }
}

#[test]
fn without_an_occasion_nothing_is_decided() {
    let decisions = decide(
        &Policy::default(),
        &Occasion::default(),
        &offers(),
        &Backoff::default(),
    );
    assert_eq!(decisions, []);
}
