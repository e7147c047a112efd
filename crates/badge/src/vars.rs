//! The largest variables: `%hygiene vars`.

use ledger::{Holding, Inventory};

use crate::doc::{Block, Cell, Table, bar};
use crate::size::Bytes;
use crate::text::Shown;

const NAME: usize = 60;
const SHARED: usize = 160;

pub(crate) fn blocks(holdings: &Inventory) -> Vec<Block> {
    let names = if holdings.names == 1 { "name" } else { "names" };
    let bound = if holdings.complete { "" } else { "at least " };
    let title = format!(
        "{} {names} hold {bound}{}",
        holdings.names,
        Bytes(holdings.total)
    );
    let mut out = vec![Block::Title(Shown::own(title))];
    if holdings.variables.is_empty() {
        out.push(Block::Remark(Shown::own("There is nothing to list.")));
        return out;
    }
    let largest = holdings.variables.iter().map(size).max().unwrap_or(0);
    let gpu = holdings.variables.iter().any(|holding| holding.gpu > 0);
    let mut head = vec![
        "name",
        "type",
        "holds",
        "alone",
        "",
        "on GPUs",
        "shares with",
    ];
    let at = 5;
    if !gpu {
        head.remove(at);
    }
    let rows = holdings.variables.iter().map(|holding| {
        let mut row = row(holding, largest);
        if !gpu {
            row.remove(at);
        }
        row
    });
    out.push(Block::Table(Table {
        head,
        rows: rows.collect(),
    }));
    out.push(Block::Remark(Shown::own(
        "\u{201c}alone\u{201d} is what nothing else reaches: deleting the name frees that much.",
    )));
    if !holdings.complete {
        out.push(Block::Remark(Shown::own(
            "The search ran out of its time; a figure that is missing was not reached.",
        )));
    }
    out
}

fn size(holding: &Holding) -> u64 {
    holding.bytes.saturating_add(holding.gpu)
}

fn row(holding: &Holding, largest: u64) -> Vec<Cell> {
    let bound = if holding.at_least { "\u{2265} " } else { "" };
    let names = std::iter::once(&holding.name).chain(&holding.aliases);
    let names: Vec<&str> = names.map(String::as_str).collect();
    let others: Vec<String> = holding
        .shared_with
        .iter()
        .map(|(name, bytes)| format!("{} ({})", Shown::new(name, NAME).text(), Bytes(*bytes)))
        .collect();
    let alone = holding
        .exclusive
        .map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string());
    vec![
        Cell::Name(Shown::new(&names.join(" = "), NAME)),
        Cell::Words(Shown::new(
            &format!("{} {}", holding.type_name, holding.detail),
            NAME,
        )),
        Cell::Figure(format!("{bound}{}", Bytes(holding.bytes))),
        Cell::Figure(alone),
        bar(
            i64::try_from(size(holding)).unwrap_or(i64::MAX),
            largest,
            false,
        ),
        Cell::Figure(if holding.gpu > 0 {
            Bytes(holding.gpu).to_string()
        } else {
            String::new()
        }),
        Cell::Aside(Shown::new(&others.join(", "), SHARED)),
    ]
}
