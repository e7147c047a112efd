//! The page of each cause, as in `docs/causes`, for those who ask in a notebook.

macro_rules! pages {
    ($($cause:literal),* $(,)?) => {
        &[$(($cause, include_str!(concat!("../../../docs/causes/", $cause, ".md")))),*]
    };
}

const PAGES: &[(&str, &str)] = pages![
    "allocator_retention",
    "autograd_graph",
    "cache_growth",
    "child_process",
    "figures",
    "framework_state",
    "ipython_refs",
    "native_leak",
    "open_resource",
    "pool_cache",
    "ref_cycle",
    "registry_callback",
    "suspended_execution",
    "traceback_refs",
    "user_growth",
    "view_retention",
];

/// The words of all causes that have a page.
pub fn causes() -> impl Iterator<Item = &'static str> {
    PAGES.iter().map(|&(cause, _)| cause)
}

/// The page about a cause, as Markdown.
pub fn page(cause: &str) -> Option<&'static str> {
    let &(_, text) = PAGES.iter().find(|(word, _)| *word == cause)?;
    // without the note about how it is written
    Some(
        text.find("# ")
            .map_or(text, |begin| &text[begin..])
            .trim_end(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Cause;

    #[test]
    fn every_cause_has_a_page_that_begins_with_its_word() {
        for word in causes() {
            let cause: Cause = serde_json::from_value(word.into()).unwrap();
            assert_eq!(cause.name(), word);
            assert!(page(word).unwrap().starts_with(&format!("# {word}: ")));
        }
        let all = serde_json::from_str::<Cause>("\"no_cause\"")
            .unwrap_err()
            .to_string();
        let known = all.matches('`').count() / 2 - 1;
        assert_eq!(causes().count(), known, "{all}");
        assert_eq!(page("no_cause"), None);
    }
}
