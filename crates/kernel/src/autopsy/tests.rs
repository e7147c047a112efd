use super::*;
use Confidence::Certain;
use Confidence::Likely;

fn killed<'a>() -> Evidence<'a> {
    Evidence {
        exit: Some(Exit::Signal(libc::SIGKILL)),
        ..Evidence::default()
    }
}

fn kills(group: Option<u64>, machine: Option<u64>) -> Kills {
    Kills { group, machine }
}

#[test]
fn a_sigkill_is_told_apart_by_the_systems_counters_and_the_last_readings() {
    use DeathCause::Killed;
    use DeathCause::OutOfMemory;
    let full = (Some(95), Some(100));
    let low = (Some(10), Some(100));
    for (name, kills, (peak, limit), available, expected) in [
        (
            "the group's counter rose",
            kills(Some(1), Some(1)),
            low,
            None,
            (OutOfMemory, Certain),
        ),
        (
            "only the machine's is known, and it rose",
            kills(None, Some(1)),
            low,
            None,
            (OutOfMemory, Likely),
        ),
        (
            "another group lost a process",
            kills(Some(0), Some(1)),
            low,
            None,
            (Killed, Certain),
        ),
        (
            "no counters, near the limit",
            kills(None, None),
            full,
            None,
            (OutOfMemory, Likely),
        ),
        (
            "no counters, the machine was full",
            kills(None, None),
            low,
            Some(2),
            (OutOfMemory, Likely),
        ),
        (
            "near the limit, but nothing was killed",
            kills(Some(0), Some(0)),
            full,
            None,
            (Killed, Certain),
        ),
        (
            "no counters, far from the limit",
            kills(None, None),
            low,
            Some(60),
            (Killed, Certain),
        ),
        (
            "nothing is known",
            kills(None, None),
            (None, None),
            None,
            (Killed, Certain),
        ),
    ] {
        let evidence = Evidence {
            kills,
            peak,
            limit,
            available,
            ..killed()
        };
        let death = evidence.judge();
        assert_eq!((death.cause, death.confidence), expected, "{name}");
        assert!(
            death.message.contains("SIGKILL"),
            "{name}: {}",
            death.message
        );
        assert_eq!(
            death.message.contains("likely"),
            expected.1 == Likely,
            "{name}"
        );
    }
}

fn crash<'a>(signal: i32, reason: &str, deep: bool, stderr: &'a str) -> Evidence<'a> {
    let frames = vec!["Cell In[1], line 1, in f".to_owned(); 5];
    Evidence {
        exit: Some(Exit::Signal(signal)),
        fault: Some(Fault {
            reason: reason.into(),
            frames,
            is_deep: deep,
            is_native: false,
        }),
        stderr,
        ..Evidence::default()
    }
}

#[test]
fn crashes_are_told_apart_by_signal_stack_and_last_words() {
    use DeathCause::Abort;
    use DeathCause::AllocationRefused;
    use DeathCause::Segfault;
    use DeathCause::StackOverflow;
    let (segv, abrt) = (libc::SIGSEGV, libc::SIGABRT);
    for (evidence, cause, confidence, said) in [
        (
            crash(segv, "Segmentation fault", false, ""),
            Segfault,
            Certain,
            "SIGSEGV",
        ),
        (
            crash(segv, "Segmentation fault", true, ""),
            StackOverflow,
            Likely,
            "stack overflow",
        ),
        (
            crash(abrt, "Cannot recover from stack overflow.", true, ""),
            StackOverflow,
            Certain,
            "stack overflow",
        ),
        (
            crash(
                abrt,
                "Aborted",
                false,
                "x\nmemory allocation of 9 bytes failed\n",
            ),
            AllocationRefused,
            Likely,
            "memory allocation of 9 bytes failed",
        ),
        (
            crash(abrt, "Aborted", false, "free(): invalid pointer\n"),
            Abort,
            Certain,
            "free(): invalid pointer",
        ),
        (
            crash(libc::SIGBUS, "Bus error", false, ""),
            Segfault,
            Certain,
            "/dev/shm",
        ),
        (
            crash(libc::SIGFPE, "Floating-point exception", false, ""),
            Abort,
            Certain,
            "SIGFPE",
        ),
        (
            crash(libc::SIGILL, "Illegal instruction", false, ""),
            Abort,
            Certain,
            "SIGILL",
        ),
    ] {
        let death = evidence.judge();
        assert_eq!(
            (death.cause, death.confidence),
            (cause, confidence),
            "{}",
            death.message
        );
        assert!(death.message.contains(said), "{}", death.message);
        assert_eq!(death.stack.len(), 5);
    }
}

#[test]
fn an_end_by_itself_or_by_us_says_so() {
    let exit = |exit| Evidence {
        exit: Some(exit),
        ..Evidence::default()
    };
    for (evidence, cause, said) in [
        (exit(Exit::Code(37)), DeathCause::Exit, "exit code 37"),
        (exit(Exit::Signal(15)), DeathCause::Killed, "SIGTERM"),
        (
            exit(Exit::Unheard),
            DeathCause::Unheard,
            "no longer be heard",
        ),
        (Evidence::default(), DeathCause::Unknown, "not known"),
        (
            Evidence {
                our_reason: Some("the cap".into()),
                ..killed()
            },
            DeathCause::Guard,
            "the cap",
        ),
    ] {
        let death = evidence.judge();
        assert_eq!(death.cause, cause);
        assert!(death.message.contains(said), "{}", death.message);
    }
}

#[test]
fn the_story_has_stack_memory_and_what_was_lost() {
    let mut evidence = crash(libc::SIGSEGV, "Segmentation fault", false, "");
    evidence.lost = vec![
        Held {
            name: "df".into(),
            type_name: "DataFrame".into(),
            bytes: Some(3 << 30),
            ..Held::default()
        },
        Held {
            name: "n".into(),
            ..Held::default()
        },
    ];
    evidence.lost_count = 7;
    let memory = readings(Some(1 << 30), Some(2 << 30), Some(4 << 30));
    assert_eq!(
        memory,
        "It held 1.0 GiB, at most 2.0 GiB; the limit is 4.0 GiB."
    );
    let told = story(&evidence.judge(), &memory);
    assert_eq!(told[0], "It was here, innermost call first:");
    assert_eq!(told[1], "  Cell In[1], line 1, in f (5 times)");
    assert_eq!(told[2], memory);
    assert_eq!(told[3], "Lost: df (DataFrame, 3.0 GiB), n and 5 more.");
    assert_eq!(readings(None, None, Some(1)), "");
}
