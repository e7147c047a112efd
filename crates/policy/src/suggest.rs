//! "Did you mean": the nearest known word.

/// Longer words are no typing mistakes of ours.
const LONGEST: usize = 40;

/// The candidate that is at most two typing mistakes away from `word`, or one from a short word; upper and lower case are one.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: Vec<char> = word
        .chars()
        .take(LONGEST + 1)
        .flat_map(char::to_lowercase)
        .collect();
    if word.len() > LONGEST {
        return None;
    }
    let allowed = if word.len() < 5 { 1 } else { 2 };
    candidates
        .map(|candidate| {
            (
                distance(
                    &word,
                    &candidate
                        .chars()
                        .flat_map(char::to_lowercase)
                        .collect::<Vec<_>>(),
                ),
                candidate,
            )
        })
        .filter(|&(d, _)| d <= allowed)
        .min_by_key(|&(d, _)| d)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_word_and_another_word_does_not() {
        let words = ["badge", "min_delta", "gpu", "log.level"];
        let table = [
            ("badge", Some("badge")),
            ("bagde", Some("badge")),
            ("BADGE", Some("badge")),
            ("min-delta", Some("min_delta")),
            ("mindlta", Some("min_delta")),
            ("gpus", Some("gpu")),
            ("cpu", Some("gpu")),
            ("tpus", None),
            ("loglevel", Some("log.level")),
            ("colour", None),
            ("", None),
        ];
        for (word, found) in table {
            assert_eq!(nearest(word, words.into_iter()), found, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), words.into_iter()), None);
    }
}
