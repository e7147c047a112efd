//! `rust-hygiene kernel`: what Jupyter runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use kernel::{Kernel, Setup};
use policy::LogLevel;
use tracing_subscriber::filter::LevelFilter;
use wire::ConnectionFile;

use crate::python::{Candidates, choose_python, conda_prefix};
use crate::{configuration, journal, processes};

/// Run the kernel. Jupyter calls this; you hardly ever will.
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// The connection file that Jupyter wrote: addresses, ports and the signing key.
    #[arg(
        short = 'f',
        long,
        value_name = "PATH",
        required = true,
        overrides_with = "connection_file"
    )]
    pub connection_file: PathBuf,

    /// The Python that runs the cells. Without it the first of these: RUST_HYGIENE_PYTHON, a Python beside this program,
    /// VIRTUAL_ENV, CONDA_PREFIX, `python3` on PATH.
    #[arg(long, value_name = "PATH", overrides_with = "python")]
    pub python: Option<PathBuf>,

    /// Append the kernel's own log to this file instead of standard error.
    #[arg(long, value_name = "FILE", overrides_with = "log")]
    pub log: Option<PathBuf>,

    /// A setting for this kernel alone, above files and environment: `--set badge=warn`. May be given more than once;
    /// docs/configuration.md lists the keys.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Anything else, for example `--HistoryManager.enabled=False`: handed to IPython, never a reason not to start.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub ipython_args: Vec<String>,
}

/// Runs the kernel until it is told to stop.
///
/// # Errors
/// When the kernel cannot start: no connection file, no interpreter to name, a port in use.
pub fn run(args: KernelArgs) -> anyhow::Result<()> {
    let has_warden = interpreter::warden::start();
    let (config, problems) = configuration::load(configuration::pairs(&args.set));
    start_log(
        args.log.as_deref().or(config.log.file.as_deref()),
        config.log.level,
    )?;
    match (has_warden, interpreter::warden::pid()) {
        (Err(error), _) => {
            tracing::warn!(%error, "what cells start outlives a kernel that is killed")
        }
        (Ok(()), pid) => pid.into_iter().for_each(meter::note_started),
    }
    for problem in &problems {
        tracing::warn!("{problem}");
    }
    let connection = ConnectionFile::load(&args.connection_file)?;
    // A kernel without an interpreter still starts: it says in the notebook what is missing.
    let python = choose_python(&Candidates::from_process(
        args.python.or_else(|| config.python.clone()),
    ))
    .map(|(python, _)| python)
    .map_err(|error| error.to_string());
    let info = connection.info();
    let surroundings = configuration::surroundings();
    let setup = Setup {
        env: python.as_deref().map(environment).unwrap_or_default(),
        python,
        connection_file: std::path::absolute(&args.connection_file)?,
        connect: serde_json::json!({
            "status": "ok",
            "shell_port": info.shell_port,
            "iopub_port": info.iopub_port,
            "stdin_port": info.stdin_port,
            "hb_port": info.hb_port,
            "control_port": info.control_port,
        }),
        session: String::new(),
        key: connection.key.clone(),
        arguments: args.ipython_args,
        journal: journal_options(&config, &args.connection_file),
        someone_looks: surroundings.someone_looks(),
        badge: policy::resolve(config.badge, &surroundings),
        config,
        notices: problems.iter().map(ToString::to_string).collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    // One thread: the interpreter dies with the thread that started it, and nothing has to be handed over.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(setup, &connection));
    interpreter::warden::dismiss();
    outcome
}

/// The journal bears the name of the connection file, as the kernel does in Jupyter's lists.
fn journal_options(config: &policy::Config, connection_file: &Path) -> Option<::journal::Options> {
    let id = connection_file.file_stem()?.to_string_lossy().into_owned();
    (config.journal.size > 0).then_some(())?;
    Some(::journal::Options {
        folder: journal::folder()?,
        id,
        max_bytes: config.journal.size,
    })
}

async fn serve(mut setup: Setup, connection: &ConnectionFile) -> anyhow::Result<()> {
    setup.session = uuid::Uuid::new_v4().to_string();
    // Python first: it starts while the sockets are bound.
    let interpreter = Kernel::start_interpreter(&setup, None, None);
    let (outbox, inbox) = wire::bind(connection, wire::Options::default()).await?;
    let kernel = Kernel::new(setup, outbox, interpreter);
    tokio::select! {
        ended = kernel.run(inbox) => {
            tracing::info!(?ended, "the kernel ended");
            anyhow::ensure!(ended != kernel::Ended::Died, "the Python interpreter died");
        }
        () = parent_gone() => tracing::warn!("the program that started the kernel is gone; so is the kernel"),
    }
    Ok(())
}

/// Waits for the end of the process that started us, if it asked to be watched (`JPY_PARENT_PID`, as ipykernel; 1 means no).
async fn parent_gone() {
    let watched = std::env::var("JPY_PARENT_PID")
        .is_ok_and(|pid| pid.trim().parse::<i32>().is_ok_and(|pid| pid > 1));
    let Some(parent) = watched.then(processes::watch_parent).flatten() else {
        return std::future::pending().await;
    };
    if let Err(error) = parent.readable().await {
        tracing::warn!(%error, "the parent process is not watched");
        std::future::pending::<()>().await;
    }
}

/// What the interpreter needs beside what we inherited: a conda environment's libraries look for it in the environment.
fn environment(python: &Path) -> Vec<(OsString, OsString)> {
    let Some(prefix) = conda_prefix(python) else {
        return Vec::new();
    };
    let mut path = prefix.join("bin").into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    vec![
        ("CONDA_PREFIX".into(), prefix.into_os_string()),
        ("PATH".into(), path),
    ]
}

/// Logs to a file, or to standard error, which the Jupyter server shows.
fn start_log(file: Option<&Path>, level: LogLevel) -> anyhow::Result<()> {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    match file {
        Some(path) => {
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot write the log file {}", path.display()))?;
            log.with_writer(std::sync::Mutex::new(file)).init();
        }
        None => log.with_writer(std::io::stderr).init(),
    }
    Ok(())
}
