use super::*;

fn whats(source: &str) -> Vec<(u32, u32, What)> {
    let facts = read(source).into_iter();
    facts
        .filter(|fact| !matches!(fact.what, What::Uses { .. }))
        .map(|fact| (fact.line, fact.loops, fact.what))
        .collect()
}

fn adds(to: &str, value: &str) -> What {
    What::Adds {
        to: to.into(),
        value: value.into(),
    }
}

#[test]
fn sums_are_read_in_both_spellings_with_their_line_and_loop() {
    let source = "total = 0\nfor x in data:\n    loss = f(x)\n    total += loss\n    self.total = self.total + loss ** 2";
    let found = whats(source);
    assert!(found.contains(&(4, 1, adds("total", "loss"))));
    assert!(found.contains(&(5, 1, adds("self.total", "loss ** 2"))));
    assert_eq!(read(source)[0].text, "total = 0");
}

#[test]
fn what_is_put_into_a_container_is_read() {
    let keeps = |to: &str, value: &str| What::Keeps {
        to: to.into(),
        value: value.into(),
    };
    let found = whats("a.append(x)\nb.c[k] = y + 1\n[d.add(i) for i in e]");
    assert!(found.contains(&(1, 0, keeps("a", "x"))));
    assert!(found.contains(&(2, 0, keeps("b.c", "y + 1"))));
    assert!(found.contains(&(3, 1, keeps("d", "i"))));
    assert!(found.contains(&(3, 0, What::Iterates { over: "e".into() })));
}

#[test]
fn calls_are_read_with_what_they_are_bound_to() {
    let found = whats("m = SharedMemory(create=True, size=n)\nwith open(p) as f: pass\nf(g())");
    let call = |callee: &str, bound: &str, managed| What::Calls {
        callee: callee.into(),
        keywords: Vec::new(),
        bound: bound.into(),
        managed,
    };
    let What::Calls {
        callee,
        keywords,
        bound,
        managed,
    } = &found[1].2
    else {
        panic!("{found:?}")
    };
    assert_eq!(
        (callee.as_str(), bound.as_str(), *managed),
        ("SharedMemory", "m", false)
    );
    assert_eq!(keywords[0], ("create".into(), "True".into()));
    assert_eq!(found[2].2, call("open", "", true));
    assert_eq!(found[3].2, call("f", "", false));
    assert_eq!(found[4].2, call("g", "", false));
}

#[test]
fn decorators_are_read() {
    let found = whats("@lru_cache(maxsize=None)\ndef f(x):\n    return x");
    assert_eq!(
        found[0].2,
        What::Decorates {
            function: "f".into(),
            decorator: "lru_cache".into(),
            keywords: vec![("maxsize".into(), "None".into())],
            called: true,
        }
    );
}

#[test]
fn magics_and_commands_are_no_trouble() {
    let total = |source: &str| {
        whats(source)
            .into_iter()
            .find(|(.., what)| *what == adds("total", "x"))
    };
    for (source, line) in [
        ("%matplotlib inline\ntotal += x", 2),
        ("!ls\nfiles = !ls\ntotal += x", 3),
        ("%%time\ntotal += x", 2),
        ("\n%%capture out\n\ntotal += x", 4),
        ("%%hygiene cap=2GiB\ntotal += x\ntotal?", 2),
    ] {
        assert_eq!(total(source).map(|found| found.0), Some(line), "{source}");
    }
    assert!(read("%%bash\ntotal += x").is_empty());
    assert!(read("%%html").is_empty());
}

#[test]
fn what_is_not_python_too_long_or_too_deep_is_not_read() {
    for source in [
        "total += x; )".to_owned(),
        "x = = 1".to_owned(),
        format!("{}1{}", "(".repeat(100), ")".repeat(100)),
        format!("x = 1{}", " + 1".repeat(LONGEST)),
    ] {
        assert!(read(&source).is_empty());
    }
}

#[test]
fn the_deepest_code_that_is_read_fits_the_stack() {
    let fill = |begin: &str, piece: &str, end: &str| {
        format!("{begin}{}{end}", piece.repeat((LONGEST - 40) / piece.len()))
    };
    for source in [
        fill("x = ", "-", "1"),
        fill("x = ", "not ", "1"),
        fill("x = 1", "+1", ""),
        fill("x = 1", "**1", ""),
        fill("x = a", ".a", ""),
        fill("x = a", "[0]", ""),
        fill("x = a", "()", ""),
        fill("x = ", "lambda:", "1"),
        fill("x = ", "1 if 1 else ", "1"),
        fill("if 1: 1\n", "elif 1: 1\n", ""),
        fill("", "x=", "1"),
        fill("x = ", "await ", "1"),
        fill("x = ", "f'{", ""),
    ] {
        read(&source);
    }
}
