//! Text that a user's program made, made fit to be shown.

/// A short text without anything that could change how the text around it is shown. The only way from a record into a badge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown(String);

impl Shown {
    /// Cleans `raw` and cuts it to `max` characters, the last of which is then `…`.
    ///
    /// White space of any kind becomes single spaces; other control characters become their pictures (`␛`); characters that
    /// reorder the text around them (Unicode's bidirectional controls, as in "Trojan Source") become `�`; invisible ones go.
    pub(crate) fn new(raw: &str, max: usize) -> Self {
        let mut out = String::new();
        let mut length = 0;
        let mut space = false;
        for c in raw.chars() {
            let Some(c) = visible(c) else { continue };
            if c == ' ' {
                space = !out.is_empty();
                continue;
            }
            if length + usize::from(space) >= max {
                // No room for this one: the last place belongs to the mark of the cut.
                while length >= max.max(1) {
                    out.pop();
                    length -= 1;
                }
                out.push('…');
                return Self(out);
            }
            if space {
                out.push(' ');
                length += 1;
                space = false;
            }
            out.push(c);
            length += 1;
        }
        Self(out)
    }

    /// A line of code that is to be copied and run: cleaned, but neither cut nor with its spaces collapsed.
    pub(crate) fn code(raw: &str) -> Self {
        Self(raw.trim().chars().filter_map(visible).collect())
    }

    /// A text of our own, taken as it is.
    pub(crate) fn own(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For plain text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// For HTML, between tags or in a quoted attribute.
    pub(crate) fn html(&self) -> String {
        escape(&self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Escapes what has a meaning in HTML text or in a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            c => out.push(c),
        }
    }
    out
}

/// What is shown in place of `c`.
fn visible(c: char) -> Option<char> {
    match c {
        c if c.is_whitespace() => Some(' '),
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)),
        '\x7f' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some('\u{fffd}'),
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some('\u{fffd}')
        }
        // Soft hyphen, zero-width space, word joiner and invisible operators, byte order mark, tags. Joiners (U+200C,
        // U+200D) stay: names in several scripts need them.
        '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' => {
            None
        }
        '\u{e0000}'..='\u{e007f}' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cleaned_of_all_that_could_disturb_its_surroundings() {
        let table: &[(&str, &str)] = &[
            ("df", "df"),
            ("  a \t\n b  ", "a b"),
            ("\u{1b}[31mred\u{7}", "␛[31mred␇"),
            ("\0\u{7f}\u{85}\u{9b}", "␀␡ \u{fffd}"),
            ("user\u{202e}txt.exe", "user\u{fffd}txt.exe"),
            ("\u{2066}a\u{2069}\u{200f}", "\u{fffd}a\u{fffd}\u{fffd}"),
            ("a\u{200b}b\u{feff}c\u{ad}", "abc"),
            ("نام\u{200c}ها", "نام\u{200c}ها"),
            ("\u{2028}\u{3000}x", "x"),
            ("", ""),
        ];
        for &(raw, shown) in table {
            assert_eq!(Shown::new(raw, 40).text(), shown, "{raw:?}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_ends_in_an_ellipsis_and_keeps_to_its_limit() {
        let table: &[(&str, usize, &str)] = &[
            ("abcde", 5, "abcde"),
            ("abcdef", 5, "abcd…"),
            ("abcd   ", 4, "abcd"),
            ("ab cdef", 3, "ab…"),
            ("äöüß€", 4, "äöü…"),
            ("abc", 1, "…"),
            ("abc", 0, "…"),
            ("", 0, ""),
        ];
        for &(raw, max, shown) in table {
            assert_eq!(Shown::new(raw, max).text(), shown, "{raw:?} {max}");
        }
    }

    #[test]
    fn code_is_cleaned_but_keeps_all_its_characters() {
        let long = format!("for n in ({}): del_var(n)", "\"_1\", ".repeat(500));
        let table: &[(&str, &str)] = &[
            (&long, &long),
            (" globals().pop('a  b')\n", "globals().pop('a  b')"),
            ("a\n\tb", "a  b"),
            ("x\u{202e}\u{1b}", "x\u{fffd}␛"),
        ];
        for &(raw, shown) in table {
            assert_eq!(Shown::code(raw).text(), shown, "{raw:?}");
        }
    }

    #[test]
    fn html_has_no_character_left_that_html_gives_a_meaning() {
        assert_eq!(
            Shown::new(r#"<b a="1" c='2'>&"#, 40).html(),
            "&lt;b a=&quot;1&quot; c=&#x27;2&#x27;&gt;&amp;"
        );
    }
}
