//! `rust-hygiene colab`: a Jupyter server to which Google Colab connects as its "local runtime".

mod plan;
mod server;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::configuration;
use crate::kernelspec::{self, DEFAULT_NAME, NewSpec};
use crate::output;
use crate::probe::{self, Depth, Facts};
use crate::python::{Candidates, choose_python};
use plan::Plan;

/// The names under which Colab finds the kernel: it asks for `python3` unless the notebook names another one.
const NAMES: [&str; 2] = ["python3", DEFAULT_NAME];

/// Let Google Colab use this machine: starts the Jupyter server that Colab connects to as a local runtime.
///
/// In this server, and nowhere else, `python3` is this kernel: Colab asks for that name. Prints the URL to paste in Colab; whoever
/// has it can run code here as you. Ctrl-C ends the server and its kernels.
#[derive(Debug, Args)]
pub struct ColabArgs {
    /// The port that the server listens on, on this machine only.
    #[arg(long, default_value_t = 8888, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// The Python that runs the cells: a program, an environment's folder or a name on PATH. Without it the one that
    /// `rust-hygiene doctor` tells.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,

    /// The Python that has jupyter_server, if it is not the one that runs the cells.
    #[arg(long, value_name = "PATH")]
    jupyter: Option<PathBuf>,

    /// Print what would be written and run, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Further options for the Jupyter server, for example `-- --ServerApp.root_dir=/data`.
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// If a Python, jupyter_server or the port is missing, or the server does not become ready.
pub fn run(args: ColabArgs) -> Result<ExitCode> {
    let (python, _) = choose_python(&Candidates::from_process(args.python))?;
    let facts = probe::usable(&python)?;
    if let Some(missing) = facts.missing_ipython(&python) {
        bail!("{missing}");
    }
    let jupyter = match args.jupyter {
        None => python.clone(),
        named => choose_python(&Candidates::from_process(named))?.0,
    };
    require_server(&jupyter, (jupyter == python).then_some(&facts))?;
    let spec = NewSpec {
        program: std::env::current_exe().context("cannot tell the path of this program")?,
        python: Some(python.clone()),
        display_name: None,
        env: badges(),
    };
    let plan = Plan {
        kernel_json: spec.to_json()?,
        program: spec.program,
        jupyter,
        port: args.port,
        options: args.options,
        jupyter_path: std::env::var_os("JUPYTER_PATH"),
    };
    if args.dry_run {
        output::write(plan.describe().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    require_free(args.port)?;
    let folder = PrivateFolder::new(&plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let welcome = || {
        let cells = format!("{} ({})", python.display(), facts.version_text());
        output::line(&welcome(&cells, args.port, &folder.token))
    };
    runtime.block_on(server::run(
        &plan,
        folder.path.path(),
        &folder.token,
        welcome,
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// A person looks at this server's notebooks, so `auto` means badges, also for a kernel that is started without a session.
fn badges() -> Vec<(String, String)> {
    let (config, _) = configuration::load(Vec::new());
    let is_open = config.badge == policy::BadgeMode::Auto;
    is_open
        .then(|| ("RUST_HYGIENE_BADGE".to_owned(), "output".to_owned()))
        .into_iter()
        .collect()
}

/// Fails if the interpreter has no jupyter_server. `known` is what it said already.
fn require_server(jupyter: &Path, known: Option<&Facts>) -> Result<()> {
    let asked;
    let facts = match known {
        Some(facts) => facts,
        None => {
            asked = probe::ask(jupyter, Depth::Packages)?;
            &asked
        }
    };
    if facts.jupyter_server.is_none() {
        let python = jupyter.display();
        bail!(
            "{python} has no jupyter_server; install it with: {python} -m pip install jupyter_server, \
             or name a Python that has it with --jupyter PATH"
        );
    }
    Ok(())
}

/// Fails if something listens on the port already, on either of the addresses that `localhost` may mean to a browser.
fn require_free(port: u16) -> Result<()> {
    for address in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ] {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "port {port} is in use ({address}), perhaps by another Jupyter; end that one or choose another with --port"
            ),
            Err(error) if address.is_ipv4() => {
                return Err(error).with_context(|| {
                    format!("cannot listen on port {port}; choose another with --port")
                });
            }
            _ => {} // free, or no IPv6 here
        }
    }
    Ok(())
}

/// Readable by this user alone, and gone with the server: the kernelspecs, and the token that lets Colab in.
struct PrivateFolder {
    path: tempfile::TempDir,
    token: String,
}

impl PrivateFolder {
    fn new(plan: &Plan) -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("rust-hygiene-colab-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        for name in NAMES {
            let folder = path.path().join("kernels").join(name);
            kernelspec::write(&folder, &plan.kernel_json, false)?;
        }
        // As for Jupyter itself, a variable fixes the token; else nobody can guess it.
        let token = std::env::var("JUPYTER_TOKEN")
            .ok()
            .filter(|token| is_plain(token))
            .unwrap_or_else(|| {
                format!(
                    "{}{}",
                    uuid::Uuid::new_v4().simple(),
                    uuid::Uuid::new_v4().simple()
                )
            });
        write_secret(&path.path().join("token"), &token)?;
        Ok(Self { path, token })
    }
}

/// It can stand in a URL and in a header as it is.
fn is_plain(token: &str) -> bool {
    !token.is_empty()
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
}

fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn welcome(cells: &str, port: u16, token: &str) -> String {
    format!(
        "Ready for Google Colab. Cells run on this machine with {cells}.

 1. Open a notebook at https://colab.research.google.com
 2. In the menu beside \"Connect\", choose \"Connect to a local runtime\" and paste

        http://localhost:{port}/?token={token}

 3. If the browser asks whether Colab may reach this device or the local network, allow it.

Whoever has this URL can run code here as you. Ctrl-C ends the server and its kernels."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_would_need_quoting_is_not_taken() {
        for (token, plain) in [
            ("abc-DEF_1.2~", true),
            ("", false),
            ("a b", false),
            ("a&b", false),
            ("a\r\nHost: x", false),
        ] {
            assert_eq!(is_plain(token), plain, "{token:?}");
        }
    }

    #[test]
    fn a_port_in_use_is_refused_and_a_free_one_is_not() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let error = require_free(port).unwrap_err().to_string();
        assert!(
            error.contains(&port.to_string()) && error.contains("--port"),
            "{error}"
        );
        drop(held);
        require_free(port).unwrap();
    }
}
