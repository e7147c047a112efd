//! When a badge is shown.
//!
//! A badge is an output: it is saved with the notebook and dirties its diffs, so it is shown only where a person looks at it, and
//! never where it would do harm. The record itself is always in the reply's metadata, which no front end saves.

use crate::config::BadgeMode;

/// Where the kernel runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `JPY_SESSION_NAME` was set for this kernel: started by a Jupyter server, so by JupyterLab, Notebook or Colab's local
    /// runtime. Absent under nbclient, papermill, nbval and `jupyter execute`; what those inherit from the kernel of a notebook
    /// that they are called in does not count.
    pub jpy_session_name: bool,
    /// Started by VS Code.
    pub vscode: bool,
    /// Our JupyterLab extension has opened its comm: it draws the record itself, outside of the notebook's outputs.
    pub labextension: bool,
}

impl Surroundings {
    /// Whether a person looks at the outputs.
    #[must_use]
    pub fn someone_looks(&self) -> bool {
        self.jpy_session_name || self.vscode || self.labextension
    }
}

/// What is done about badges, once `auto` is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effective {
    /// A badge after each notable cell.
    Output,
    /// A badge with a warning only.
    Warn,
    /// No badge: an extension draws the record from the reply's metadata.
    Metadata,
    /// No badge, nobody draws; the record is in the reply's metadata all the same.
    Off,
}

/// Decides about badges. What the user asked for holds; `auto` shows them where a person looks at the outputs.
#[must_use]
pub fn resolve(mode: BadgeMode, surroundings: &Surroundings) -> Effective {
    match mode {
        BadgeMode::Output => Effective::Output,
        BadgeMode::Warn => Effective::Warn,
        BadgeMode::Metadata => Effective::Metadata,
        BadgeMode::Off => Effective::Off,
        BadgeMode::Auto if surroundings.labextension => Effective::Metadata,
        BadgeMode::Auto if surroundings.someone_looks() => Effective::Output,
        BadgeMode::Auto => Effective::Off,
    }
}

/// What is known of a cell when its badge would be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellFlags {
    /// The request was `silent`.
    pub silent: bool,
    /// The request's `store_history`. Front ends probe the kernel with requests that are not stored.
    pub store_history: bool,
    /// The cell holds nothing but white space and comments.
    pub code_is_empty: bool,
    /// The cell asked that no output of it be shown (`%%capture` and the like).
    pub display_suppressed: bool,
    /// The cell's last word was `clear_output(wait=True)`: the next output deletes the user's, so it must not be ours.
    pub pending_clear_output_wait: bool,
    /// All that the cell printed has been sent. Before that, a badge would stand above it.
    pub streams_drained: bool,
    /// The cell has ended. A badge shown earlier and updated later would stay where it first stood, above the results.
    pub finished: bool,
    /// A finding gets a line, or there is a notice for the person.
    pub has_warning: bool,
    /// The change is at least `min_delta`.
    pub notable: bool,
}

/// Whether the cell gets a badge as an output.
#[must_use]
pub fn should_show(effective: Effective, cell: &CellFlags) -> bool {
    let wanted = match effective {
        Effective::Output => cell.notable || cell.has_warning,
        Effective::Warn => cell.has_warning,
        Effective::Metadata | Effective::Off => false,
    };
    let seen =
        cell.store_history && !cell.silent && !cell.code_is_empty && !cell.display_suppressed;
    let harmless = cell.finished && cell.streams_drained && !cell.pending_clear_output_wait;
    wanted && seen && harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_shows_badges_where_a_person_looks_and_all_else_is_as_asked() {
        use BadgeMode as M;
        use Effective as E;
        // JPY_SESSION_NAME, VS Code, extension; what auto makes of it.
        let table = [
            ([false, false, false], E::Off),
            ([true, false, false], E::Output),
            ([false, true, false], E::Output),
            ([true, true, false], E::Output),
            ([false, false, true], E::Metadata),
            ([true, false, true], E::Metadata),
            ([false, true, true], E::Metadata),
            ([true, true, true], E::Metadata),
        ];
        for ([jpy_session_name, vscode, labextension], auto) in table {
            let around = Surroundings {
                jpy_session_name,
                vscode,
                labextension,
            };
            assert_eq!(resolve(M::Auto, &around), auto, "{around:?}");
            let asked = [
                (M::Output, E::Output),
                (M::Warn, E::Warn),
                (M::Metadata, E::Metadata),
                (M::Off, E::Off),
            ];
            for (mode, effective) in asked {
                assert_eq!(resolve(mode, &around), effective, "{around:?}");
            }
        }
    }

    /// An ordinary cell that moved memory and has come to its end.
    const NOTABLE: CellFlags = CellFlags {
        silent: false,
        store_history: true,
        code_is_empty: false,
        display_suppressed: false,
        pending_clear_output_wait: false,
        streams_drained: true,
        finished: true,
        has_warning: false,
        notable: true,
    };
    const WARNED: CellFlags = CellFlags {
        has_warning: true,
        notable: false,
        ..NOTABLE
    };
    const QUIET: CellFlags = CellFlags {
        notable: false,
        ..NOTABLE
    };

    #[test]
    fn a_badge_is_shown_if_the_mode_wants_it() {
        use Effective::{Metadata, Off, Output, Warn};
        let table = [
            (Output, NOTABLE, true),
            (Output, WARNED, true),
            (Output, QUIET, false),
            (Warn, NOTABLE, false),
            (Warn, WARNED, true),
            (Warn, QUIET, false),
            (Metadata, NOTABLE, false),
            (Metadata, WARNED, false),
            (Off, NOTABLE, false),
            (Off, WARNED, false),
        ];
        for (effective, cell, shown) in table {
            assert_eq!(
                should_show(effective, &cell),
                shown,
                "{effective:?} {cell:?}"
            );
        }
    }

    #[test]
    fn no_badge_is_shown_where_it_would_do_harm_or_where_nobody_looks() {
        type Change = fn(&mut CellFlags);
        let table: [(&str, Change); 7] = [
            (
                "clear_output(wait=True) is pending: a badge would delete the last figure",
                |c| c.pending_clear_output_wait = true,
            ),
            (
                "prints are on their way: a badge would stand above them",
                |c| c.streams_drained = false,
            ),
            (
                "the cell still runs: a badge would stand above its results",
                |c| c.finished = false,
            ),
            ("the request is silent", |c| c.silent = true),
            ("the request is not stored in the history", |c| {
                c.store_history = false
            }),
            ("the cell is empty", |c| c.code_is_empty = true),
            ("the cell's outputs are captured", |c| {
                c.display_suppressed = true
            }),
        ];
        for (why, change) in table {
            for mut cell in [
                NOTABLE,
                WARNED,
                CellFlags {
                    has_warning: true,
                    ..NOTABLE
                },
            ] {
                for effective in [
                    Effective::Output,
                    Effective::Warn,
                    Effective::Metadata,
                    Effective::Off,
                ] {
                    let before = cell;
                    change(&mut cell);
                    assert!(!should_show(effective, &cell), "{why}");
                    cell = before;
                }
            }
        }
    }
}
