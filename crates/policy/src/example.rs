//! A file that a person can start from.

use crate::config::Config;
use crate::keys::KEYS;

/// Widest line of a comment.
const WIDTH: usize = 100;

impl Config {
    /// An example file: every key with what it is for, what it allows and its default, commented out.
    #[must_use]
    pub fn example_toml() -> String {
        let defaults = Self::default();
        let mut out = String::from(
            "# Configuration of Rust-Hygiene Python. Every key has its default here; remove the # to set it.\n",
        );
        let mut table = "";
        for key in KEYS {
            let (its_table, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if its_table != table {
                table = its_table;
                out.push_str(&format!("\n[{table}]\n"));
            }
            out.push('\n');
            for line in wrap(key.doc) {
                out.push_str(&format!("# {line}\n"));
            }
            out.push_str(&format!(
                "# Allowed: {}. Environment: {}\n",
                key.allowed,
                key.env_name()
            ));
            out.push_str(&format!("#{name} = {}\n", key.print(&defaults)));
        }
        out
    }
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + word.len() < WIDTH - 2 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
