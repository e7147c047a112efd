//! A policy as text.

use std::fmt::Write;

use super::{PolicyName, Step, Trigger};
use crate::config::Config;
use crate::keys::KEYS;

/// The policy in force: which step runs on which trigger, and every key of its table that is not at its default.
#[must_use]
pub fn table(config: &Config) -> String {
    let policy = &config.policy;
    let mut text = format!("policy {}\n\n{:<16}", policy.name, "step");
    for trigger in Trigger::OF_POLICIES {
        let _ = write!(text, " {:<11}", trigger.word());
    }
    for step in Step::ALL {
        let _ = write!(text, "\n{:<16}", step.word());
        for trigger in Trigger::OF_POLICIES {
            let mark = match policy.steps_on(trigger).has(step) {
                true if policy.name == PolicyName::Suggest => "told",
                true => "runs",
                false => "-",
            };
            let _ = write!(text, " {mark:<11}");
        }
    }
    text.push_str("\n\n");
    let defaults = Config::default();
    for key in KEYS.iter().filter(|key| key.name.starts_with("policy.")) {
        let value = key.print(config);
        if value != key.print(&defaults) {
            let _ = writeln!(text, "{} = {value}", key.name);
        }
    }
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}
