//! The words over a warning that is not a leak, and the kind of a ledger row.

use crate::text::Shown;

/// Longest title in characters.
const TITLE: usize = 40;

/// A title for `cause`. A cause that is not in the list is shown as its own name, `new_cause` as `New cause`.
pub(crate) fn title(cause: &str) -> Shown {
    let known = match cause {
        "variables" => "Variables",
        "mapped_files" => "Mapped files",
        "imports" => "Imports",
        "native" => "Live, under no name",
        "framework_live" => "Tensors",
        "gpu_context" => "GPU context",
        "other_processes" => "Other processes",
        "user_growth" => "Growing variable",
        "ipython_refs" => "Kept by the output history",
        "traceback_refs" => "Kept by a traceback",
        "ref_cycle" => "Reference cycle",
        "figures" => "Open figures",
        "autograd_graph" => "Autograd graph kept",
        "allocator_retention" => "Allocator slack",
        "pool_cache" => "Cached by a pool",
        "child_process" => "Child processes",
        "open_resource" => "Open resource",
        "framework_state" => "Framework state",
        "cache_growth" => "Growing cache",
        "registry_callback" => "Registered callback",
        "suspended_execution" => "Suspended code",
        "view_retention" => "Large base kept by a view",
        "native_leak" => "Native memory",
        _ => return unknown(cause),
    };
    Shown::own(known)
}

fn unknown(cause: &str) -> Shown {
    let words = Shown::new(&cause.replace('_', " "), TITLE);
    let mut chars = words.text().chars();
    match chars.next() {
        Some(first) => Shown::own(first.to_uppercase().chain(chars).collect::<String>()),
        None => Shown::own("Memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_cause_is_shown_as_words() {
        let table = [
            ("pool_cache", "Cached by a pool"),
            ("new_cause", "New cause"),
            ("", "Memory"),
            ("_\n", "Memory"),
        ];
        for (cause, shown) in table {
            assert_eq!(title(cause).text(), shown);
        }
    }
}
