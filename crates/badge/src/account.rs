//! The ledger of a session: `%hygiene ledger`.

use ledger::{Account, Kind, Share};

use crate::cause;
use crate::doc::{Block, Cell, Table, bar};
use crate::size::{Bytes, Delta, NOISE};
use crate::text::Shown;
use crate::view::word;

/// Owners that get a row; the others are added up.
const OWNERS: usize = 15;
const NAME: usize = 60;

pub(crate) fn blocks(account: &Account) -> Vec<Block> {
    let title = |text: String| Block::Title(Shown::own(text));
    let (Some(begin), Some(now)) = (account.begin, account.now) else {
        return vec![title("No cell has been measured yet.".into())];
    };
    let cells = if account.cells == 1 { "cell" } else { "cells" };
    let change = i64::try_from(now)
        .unwrap_or(i64::MAX)
        .saturating_sub_unsigned(begin);
    let mut out = vec![title(format!("The ledger of {} {cells}", account.cells))];
    let peak = account
        .peak
        .map(|peak| format!("; the highest peak was {}", Bytes(peak)));
    out.push(Block::Sentence(Shown::own(format!(
        "Resident memory was {} before the first cell and is {} now, {}{}.",
        Bytes(begin),
        Bytes(now),
        Delta(change),
        peak.unwrap_or_default()
    ))));
    let shares = account.shares();
    let of = |kind: Kind| -> Vec<&Share> {
        shares
            .iter()
            .filter(|share| Kind::of(share.cause) == kind && share.bytes.unsigned_abs() >= NOISE)
            .collect()
    };
    let rest = [
        ("what no row explains", account.residue, String::new()),
        (
            "cells that moved too little to be looked into",
            account.small,
            count(account.small_cells),
        ),
        (
            "between cells",
            account.between,
            "threads, collections, cleanups".to_owned(),
        ),
    ];
    let sizes = shares
        .iter()
        .map(|share| share.bytes)
        .chain(rest.iter().map(|&(_, bytes, _)| bytes));
    let largest = sizes.map(i64::unsigned_abs).max().unwrap_or(0);
    for (heading, kind) in [
        ("Live, by owner", Kind::Live),
        ("Free, kept by an allocator", Kind::Slack),
        (
            "Files, which the system takes back when it needs the memory",
            Kind::Files,
        ),
    ] {
        let owned = of(kind);
        if !owned.is_empty() {
            out.push(Block::Heading(heading));
            out.push(Block::Table(owners(&owned, largest)));
        }
    }
    out.push(Block::Heading("The rest"));
    let rows = rest.into_iter().map(|(what, bytes, remark)| {
        vec![
            Cell::Words(Shown::own(what)),
            Cell::Figure(Delta(bytes).to_string()),
            bar(bytes, largest, false),
            Cell::Aside(Shown::own(remark)),
        ]
    });
    out.push(Block::Table(Table {
        head: vec![""; 4],
        rows: rows.collect(),
    }));
    if !account.is_balanced() {
        out.push(Block::Remark(Shown::own(
            "Some readings were missing, so the parts do not add up to the change.",
        )));
    }
    out.push(Block::Heading("Cell by cell"));
    out.push(Block::Table(lines(account)));
    let more = account.cells.saturating_sub(account.lines.len() as u64);
    if more > 0 {
        out.push(Block::Remark(Shown::own(format!(
            "and {more} earlier ones"
        ))));
    }
    out
}

fn count(cells: u64) -> String {
    match cells {
        1 => "1 cell".to_owned(),
        many => format!("{many} cells"),
    }
}

fn owners(shares: &[&Share], largest: u64) -> Table {
    let row = |name: Shown, what: Shown, bytes: i64| {
        vec![
            Cell::Name(name),
            Cell::Words(what),
            Cell::Figure(Delta(bytes).to_string()),
            bar(bytes, largest, false),
        ]
    };
    let mut rows: Vec<Vec<Cell>> = shares
        .iter()
        .take(OWNERS)
        .map(|share| {
            let mut what = cause::title(&word(&share.cause)).text().to_owned();
            if share.space != "host" {
                what.push_str(&format!(" on {}", share.space.to_uppercase()));
            }
            row(
                Shown::new(&share.owner, NAME),
                Shown::new(&what, NAME),
                share.bytes,
            )
        })
        .collect();
    if let Some(rest) = shares.get(OWNERS..).filter(|rest| !rest.is_empty()) {
        let bytes = rest
            .iter()
            .fold(0i64, |sum, share| sum.saturating_add(share.bytes));
        rows.push(row(
            Shown::own("…"),
            Shown::own(format!("{} smaller ones", rest.len())),
            bytes,
        ));
    }
    Table {
        head: vec![""; 4],
        rows,
    }
}

fn lines(account: &Account) -> Table {
    let figure = |bytes: Option<i64>| {
        Cell::Figure(bytes.map_or_else(|| "?".to_owned(), |bytes| Delta(bytes).to_string()))
    };
    let rows = account.lines.iter().map(|line| {
        let number = line
            .execution_count
            .map_or_else(|| "[ ]".to_owned(), |number| format!("[{number}]"));
        let part = |bytes: i64| {
            if line.looked_into {
                figure(Some(bytes))
            } else {
                Cell::Figure(String::new())
            }
        };
        vec![
            Cell::Name(Shown::own(number)),
            figure(line.delta),
            part(line.live),
            part(line.slack),
            part(line.files),
            line.residue
                .map_or_else(|| Cell::Figure(String::new()), |bytes| figure(Some(bytes))),
        ]
    });
    Table {
        head: vec!["cell", "change", "live", "free", "files", "unexplained"],
        rows: rows.collect(),
    }
}
