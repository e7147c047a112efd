//! A journal told to a person.

use badge::TEXT_MIME;
use ledger::{Confidence, Death, human};

use crate::entry::{Reply, Told};

/// So many variables of a cell are told.
const VARIABLES: usize = 5;

/// Tells entries one after the other; each call goes on where the last one ended.
#[derive(Debug, Default)]
pub struct Story {
    /// A cell that has begun and is not over: its number, and since when.
    running: Option<(u64, String)>,
    rss: Option<u64>,
    ended: bool,
    any: bool,
}

impl Story {
    /// The lines for one line of the journal. What is torn or of another version is passed over.
    pub fn tell(&mut self, line: &str) -> Vec<String> {
        let Ok(line) = serde_json::from_str::<Told>(line) else {
            return Vec::new();
        };
        self.any = true;
        self.ended = line.event == "end";
        let time = clock(&line.t);
        let mut told = Vec::new();
        match line.event.as_str() {
            "start" => {
                self.over();
                told.push(format!(
                    "{time}  kernel {} started (process {}, version {}), {}",
                    printable(&line.kernel),
                    line.pid,
                    printable(&line.version),
                    day(&line.t)
                ));
                told.push(format!(
                    "          {} in {}",
                    printable(&line.python),
                    printable(&line.folder)
                ));
                told.extend(
                    line.notebook
                        .map(|notebook| format!("          for {}", printable(&notebook))),
                );
            }
            "begin" => {
                self.over();
                self.running = Some((line.cell, time));
            }
            "reading" => self.rss = Some(line.rss),
            "cell" => {
                self.over();
                told.extend(cell(&time, line.reply, line.source));
            }
            "death" => {
                self.over();
                told.extend(line.death.iter().flat_map(|death| died(&time, death)));
            }
            "fresh" => told.push(format!(
                "{time}  a fresh interpreter started (process {})",
                line.pid
            )),
            "note" => told.extend(
                line.text
                    .lines()
                    .map(|line| format!("{time}  {}", printable(line))),
            ),
            "end" => told.push(format!(
                "{time}  the kernel ended: {}",
                printable(&line.how)
            )),
            _ => {} // of another version
        }
        told
    }

    fn over(&mut self) {
        self.running = None;
        self.rss = None;
    }

    /// What is to be said when there is no more: a journal without an end is that of a kernel that lives or was killed.
    pub fn end(&self) -> Vec<String> {
        if !self.any {
            return vec!["The journal is empty.".into()];
        }
        if self.ended {
            return Vec::new();
        }
        let running = match (&self.running, self.rss) {
            (Some((cell, since)), Some(rss)) => {
                format!(
                    " In [{cell}] was running since {since} and held {} when last seen.",
                    human(rss)
                )
            }
            (Some((cell, since)), None) => format!(" In [{cell}] was running since {since}."),
            (None, _) => String::new(),
        };
        vec![format!(
            "There is no more: the kernel still runs, or all of it was killed at once.{running}"
        )]
    }
}

fn cell(time: &str, reply: Option<Reply>, source: Option<String>) -> Vec<String> {
    let Some(record) = reply.and_then(|reply| reply.rust_hygiene) else {
        return vec![format!("{time}  a cell that was not measured")];
    };
    let number = record
        .cell
        .execution_count
        .map_or_else(|| "[ ]".to_owned(), |count| format!("[{count}]"));
    let status = match record.cell.status {
        ledger::Status::Ok => "",
        ledger::Status::Error => " (error)",
        ledger::Status::Aborted => " (aborted)",
    };
    let bundle = badge::bundle(&record, &badge::Options::default());
    let text = bundle
        .data
        .get(TEXT_MIME)
        .and_then(|text| text.as_str())
        .unwrap_or_default()
        .to_owned();
    let mut lines = text.lines();
    let mut told = vec![format!(
        "{time}  In {number}{status}  {}",
        lines.next().unwrap_or_default()
    )];
    told.extend(lines.map(|line| format!("          {line}")));
    told.extend(record.variables.iter().take(VARIABLES).map(|variable| {
        let sign = if variable.delta < 0 { '-' } else { '+' };
        let size = human(variable.delta.unsigned_abs());
        let (name, kind) = (printable(&variable.name), printable(&variable.type_name));
        format!("          {sign}{size}  {name} {kind}")
    }));
    told.extend(
        source
            .iter()
            .flat_map(|source| source.lines())
            .map(|line| format!("          > {}", printable(line))),
    );
    if let Some(death) = &record.death {
        told.extend(died(time, death));
    }
    told
}

fn died(time: &str, death: &Death) -> Vec<String> {
    let sure = match death.confidence {
        Confidence::Certain => "",
        _ => ", as far as can be told",
    };
    let mut told = vec![format!(
        "{time}  the interpreter died{sure}: {}",
        printable(&death.message)
    )];
    told.extend(
        death
            .stack
            .chunk_by(|one, next| one == next)
            .map(|frames| format!("          at {}", printable(&frames[0]))),
    );
    if death.lost_count > 0 {
        let names: Vec<String> = death
            .lost
            .iter()
            .map(|held| match held.bytes {
                Some(bytes) => format!("{} ({})", printable(&held.name), human(bytes)),
                None => printable(&held.name),
            })
            .collect();
        told.push(format!(
            "          {} names were lost: {}",
            death.lost_count,
            names.join(", ")
        ));
    }
    told
}

/// Text for a terminal: a user's program must not move the cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// `18:42:30` of `2026-11-25T18:42:30.123456Z`.
fn clock(time: &str) -> String {
    printable(time.get(11..19).unwrap_or(time))
}

fn day(time: &str) -> String {
    printable(time.get(..10).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(lines: &[&str]) -> String {
        let mut story = Story::default();
        let mut told: Vec<String> = lines.iter().flat_map(|line| story.tell(line)).collect();
        told.extend(story.end());
        told.join("\n")
    }

    const START: &str = r#"{"t":"2026-11-25T18:00:00.1Z","event":"start","kernel":"k","pid":7,"version":"0.1","python":"/py","folder":"/f","notebook":"a.ipynb"}"#;

    #[test]
    fn a_session_that_was_killed_says_what_was_running() {
        let told = tell(&[
            START,
            r#"{"t":"2026-11-25T18:00:01Z","event":"begin","cell":3,"source_hash":"ab"}"#,
            r#"{"t":"2026-11-25T18:00:02Z","event":"reading","rss":1073741824}"#,
            r#"{"t":"2026-11-25T18:00:0"#,
        ]);
        assert!(
            told.starts_with("18:00:00  kernel k started (process 7, version 0.1), 2026-11-25"),
            "{told}"
        );
        assert!(
            told.contains("In [3] was running since 18:00:01 and held 1.0 GiB"),
            "{told}"
        );
    }

    #[test]
    fn an_orderly_session_ends_with_its_end_and_strangers_are_passed_over() {
        let told = tell(&[
            START,
            "",
            "nonsense",
            r#"{"t":"x","event":"of the future","a":1}"#,
            r#"{"t":"2026-11-25T18:00:03Z","event":"note","text":"\u001b[2Jx"}"#,
            r#"{"t":"2026-11-25T18:00:09Z","event":"end","how":"asked"}"#,
        ]);
        assert!(
            told.ends_with("18:00:09  the kernel ended: asked"),
            "{told}"
        );
        assert!(told.contains("\u{fffd}[2Jx") && !told.contains('\u{1b}'));
        assert_eq!(tell(&[]), "The journal is empty.");
    }

    #[test]
    fn a_cell_is_told_with_its_badge_and_its_death() {
        let record = include_str!("../../../docs/schema/examples/full.json");
        let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
        record["death"] = serde_json::json!({"cause": "segfault", "confidence": "certain", "message": "it crashed", "signal": 11,
            "code": null, "stack": ["f", "f"], "lost_count": 2,
            "lost": [{"name": "x", "type": "list", "detail": "", "bytes": 1024}]});
        let line = serde_json::json!({"t": "2026-11-25T18:00:09Z", "event": "cell",
            "reply": {"started": "", "rust_hygiene": record}, "source": "a = 1"});
        let told = tell(&[&line.to_string()]);
        for said in [
            "18:00:09  In [3] (error)",
            "+7.6 MiB  x ndarray",
            "> a = 1",
            "the interpreter died: it crashed",
            "at f",
            "2 names were lost: x (1.0 KiB)",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
        assert_eq!(told.matches("at f").count(), 1);
    }
}
