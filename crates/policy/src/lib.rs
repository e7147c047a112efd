//! Configuration, when a badge is shown, and which cleanup step is due.
//!
//! Everything that decides is pure: [`load`] turns texts into a [`Config`] and a list of [`Problem`]s, [`resolve`] and
//! [`should_show`] decide about badges, [`decide`] about cleanup steps. [`discover`] and [`read`] are the only ones that look at the disk.
//!
//! A mistake in a configuration never stops the kernel: the key keeps the value that it had, and the problem says which file,
//! line and key, what was wrong and what is allowed. The keys are one table, [`KEYS`]: files, environment, command line, the
//! example file and the test of `docs/configuration.md` all read it.
//!
//! ```
//! use policy::{BadgeMode, Level, Source, load};
//!
//! let file = Source::Toml { level: Level::User, path: "config.toml".into(), text: "badge = \"warn\"\nmin_dleta = 0".into() };
//! let env = Source::Env(vec![("RUST_HYGIENE_MIN_DELTA".into(), "4 MiB".into())]);
//! let (config, problems) = load(&[file, env]);
//! assert_eq!((config.badge, config.min_delta), (BadgeMode::Warn, 4 << 20));
//! assert_eq!(problems[0].to_string(), "config.toml, line 2: unknown key `min_dleta`; did you mean `min_delta`?");
//! ```

mod allowed;
mod badge_mode;
mod cleanup;
mod config;
mod discover;
mod example;
mod keys;
mod load;
mod problem;
mod schema;
mod size;
mod suggest;
mod tables;
mod value;

pub use allowed::Allowed;
pub use badge_mode::{CellFlags, Effective, Surroundings, resolve, should_show};
pub use cleanup::{
    Backoff, CAUSES, Decision, Occasion, Offer, Offers, Policy, PolicyName, Reason, Step, Steps,
    Trigger, Verdict, decide, keeps, table,
};
pub use config::{
    BadgeMode, Config, Finding, Guard, GuardLevel, Journal, Log, LogLevel, StreamLimit,
};
pub use discover::{Found, MAX_FILE_BYTES, Places, discover, read};
pub use keys::{KEYS, Key};
pub use load::{ENV_PREFIX, Level, Source, load, set, unread_list};
pub use problem::Problem;
pub use schema::schema;
pub use size::{SizeError, parse_size, print_size};
