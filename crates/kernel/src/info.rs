//! The content of a `kernel_info_reply`.

use serde_json::Value;
use serde_json::json;

/// Python's version in three forms of the reply. `None` is a Python that has not spoken yet.
pub(crate) fn language_info(version: Option<&str>) -> Value {
    json!({
        "name": "python",
        "version": version.unwrap_or("3"),
        "mimetype": "text/x-python",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "pygments_lexer": "ipython3",
        "nbconvert_exporter": "python",
        "file_extension": ".py",
    })
}

/// The whole content (messaging specification, "Kernel info"). `supported_features` lists only what works.
pub(crate) fn content(
    program: &str,
    python: Option<&str>,
    version: Option<&str>,
    debugger: bool,
) -> Value {
    let mut features = vec!["iopub_welcome", "kernel subshells"];
    if debugger {
        features.push("debugger");
    }
    let banner = format!(
        "Rust-Hygiene Python {program}\nPython {}\nType '%lsmagic' for magics, '?' for help.",
        python
            .or(version)
            .unwrap_or("3")
            .lines()
            .next()
            .unwrap_or_default()
    );
    let docs = version.map_or_else(
        || "3".to_owned(),
        |version| version.split('.').take(2).collect::<Vec<_>>().join("."),
    );
    let links = [
        ("Python", format!("https://docs.python.org/{docs}")),
        (
            "IPython",
            "https://ipython.readthedocs.io/en/stable/".to_owned(),
        ),
        (
            "NumPy",
            "https://docs.scipy.org/doc/numpy/reference/".to_owned(),
        ),
        (
            "SciPy",
            "https://docs.scipy.org/doc/scipy/reference/".to_owned(),
        ),
        (
            "Matplotlib",
            "https://matplotlib.org/contents.html".to_owned(),
        ),
        (
            "SymPy",
            "http://docs.sympy.org/latest/index.html".to_owned(),
        ),
        (
            "pandas",
            "https://pandas.pydata.org/pandas-docs/stable/".to_owned(),
        ),
    ];
    json!({
        "status": "ok",
        "protocol_version": "5.5",
        "implementation": "rust-hygiene",
        "implementation_version": program,
        "language_info": language_info(version),
        "banner": banner,
        "help_links": links.map(|(name, url)| json!({"text": format!("{name} Reference"), "url": url})),
        "debugger": debugger,
        "supported_features": features,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_info_is_whole_before_python_has_spoken_and_after() {
        for (python, version, expected) in [
            (None, None, "3"),
            (Some("3.12.1 (main)\n[GCC]"), Some("3.12.1"), "3.12.1"),
        ] {
            let content = content("0.1.0", python, version, false);
            assert_eq!(content["language_info"]["version"], expected);
            assert!(content["banner"].as_str().unwrap().contains("Python 3"));
            assert_eq!(content["status"], "ok");
        }
    }
    #[test]
    fn the_debugger_is_listed_where_there_is_one() {
        for (debugger, features) in [
            (false, json!(["iopub_welcome", "kernel subshells"])),
            (
                true,
                json!(["iopub_welcome", "kernel subshells", "debugger"]),
            ),
        ] {
            let content = content("0.1.0", None, None, debugger);
            assert_eq!(content["debugger"], debugger);
            assert_eq!(content["supported_features"], features);
        }
    }
}
