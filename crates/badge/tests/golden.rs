//! What the sample records look like, to the byte. `UPDATE_GOLDEN=1 cargo test -p badge --test golden` writes the files anew:
//! look at the gallery before you commit them.

#![allow(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::Path;

use support::{SAMPLES, record, sample, shown};

#[test]
fn the_sample_badges_are_written_as_in_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, _) in SAMPLES {
        let (text, html) = shown(&record(sample(name)));
        for (ending, new) in [("txt", text + "\n"), ("html", html + "\n")] {
            let path = folder.join(format!("{name}.{ending}"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::write(&path, &new).expect("the golden folder is writable");
            }
            let old = fs::read_to_string(&path).expect("a golden file");
            assert_eq!(new, old, "{}", path.display());
        }
    }
}
