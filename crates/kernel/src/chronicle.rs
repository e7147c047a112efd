//! What goes into the journal, and when: never before a reply.

use crate::Kernel;
use crate::cell::Cell;
use journal::Entry;
use journal::Journal;
use ledger::source_hash;
use serde_json::value::RawValue;

/// Memory of a running cell is noted again when it has grown by this much, bytes, and by a quarter.
const GROWN: u64 = 64 << 20;
/// No more of a cell's code than this is written, bytes.
const SOURCE: usize = 16 << 10;

/// The journal, and what it was told of the running cell.
#[derive(Debug, Default)]
pub(crate) struct Chronicle {
    journal: Option<Journal>,
    /// Number of the cell whose begin was noted.
    begun: Option<u64>,
    /// Resident bytes as last noted.
    rss: u64,
}

impl Chronicle {
    pub(crate) fn new(options: Option<journal::Options>) -> Self {
        let journal = options.and_then(|options| {
            Journal::open(options)
                .inspect_err(|error| tracing::warn!(%error, "there is no journal"))
                .ok()
        });
        Self {
            journal,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, entry: Entry) {
        if let Some(journal) = &mut self.journal {
            journal.add(&wire::now(), entry);
        }
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        self.journal.as_ref()?.complaint()
    }
}

impl Kernel {
    pub(crate) fn note_start(&mut self) {
        let python = match &self.setup.python {
            Ok(python) => python.display().to_string(),
            Err(why) => why.clone(),
        };
        let stem = self.setup.connection_file.file_stem();
        self.chronicle.add(Entry::Start {
            kernel: stem.unwrap_or_default().to_string_lossy().into_owned(),
            pid: std::process::id(),
            version: self.setup.version.to_owned(),
            python,
            folder: std::env::current_dir()
                .map(|folder| folder.display().to_string())
                .unwrap_or_default(),
            notebook: std::env::var("JPY_SESSION_NAME").ok(),
        });
    }

    /// A cell has been running for a while: once that it began, and its memory whenever it has grown notably.
    pub(crate) fn note_running_cell(&mut self, rss: Option<u64>) {
        let Some(cell) = &self.cell else { return };
        let rss = rss.unwrap_or(0);
        if self.chronicle.begun != Some(cell.id) {
            self.chronicle.begun = Some(cell.id);
            self.chronicle.rss = 0; // by the first look it may already have taken all that it takes
            let entry = Entry::Begin {
                cell: cell.count.unwrap_or(self.execution_count),
                source_hash: source_hash(cell.source()),
            };
            self.chronicle.add(entry);
        }
        if rss > self.chronicle.rss + (self.chronicle.rss / 4).max(GROWN) {
            self.chronicle.rss = rss;
            self.chronicle.add(Entry::Reading { rss });
        }
    }

    /// A cell is over, and its reply is on its way.
    pub(crate) fn note_cell(&mut self, cell: &Cell, metadata: &[u8]) {
        let Ok(reply) = serde_json::from_slice::<Box<RawValue>>(metadata) else {
            return;
        };
        let source = self.setup.config.journal.source.then(|| {
            let code = cell.source();
            let end = code.floor_char_boundary(SOURCE);
            code[..end].to_owned()
        });
        self.chronicle.add(Entry::Cell { reply, source });
        self.notices.extend(self.chronicle.complaint());
    }
}
