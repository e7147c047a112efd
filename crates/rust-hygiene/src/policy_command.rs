//! `rust-hygiene policy`: what the configuration in force here makes of cleanup steps, without a kernel.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use policy::{Backoff, Config, Occasion, Offer, Offers, Problem, Step, Trigger, Verdict, decide};

use crate::configuration;
use crate::output;

/// Show which cleanup steps run by themselves, and why.
///
/// The configuration is that of a kernel started in this folder: your own files, the project's, the environment, and `--set`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: Command,

    /// A setting above files and environment: `--set policy.name=strict`. May be given more than once.
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration: each mistake with its file and line. Ends with status 1 if there is one.
    Check,
    /// Show the policy in force: which step runs on which trigger, and its limits.
    Show,
    /// Show what would happen on a trigger, and why.
    Explain {
        /// after_cell, idle, exception, pressure, finding or before_cell; all of them without it.
        trigger: Option<String>,
        /// Suppose that each step would free this much.
        #[arg(long, value_name = "SIZE", default_value = "100 MiB")]
        free: String,
        /// Suppose that the interpreter holds this much.
        #[arg(long, value_name = "SIZE", default_value = "500 MiB")]
        resident: String,
        /// Suppose that each step would take this long.
        #[arg(long, value_name = "MILLISECONDS", default_value_t = 50)]
        takes_ms: u64,
        /// Suppose that the finding is of this cause.
        #[arg(long, value_name = "CAUSE", default_value = "pool_cache")]
        cause: String,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
}

/// Runs the command.
///
/// # Errors
/// A trigger or a size that is none.
pub fn run(args: PolicyArgs) -> anyhow::Result<ExitCode> {
    let (config, problems) = configuration::load(configuration::pairs(&args.set));
    match args.command {
        Command::Check => return check(&problems),
        Command::Schema => output::line(&serde_json::to_string_pretty(&policy::schema())?)?,
        Command::Show => {
            tell(&problems);
            output::line(&policy::table(&config))?;
        }
        Command::Explain {
            trigger,
            free,
            resident,
            takes_ms,
            cause,
        } => {
            tell(&problems);
            let offer = Offer {
                bytes: Some(policy::parse_size(&free)?),
                seconds: Some(takes_ms as f64 / 1000.0),
                refusal: None,
            };
            let triggers = match trigger {
                None => Trigger::OF_POLICIES.to_vec(),
                Some(word) => vec![Trigger::named(&word).ok_or_else(|| no_trigger(&word))?],
            };
            let resident = policy::parse_size(&resident)?;
            for trigger in triggers {
                output::line(&explain(&config, trigger, &offer, resident, &cause))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn no_trigger(word: &str) -> anyhow::Error {
    let all: Vec<&str> = Trigger::OF_POLICIES
        .into_iter()
        .map(Trigger::word)
        .collect();
    anyhow::anyhow!(
        "there is no trigger `{word}`; use one of {}",
        all.join(", ")
    )
}

fn check(problems: &[Problem]) -> anyhow::Result<ExitCode> {
    let files = configuration::files();
    if files.is_empty() {
        output::line("no configuration file applies here")?;
    }
    for file in files {
        output::line(&format!("read {}", file.display()))?;
    }
    if problems.is_empty() {
        output::line("no mistake")?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(problems);
    Ok(ExitCode::FAILURE)
}

fn tell(problems: &[Problem]) {
    for problem in problems {
        output::note(&problem.to_string());
    }
}

fn explain(config: &Config, trigger: Trigger, offer: &Offer, resident: u64, cause: &str) -> String {
    let offers: Offers = Step::ALL
        .into_iter()
        .map(|step| (step, offer.clone()))
        .collect();
    let occasion = Occasion {
        trigger: Some(trigger),
        findings: Step::ALL
            .into_iter()
            .map(|step| (cause.to_owned(), step))
            .collect(),
        moved: offer.bytes.unwrap_or(0),
        resident,
        ..Occasion::default()
    };
    let mut text = trigger.word().to_owned();
    for decision in decide(&config.policy, &occasion, &offers, &Backoff::default()) {
        let mark = match decision.verdict {
            Verdict::Run => "runs",
            Verdict::Suggest => "told",
            Verdict::No => "-",
        };
        text.push_str(&format!(
            "\n  {:<16} {mark:<5} {}",
            decision.step, decision.reason
        ));
    }
    text
}
