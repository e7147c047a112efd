//! `cargo xtask docs`: writes `docs/causes`, a page a cause, from the comments at the head of the files that find them.
//!
//! Such a comment begins with the cause's word in backquotes; its sections begin with a bold title. A second file about the same
//! cause adds its sections to the page under a title of its own. The pages are in the binary, for `%hygiene help CAUSE`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::paths::Paths;
use crate::process::{Failure, Result};

const SOURCES: &str = "crates/ledger/src/causes";
const PAGES: &str = "docs/causes";
const NOTE: &str =
    "<!-- Written by `cargo xtask docs` from the comments of crates/ledger/src/causes. -->\n";

/// The head of one file.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    cause: String,
    /// What makes it a second file about the cause; empty for the first.
    variant: String,
    summary: String,
    body: String,
}

/// Writes the pages.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let pages = pages(&paths.root)?;
    for (name, text) in &pages {
        let path = paths.root.join(PAGES).join(name);
        fs::write(&path, text)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    }
    println!("{} pages in {PAGES}", pages.len());
    Ok(())
}

/// Names and texts of all pages.
fn pages(root: &Path) -> Result<BTreeMap<String, String>> {
    let folder = root.join(SOURCES);
    let failure = |error: std::io::Error| Failure::new(format!("{}: {error}", folder.display()));
    let mut files: Vec<_> = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(failure)?;
    files.sort();
    let mut causes: BTreeMap<String, Vec<Head>> = BTreeMap::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
    {
        if let Some(head) = head(&fs::read_to_string(file).map_err(failure)?) {
            causes.entry(head.cause.clone()).or_default().push(head);
        }
    }
    let mut pages = BTreeMap::new();
    for (cause, heads) in &mut causes {
        heads.sort_by(|a, b| a.variant.cmp(&b.variant));
        pages.insert(format!("{cause}.md"), page(cause, heads));
    }
    keep_others(&root.join(PAGES), &mut pages);
    let mut index = format!(
        "{NOTE}\n# Causes of kept memory\n\nWhat a finding means, one page a cause. In a notebook: `%hygiene help CAUSE`. How to read what the \
         kernel says is told in\n[memory.md](../memory.md).\n\n| cause | |\n|---|---|\n"
    );
    for (name, text) in &pages {
        let title = text
            .lines()
            .find_map(|line| line.strip_prefix("# "))
            .unwrap_or_default();
        let (cause, summary) = title.split_once(": ").unwrap_or((title, ""));
        index.push_str(&format!("| [{cause}]({name}) | {summary} |\n"));
    }
    pages.insert("README.md".to_owned(), index);
    Ok(pages)
}

/// Pages of causes that no file is about yet stay as they are.
fn keep_others(folder: &Path, pages: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "README.md" && !pages.contains_key(&name) {
            pages.insert(name, fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
}

fn page(cause: &str, heads: &[Head]) -> String {
    let mut out = NOTE.to_owned();
    for head in heads {
        let title = match head.variant.as_str() {
            "" => format!("{cause}: {}", head.summary),
            variant => format!("{cause}, {variant}: {}", head.summary),
        };
        let title = title.trim_end_matches('.');
        out.push_str(&format!("\n# {title}\n\n{}\n", head.body));
    }
    out
}

/// The comment at the head of a file, if it is about a cause.
fn head(source: &str) -> Option<Head> {
    let lines: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let text = lines.join("\n");
    let (first, rest) = text.split_once("\n\n")?;
    let first = first.replace('\n', " ");
    let (cause, after) = first.strip_prefix('`')?.split_once('`')?;
    let (variant, summary) = after.split_once(": ")?;
    if cause.is_empty() || !cause.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
        return None;
    }
    let paragraphs: Vec<String> = rest.split("\n\n").map(section).collect();
    Some(Head {
        cause: cause.to_owned(),
        variant: variant.trim_start_matches([',', ' ']).to_owned(),
        summary: summary.to_owned(),
        body: paragraphs.join("\n\n"),
    })
}

/// A paragraph; one that begins with a bold title becomes a section.
fn section(paragraph: &str) -> String {
    let titled = paragraph
        .strip_prefix("**")
        .and_then(|rest| rest.split_once(".** "));
    match titled {
        Some((title, text)) => format!("## {title}\n\n{}", text.trim()),
        None => paragraph.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_becomes_a_page() {
        let source = "//! `pool_cache`: a pool\n//! keeps it.\n//!\n//! **When it fires.** Often,\n//! very.\n//!\n//! More.\n\nuse x;\n";
        let head = head(source).unwrap();
        assert_eq!(
            (head.cause.as_str(), head.variant.as_str()),
            ("pool_cache", "")
        );
        assert_eq!(head.body, "## When it fires\n\nOften,\nvery.\n\nMore.");
        assert!(page("pool_cache", &[head]).contains("\n# pool_cache: a pool keeps it\n"));
        let second = super::head("//! `pool_cache`, of GPUs: x.\n//!\n//! **Fix.** y\n").unwrap();
        assert_eq!(second.variant, "of GPUs");
        for other in [
            "//! Helpers.\n//!\n//! Text.\n",
            "fn main() {}",
            "//! `Type`: x.\n//!\n//! y",
        ] {
            assert_eq!(super::head(other), None);
        }
    }

    #[test]
    fn the_pages_are_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (name, text) in pages(&root).unwrap() {
            let path = root.join(PAGES).join(&name);
            let there = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                there == text,
                "docs/causes/{name} is stale: run cargo xtask docs"
            );
            for section in [
                "When it fires",
                "Why it matters",
                "Example",
                "Fix",
                "What it is confused with",
            ] {
                let title = format!("## {section}\n");
                assert!(
                    name == "README.md" || text.contains(&title),
                    "{name} has no section {section:?}"
                );
            }
        }
    }
}
