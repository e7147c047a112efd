//! `rust-hygiene strip`: takes our badges out of a notebook file.
//!
//! The file is not parsed into a tree and written again: that would change indentation, escapes and number formats of
//! things that are none of our business. The byte ranges of badge outputs are found and cut; every other byte stays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::kernelspec::write_whole;
use crate::output;

/// Remove the memory badges from a notebook, and nothing else: a file without badges stays the same byte for byte.
///
/// The file is changed in place unless -o says otherwise. `-` reads standard input and writes standard output, so it serves as
/// a git filter: git config filter.rust-hygiene.clean 'rust-hygiene strip -'.
#[derive(Debug, Args)]
pub struct StripArgs {
    /// The notebook, or `-` for standard input.
    #[arg(value_name = "NOTEBOOK")]
    notebook: PathBuf,

    /// Write the result here instead; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Strips one notebook.
///
/// # Errors
/// If the file cannot be read or written or is no notebook; it is then left as it was.
pub fn run(args: StripArgs) -> Result<ExitCode> {
    let is_pipe = |path: &Path| path == Path::new("-");
    let shown = args.notebook.display();
    let mut bytes = Vec::new();
    if is_pipe(&args.notebook) {
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
    } else {
        bytes = fs::read(&args.notebook).with_context(|| format!("cannot read {shown}"))?;
    }
    let text = std::str::from_utf8(&bytes)
        .with_context(|| format!("{shown} is no UTF-8 text; is it a notebook?"))?;
    let stripped = strip(text).with_context(|| format!("{shown} was left as it is"))?;
    let target = args.output.as_deref().unwrap_or(&args.notebook);
    if is_pipe(target) {
        output::write(stripped.as_bytes())?;
    } else if args.output.is_some() || matches!(stripped, Cow::Owned(_)) {
        // Through links, so that a linked notebook stays a link.
        let target = target
            .canonicalize()
            .unwrap_or_else(|_| target.to_path_buf());
        write_whole(&std::path::absolute(&target)?, stripped.as_bytes())
            .with_context(|| format!("cannot write {}", target.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
struct Notebook<'a> {
    #[serde(borrow)]
    cells: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Cell<'a> {
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output {
    metadata: HashMap<String, IgnoredAny>,
}

/// The notebook without badges; borrowed, and so the very same bytes, if it has none.
fn strip(text: &str) -> Result<Cow<'_, str>> {
    // Some editors on Windows begin a file with a byte order mark, which is no JSON.
    let json = text.trim_start_matches('\u{feff}');
    let notebook: Notebook =
        serde_json::from_str(json).context("this is no notebook: it is not valid JSON")?;
    let Some(cells) = notebook.cells else {
        bail!(
            "this is no notebook of format 4: it has no cells; open it in JupyterLab and save it to convert it"
        );
    };
    let mut cuts = Vec::new();
    for cell in cells {
        let Ok(Cell {
            outputs: Some(outputs),
        }) = serde_json::from_str(cell.get())
        else {
            continue;
        };
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(outputs.get()) else {
            continue;
        };
        let spans: Vec<_> = elements
            .iter()
            .map(|element| span(text, element.get()))
            .collect();
        let badges: Vec<_> = elements
            .iter()
            .map(|element| is_badge(element.get()))
            .collect();
        cuts.extend(cut_elements(span(text, outputs.get()), &spans, &badges));
    }
    if cuts.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut kept = String::with_capacity(text.len());
    let mut end = 0;
    for cut in cuts {
        kept.push_str(&text[end..cut.start]);
        end = cut.end;
    }
    kept.push_str(&text[end..]);
    Ok(Cow::Owned(kept))
}

fn is_badge(output: &str) -> bool {
    serde_json::from_str::<Output>(output)
        .is_ok_and(|output| output.metadata.contains_key("rust_hygiene"))
}

/// Where a slice of `text` lies in it.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// The ranges to cut so that an array loses the marked elements and stays well-formed: an element goes together with the comma
/// and the white space before it or, at the front, after it; an array that loses all becomes `[]`.
fn cut_elements(
    array: Range<usize>,
    elements: &[Range<usize>],
    marked: &[bool],
) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let Some(first_kept) = marked.iter().position(|marked| !marked) else {
        if !marked.is_empty() {
            cuts.push(array.start + 1..array.end - 1);
        }
        return cuts;
    };
    if first_kept > 0 {
        cuts.push(elements[0].start..elements[first_kept].start);
    }
    for index in first_kept + 1..elements.len() {
        if marked[index] {
            cuts.push(elements[index - 1].end..elements[index].end);
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    const BADGE: &str = r#"{"output_type":"display_data","metadata":{"rust_hygiene":{"v":1}},"data":{"text/plain":"a, ]}"}}"#;
    const PLAIN: &str = r#"{"output_type":"stream","name":"stdout","text":["\u00e9 1.0e5\n"]}"#;

    fn notebook(outputs: &str) -> String {
        format!(
            "{{\n \"cells\": [{{\"outputs\": {outputs}, \"source\": []}}, {{\"cell_type\": \"markdown\"}}],\n \"x\": 1.0e5}}\n"
        )
    }

    #[test]
    fn badges_are_cut_and_every_other_byte_stays() {
        let [b, p] = [BADGE, PLAIN];
        for (before, after) in [
            (format!("[{b}]"), "[]".into()),
            (format!("[\n  {b}\n ]"), "[]".into()),
            (format!("[\n  {b},\n  {b}\n ]"), "[]".into()),
            (format!("[\n  {p},\n  {b}\n ]"), format!("[\n  {p}\n ]")),
            (format!("[\n  {b},\n  {p}\n ]"), format!("[\n  {p}\n ]")),
            (
                format!("[ {b} , {b},{p},{b}, {p} ,{b} ]"),
                format!("[ {p}, {p} ]"),
            ),
        ] {
            assert_eq!(
                strip(&notebook(&before)).unwrap(),
                notebook(&after),
                "{before}"
            );
        }
    }

    #[test]
    fn a_notebook_without_badges_is_the_same_text() {
        for outputs in [
            "[]".into(),
            "[ ]".into(),
            "null".into(),
            format!("[{PLAIN}]"),
            r#"[{"metadata": {"other": 1}}, {"metadata": null}, {"metadata": []}, 7]"#.into(),
            r#"[{"data": {"text/plain": "rust_hygiene"}, "metadata": {"a": {"rust_hygiene": 1}}}]"#
                .into(),
        ] {
            let text = notebook(&outputs);
            assert!(
                matches!(strip(&text).unwrap(), Cow::Borrowed(same) if same == text),
                "{outputs}"
            );
        }
    }

    #[test]
    fn a_badge_is_known_however_its_mark_is_written() {
        for mark in [
            r#""rust_hygiene": null"#,
            r#""rust\u005fhygiene": {}"#,
            r#""a": 1, "rust_hygiene": {"v": 2}"#,
        ] {
            let text = notebook(&format!("[{{\"metadata\": {{{mark}}}}}]"));
            assert_eq!(strip(&text).unwrap(), notebook("[]"), "{mark}");
        }
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_survive() {
        let text = format!(
            "\u{feff}{}",
            notebook(&format!("[\r\n{PLAIN},\r\n{BADGE}\r\n]"))
        );
        assert_eq!(
            strip(&text).unwrap(),
            format!("\u{feff}{}", notebook(&format!("[\r\n{PLAIN}\r\n]")))
        );
    }

    #[test]
    fn what_is_no_notebook_is_refused() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            "{\"cells\": 3}",
            "<<<<<<< HEAD\n{\"cells\": []}",
            "{\"worksheets\": []}",
        ] {
            assert!(strip(text).is_err(), "{text}");
        }
        assert!(strip(&"[".repeat(1_000_000)).is_err());
    }
}
