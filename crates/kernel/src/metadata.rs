//! What a cell's metadata asks of us. Front ends that send a cell's metadata with it (JupyterLab, Notebook, nbclient) let a notebook
//! carry settings; the protocol has no other way for a kernel to see the notebook's.

use crate::Kernel;
use serde_json::Value;

/// A project's notebook may choose how memory is cleaned up and nothing else.
const TABLE: &str = "policy";

impl Kernel {
    /// Reads the metadata of a cell that begins, and takes the settings in it. Returns why its results are to be left alone.
    pub(crate) fn take_metadata(&mut self, metadata: &[u8], code: &str) -> Option<String> {
        let mut tags = Vec::new();
        let mut keep = false;
        if contains(metadata, b"\"tags\"") || contains(metadata, b"\"rust_hygiene\"") {
            let metadata: Value = serde_json::from_slice(metadata).unwrap_or_default();
            let listed = metadata["tags"].as_array().into_iter().flatten();
            tags = listed
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let ours = &metadata["rust_hygiene"];
            keep = ours["keep"] == Value::Bool(true);
            self.take_settings(ours);
        }
        let policy = &self.setup.config.policy;
        policy::keeps(code, &tags, &policy.keep_tags)
            .or_else(|| keep.then(|| "its metadata".to_owned()))
    }

    /// A notebook's settings hold from this cell on, until `%hygiene policy set` or another cell sets them anew. The same again says
    /// nothing new.
    fn take_settings(&mut self, ours: &Value) {
        let given = match &ours[TABLE] {
            Value::Null => return,
            Value::String(name) => vec![("name".to_owned(), name.clone())],
            Value::Object(table) => table
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            _ => {
                self.notice_once(
                    "The cell's metadata `rust_hygiene.policy` must be a name or a table.".into(),
                );
                return;
            }
        };
        if self.notebook_settings == given {
            return;
        }
        for (key, value) in &given {
            if let Err(problem) =
                policy::set(&mut self.setup.config, &format!("{TABLE}.{key}"), value)
            {
                self.notice_once(format!("The cell's metadata `rust_hygiene`: {problem}."));
            }
        }
        self.notebook_settings = given;
    }

    fn notice_once(&mut self, text: String) {
        if !self.notices.contains(&text) {
            self.notices.push(text);
        }
    }
}

/// A JSON value as a text of the command line.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
