//! The last lines of standard error: who aborts mostly says why.

/// So many bytes are kept.
const KEPT: usize = 2048;

/// The end of what came on standard error.
#[derive(Debug, Default)]
pub(crate) struct LastWords(String);

impl LastWords {
    /// Takes a piece of text.
    pub(crate) fn add(&mut self, text: &[u8]) {
        let end = &text[text.len().saturating_sub(KEPT)..];
        self.0.push_str(&String::from_utf8_lossy(end));
        let mut cut = self.0.len().saturating_sub(KEPT);
        while !self.0.is_char_boundary(cut) {
            cut += 1;
        }
        self.0.drain(..cut);
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_whatever_the_pieces() {
        let mut words = LastWords::default();
        for _ in 0..1000 {
            words.add("äöü".as_bytes());
        }
        words.add(&vec![b'x'; 10_000]);
        words.add("\nthe end".as_bytes());
        assert!(words.as_str().ends_with("xxx\nthe end") && words.as_str().len() <= KEPT);
        words.clear();
        assert_eq!(words.as_str(), "");
    }
}
