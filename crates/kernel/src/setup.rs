//! What a kernel is started with.

use policy::Config;
use std::path::PathBuf;

/// Everything that the command line, the environment and the configuration files decide.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The Python interpreter, or the sentence that says why there is none.
    pub python: Result<PathBuf, String>,
    /// Variables set for the interpreter.
    pub env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// Path of the connection file; libraries ask for it.
    pub connection_file: PathBuf,
    /// Content of a `connect_reply`.
    pub connect: serde_json::Value,
    /// The session's id in our messages.
    pub session: String,
    /// The signing key; the agent's façade shows it to libraries.
    pub key: String,
    /// Traitlets arguments for IPython, as `--Class.trait=value`.
    pub arguments: Vec<String>,
    /// The configuration in force.
    pub config: Config,
    /// Where the journal is kept, if it is.
    pub journal: Option<journal::Options>,
    /// What was wrong with the configuration; shown once.
    pub notices: Vec<String>,
    /// Whether a person looks at the outputs, as the surroundings tell.
    pub someone_looks: bool,
    /// Whether badges are shown, as the surroundings decide it.
    pub badge: policy::Effective,
    /// Version of this program.
    pub version: &'static str,
}
