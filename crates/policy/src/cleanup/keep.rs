//! Cells whose results are to be left alone.

/// What a person writes into such a cell.
const COMMENT: &str = "hygiene:";

/// Whether a cell asks that its results be left alone: by a comment `# hygiene: keep` on a line of its own or behind code, or by
/// one of the tags. The text that says so is returned.
#[must_use]
pub fn keeps(code: &str, tags: &[String], keep_tags: &[String]) -> Option<String> {
    if let Some(tag) = tags.iter().find(|tag| keep_tags.contains(tag)) {
        return Some(format!("the tag `{tag}`"));
    }
    if !code.contains(COMMENT) {
        return None; // nearly always
    }
    let says_keep = |line: &str| {
        let (_, comment) = line.rsplit_once('#')?;
        let (word, rest) = comment.trim().split_once(':')?;
        (word.trim() == "hygiene" && rest.trim() == "keep").then_some(())
    };
    code.lines()
        .find_map(says_keep)
        .map(|()| "`# hygiene: keep`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_or_a_tag_keeps_a_cell() {
        let tags = ["hygiene-keep".to_owned()];
        let table = [
            ("x = 1", &[][..], false),
            ("# hygiene: keep\nx = 1", &[], true),
            ("x = load()  # hygiene: keep", &[], true),
            ("#hygiene:keep", &[], true),
            ("%%time\n    # hygiene:  keep   \nx", &[], true),
            ("# hygiene: keep it", &[], false),
            ("hygiene: keep", &[], false),
            ("# about hygiene: keep", &[], false),
            ("# hygiene:", &[], false),
            ("x", &["hygiene-keep"], true),
            ("x", &["keep"], false),
        ];
        for (code, tagged, kept) in table {
            let tagged: Vec<String> = tagged.iter().map(|tag| (*tag).to_owned()).collect();
            assert_eq!(
                keeps(code, &tagged, &tags).is_some(),
                kept,
                "{code} {tagged:?}"
            );
        }
    }
}
