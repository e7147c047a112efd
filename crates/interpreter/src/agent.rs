//! The agent's sources, embedded, and the bundle in which the child gets them.

use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

/// What `python -c` runs.
pub(crate) const BOOT: &str = include_str!("../agent/boot.py");

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("rust_hygiene_agent/", $name), include_str!(concat!("../agent/rust_hygiene_agent/", $name)))),*]
    };
}

const SOURCES: &[(&str, &str)] = sources![
    "__init__.py",
    "allocators.py",
    "answers.py",
    "application.py",
    "asking.py",
    "buffers.py",
    "carrying.py",
    "cells.py",
    "census.py",
    "channel.py",
    "cleaning.py",
    "clock.py",
    "comms.py",
    "compat.py",
    "compiler.py",
    "copy_end.py",
    "dap.py",
    "dead.py",
    "debug_session.py",
    "debugger.py",
    "debugging.py",
    "describe.py",
    "door.py",
    "facade.py",
    "facts.py",
    "foresight.py",
    "forks.py",
    "frames.py",
    "frameworks.py",
    "gates.py",
    "guard.py",
    "habits.py",
    "handles.py",
    "holders.py",
    "holdings.py",
    "hooks.py",
    "hygiene.py",
    "interrupts.py",
    "isolate.py",
    "kernel.py",
    "kernel_log.py",
    "kinds.py",
    "leftovers.py",
    "libc.py",
    "lodgers.py",
    "magics.py",
    "main.py",
    "names.py",
    "offered.py",
    "own_modules.py",
    "parts.py",
    "paths.py",
    "pools.py",
    "profile.py",
    "rebirth.py",
    "registries.py",
    "replies.py",
    "routing.py",
    "running.py",
    "segments.py",
    "separate.py",
    "serve.py",
    "sigint.py",
    "session.py",
    "shell.py",
    "sizing.py",
    "stand_in.py",
    "steps.py",
    "streams.py",
    "subshells.py",
    "swollen.py",
    "traces.py",
    "unseen.py",
    "variables.py",
];

/// The JSON that the boot code reads: sources, their hash (which names the bytecode cache) and the agent's configuration.
pub(crate) fn bundle(config: &serde_json::Value) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut sources = serde_json::Map::new();
    for (name, text) in SOURCES {
        hash.update(name.as_bytes());
        hash.update(text.as_bytes());
        sources.insert((*name).to_owned(), (*text).into());
    }
    let hash = hex::encode(&hash.finalize()[..12]);
    json!({"hash": hash, "sources": sources, "config": config})
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_file_of_the_agent_is_in_the_bundle() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/agent/rust_hygiene_agent");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".py"))
            .map(|name| format!("rust_hygiene_agent/{name}"))
            .collect();
        files.sort();
        let mut bundled: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
        bundled.sort_unstable();
        assert_eq!(files, bundled);
    }
}
