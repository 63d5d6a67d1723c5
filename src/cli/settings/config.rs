//! What can be set, once: each section is read from the configuration file and from the command line alike.
//!
//! The id of a flag is the key's path in the file (`epoch.length` is `--epoch`), so that the reference in README
//! and the check for unknown keys come from the flags themselves. A flag overrides the file.

use super::expect::Expect;
use super::given::{self, Given};
use super::source_flags::{self, Values};
use super::suggest::suggest;
use crate::cli::terminal::failure::{Code, Failure, sentence};
use crate::cli::units::{Bytes, Count, Limit, Millis, Share, When};
use clap::{Args, FromArgMatches, ValueEnum};
use headway_operators::pipeline::Entry;
use headway_operators::setting::Setting;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Declares a section, and how one of its values overrides another's.
macro_rules! section {
    ($(#[$about:meta])* $section:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $section { $($(#[$field_about])* pub(crate) $field: Option<$type>,)* }

        impl $section {
            /// These settings, and those of `under` where nothing is set here.
            pub(crate) fn over(self, under: $section) -> $section {
                $section { $($field: self.$field.or(under.$field),)* }
            }

            /// True if `key` is set here.
            fn sets(&self, key: &str) -> bool {
                match key {
                    $(stringify!($field) => self.$field.is_some(),)*
                    _ => false,
                }
            }
        }
    };
}

section! {
    /// What runs, and when it ends.
    Job {
        /// The pipeline to run
        #[arg(id = "job.pipeline", value_name = "PIPELINE", help_heading = "Arguments")]
        pipeline: String,
        /// Name of the job in the lake [default: the pipeline's name]
        #[arg(id = "job.name", long = "job", value_name = "NAME")]
        name: String,
        /// Worker threads of this process; the output does not depend on their number [default: as in the last run, or 1]
        #[arg(id = "job.workers", long = "workers", short = 'w', value_name = "N")]
        workers: Count,
        /// When the job ends by itself [default: end for files and a bounded generator, else never]
        #[arg(id = "job.until", long = "until", value_name = "WHEN")]
        until: Until,
        /// What to do if another run of the job may be at work [default: wait]
        #[arg(id = "job.if_running", long = "if-running", value_name = "WHAT")]
        if_running: IfRunning,
        /// Drop the saved state of operator NAME, which the pipeline no longer has; may be repeated
        #[arg(id = "job.allow_dropped_state", long = "allow-dropped-state", value_name = "NAME")]
        allow_dropped_state: Vec<String>,
        /// Skip records that are gone: exactly the gap that records-gone names, INPUT=P:FROM..TO; may be repeated
        #[arg(id = "job.accept_gap", long = "accept-gap", value_name = "GAP")]
        accept_gap: Vec<String>,
        /// Let views that are new to the job begin with the facts of EPOCH and later ones, if earlier files are gone
        #[arg(id = "job.views_from", long = "views-from", value_name = "EPOCH")]
        views_from: Count,
        /// Open the sealed day DATE for this run, and write those of its gold files again that differ from the committed facts; may be repeated
        #[arg(id = "job.unseal", long = "unseal", value_name = "DATE")]
        unseal: Vec<String>,
        /// The most memory that this process may take, such as 2GiB: near the limit sources pause, at the limit the job stops (memory-limit) [default: no limit]
        #[arg(id = "job.memory_limit", long = "memory-limit", value_name = "SIZE", allow_hyphen_values = true)]
        memory_limit: Bytes,
        /// Only warn if expectation NAME fails; may be repeated
        #[arg(id = "job.expect_warn", long = "expect-warn", value_name = "NAME")]
        expect_warn: Vec<String>,
    }
}

section! {
    /// The other processes of a job.
    Cluster {
        /// Processes of the job; each has as many workers [default: the lines of the host file, or as in the last run, or 1]
        #[arg(id = "cluster.processes", long = "processes", short = 'n', value_name = "N")]
        processes: Count,
        /// The number of this process, from 0 [default: the number at the end of the host's name, under Kubernetes]
        #[arg(id = "cluster.process", long = "process", short = 'p', value_name = "N")]
        process: Count,
        /// A file with the address of each process, HOST:PORT a line, from process 0 on
        #[arg(id = "cluster.hostfile", long = "hostfile", short = 'H', value_name = "FILE")]
        hostfile: PathBuf,
        /// A file with a secret that all processes know; required if other machines can reach an address
        #[arg(id = "cluster.secret_file", long = "mesh-secret-file", value_name = "FILE")]
        secret_file: PathBuf,
        /// A file with the certificate of this process, in PEM form; with --mesh-key and --mesh-ca, connections between processes are TLS 1.3
        #[arg(id = "cluster.cert_file", long = "mesh-cert", value_name = "FILE")]
        cert_file: PathBuf,
        /// A file with the private key of that certificate
        #[arg(id = "cluster.key_file", long = "mesh-key", value_name = "FILE")]
        key_file: PathBuf,
        /// A file with the certificate of the CA that has signed the certificates of all processes
        #[arg(id = "cluster.ca_file", long = "mesh-ca", value_name = "FILE")]
        ca_file: PathBuf,
        /// How long to wait for the other processes [default: 60s]
        #[arg(id = "cluster.join_within", long = "join-within", value_name = "TIME", allow_hyphen_values = true)]
        join_within: Millis,
        /// Where the number of processes and workers, and the hosts, come from [default: as-set]
        #[arg(id = "cluster.members", long = "members", value_name = "WHOSE")]
        members: MembersOf,
        /// How often the process may start itself again after a lost process, a panic, a missed start or another failure with exit
        /// code 3 [default: 20, and 0 for a job of one process]
        #[arg(id = "cluster.restarts", long = "restarts", value_name = "N")]
        restarts: Count,
    }
}

section! {
    /// Where rows go.
    Lake {
        /// Where rows go: a local folder, made if absent
        #[arg(id = "lake.uri", long = "lake", value_name = "URI")]
        uri: String,
    }
}

section! {
    /// What commits together.
    Epoch {
        /// Commit at least this often while records come [default: 1s, at least 50ms]
        #[arg(id = "epoch.length", long = "epoch", value_name = "TIME", allow_hyphen_values = true)]
        length: Millis,
        /// Commit when a worker has read this many bytes [default: 16MiB]
        #[arg(id = "epoch.bytes", long = "epoch-bytes", value_name = "SIZE", allow_hyphen_values = true)]
        bytes: Bytes,
    }
}

section! {
    /// Columns of CSV rows that not everyone wants.
    Csv {
        /// Put a row number first, without a name, as pandas does [default: false]
        #[arg(id = "csv.index", long = "csv-index", value_name = "BOOL",
            num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        index: bool,
    }
}

section! {
    /// Partitions without news.
    Idle {
        /// A partition that was read to its end is idle after this time without records, or never; idle partitions hold no windows open [default: 60s]
        #[arg(id = "idle.after", long = "idle-after", value_name = "TIME", allow_hyphen_values = true)]
        after: Limit<Millis>,
        /// Close all open windows once every partition has been idle for this time, or never [default: 10m]
        #[arg(id = "idle.flush", long = "idle-flush", value_name = "TIME", allow_hyphen_values = true)]
        flush: Limit<Millis>,
    }
}

section! {
    /// Messages that cannot be decoded.
    Dead {
        /// Stop the job if more than this share of the records since it was last judged, at least 1,000, is dead [default: 50%]
        #[arg(id = "dead.max", long = "dead-max", value_name = "SHARE", allow_hyphen_values = true)]
        max: Share,
    }
}

section! {
    /// Records that come after their windows have closed.
    Late {
        /// Stop the job if more than this share of at least 1,000 records is late [default: warn at 20%, never stop]
        #[arg(id = "late.max", long = "late-max", value_name = "SHARE", allow_hyphen_values = true)]
        max: Share,
    }
}

section! {
    /// What a running job answers over HTTP.
    Serve {
        /// Serve metrics, health, views and a dashboard over HTTP here: a port on this machine, or an address with a port
        #[arg(id = "serve.listen", long = "listen", value_name = "ADDRESS")]
        listen: String,
        /// A file with a token that requests must send; required if other machines can reach the address
        #[arg(id = "serve.token_file", long = "listen-token-file", value_name = "FILE")]
        token_file: PathBuf,
    }
}

section! {
    /// Views as tables of a PostgreSQL database.
    Postgres {
        /// Keep the views up to date in this database too: postgresql://USER@HOST/DATABASE
        #[arg(id = "postgres.url", long = "postgres", value_name = "URL")]
        url: String,
        /// A file with the password [default: the variable PGPASSWORD]
        #[arg(id = "postgres.password_file", long = "postgres-password-file", value_name = "FILE")]
        password_file: PathBuf,
        /// A file with the CA certificates (PEM) of the server [default: those of the system]
        #[arg(id = "postgres.ca_file", long = "postgres-ca", value_name = "FILE")]
        ca_file: PathBuf,
        /// Let this role of the database read the tables
        #[arg(id = "postgres.grant", long = "postgres-grant", value_name = "ROLE")]
        grant: String,
    }
}

section! {
    /// Seeded messages instead of a real source.
    Generate {
        /// Seed of the random messages [default: the pipeline's]
        #[arg(id = "generate.seed", long = "seed", value_name = "N")]
        seed: Count,
        /// Messages in all partitions together, or none for an endless source [default: the pipeline's]
        #[arg(id = "generate.messages", long = "messages", value_name = "N")]
        messages: Limit<Count>,
        /// Number of partitions [default: the pipeline's]
        #[arg(id = "generate.partitions", long = "partitions", value_name = "N")]
        partitions: Count,
        /// Messages per second of event time [default: the pipeline's]
        #[arg(id = "generate.rate", long = "rate", value_name = "X", allow_hyphen_values = true)]
        rate: f64,
        /// The most time between an event and its message [default: the pipeline's]
        #[arg(id = "generate.disorder", long = "disorder", value_name = "TIME", allow_hyphen_values = true)]
        disorder: Millis,
        /// Share of messages that repeat an earlier one [default: the pipeline's]
        #[arg(id = "generate.dup", long = "dup", value_name = "SHARE", allow_hyphen_values = true)]
        dup: Share,
        /// Share of messages that come hours late [default: the pipeline's]
        #[arg(id = "generate.late", long = "late", value_name = "SHARE", allow_hyphen_values = true)]
        late: Share,
        /// Share of messages that cannot be decoded [default: the pipeline's]
        #[arg(id = "generate.bad", long = "bad", value_name = "SHARE", allow_hyphen_values = true)]
        bad: Share,
        /// Distinct keys: turnstiles, users [default: the pipeline's]
        #[arg(id = "generate.keys", long = "keys", value_name = "N")]
        keys: Count,
        /// Event time of the first message [default: the pipeline's]
        #[arg(id = "generate.start", long = "start", value_name = "INSTANT")]
        start: When,
    }
}

/// When a job ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Until {
    /// What was there at the start was read; windows stay open
    CaughtUp,
    /// The sources have ended; every window closes
    End,
}

/// Whose processes, workers and hosts count at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MembersOf {
    /// Those of flags, variables and file; what they leave open is as in the last run
    AsSet,
    /// Those of the last run, if there was one: only headway rescale changes them
    AsCommitted,
}

/// What to do if another run of the job may be at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IfRunning {
    /// Go on if it ended; else wait up to 15 s for a sign of life, and stop if there is one
    Wait,
    /// Fence it at once and go on from its last commit
    TakeOver,
    /// Stop at once, unless it is known to have ended
    Refuse,
}

impl IfRunning {
    /// The word for it in flags and files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            IfRunning::Wait => "wait",
            IfRunning::TakeOver => "take-over",
            IfRunning::Refuse => "refuse",
        }
    }
}

/// Everything that can be set.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// `[job]`
    #[command(flatten, next_help_heading = "Job")]
    pub(crate) job: Job,
    /// `[source]`: what is for all inputs; on the command line also what is for one.
    #[command(flatten, next_help_heading = "Source")]
    pub(crate) source: Values,
    /// `[input.NAME]`: what is for one input.
    #[arg(skip)]
    pub(crate) input: BTreeMap<String, Values>,
    /// `[pipeline]`: what the pipeline declares.
    #[command(flatten)]
    pub(crate) pipeline: Given,
    /// `[cluster]`
    #[command(flatten, next_help_heading = "Processes")]
    pub(crate) cluster: Cluster,
    /// `[lake]`
    #[command(flatten, next_help_heading = "Lake")]
    pub(crate) lake: Lake,
    /// `[csv]`
    #[command(flatten)]
    pub(crate) csv: Csv,
    /// `[epoch]`
    #[command(flatten, next_help_heading = "Epochs and limits")]
    pub(crate) epoch: Epoch,
    /// `[idle]`
    #[command(flatten)]
    pub(crate) idle: Idle,
    /// `[dead]`
    #[command(flatten)]
    pub(crate) dead: Dead,
    /// `[late]`
    #[command(flatten)]
    pub(crate) late: Late,
    /// `[serve]`
    #[command(flatten, next_help_heading = "HTTP")]
    pub(crate) serve: Serve,
    /// `[postgres]`
    #[command(flatten, next_help_heading = "PostgreSQL")]
    pub(crate) postgres: Postgres,
    /// `[generate]`: on the command line these are part of `--source generate:…`.
    #[arg(skip)]
    pub(crate) generate: Generate,
    /// `[[expect]]`: the expectations of views and records. There are no flags for it.
    #[arg(skip)]
    pub(crate) expect: Vec<Expect>,
}

impl Generate {
    /// Reads `key=value,…`, the part of `--source generate:…` after the colon.
    ///
    /// # Errors
    /// Exit 2 if a key is unknown or a value unfit.
    pub(crate) fn parse(text: &str) -> Result<Generate, Failure> {
        let keys = keys();
        let known: Vec<&str> =
            keys.iter().filter(|key| key.section == "generate").map(|key| key.name.as_str()).collect();
        let mut set = Generate::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&key) {
                return Err(Failure::new(
                    Code::SettingInvalid,
                    format!("unknown key \"{key}\" in --source generate:"),
                )
                .hint(suggest(key, &known, "keys")));
            }
            let command = Generate::augment_args(clap::Command::new("generate").no_binary_name(true));
            let found = command.try_get_matches_from([format!("--{key}={value}")]);
            let one = found.and_then(|found| Generate::from_arg_matches(&found)).map_err(|error| {
                let why = std::error::Error::source(&error)
                    .map_or("the value is missing".into(), ToString::to_string);
                Failure::new(Code::SettingInvalid, format!("unfit value of \"{key}\" in --source generate:"))
                    .detail(sentence(&why))
                    .hint("Write --source generate:key=value,key=value.")
            })?;
            set = one.over(set);
        }
        Ok(set)
    }
}

impl Settings {
    /// These settings, and those of `under` where nothing is set here.
    pub(crate) fn over(self, under: Settings) -> Settings {
        Settings {
            job: self.job.over(under.job),
            // What is whose is known once the pipeline is.
            source: self.source,
            input: self.input,
            pipeline: self.pipeline.over(under.pipeline),
            cluster: self.cluster.over(under.cluster),
            lake: self.lake.over(under.lake),
            csv: self.csv.over(under.csv),
            epoch: self.epoch.over(under.epoch),
            idle: self.idle.over(under.idle),
            dead: self.dead.over(under.dead),
            late: self.late.over(under.late),
            serve: self.serve.over(under.serve),
            postgres: self.postgres.over(under.postgres),
            generate: self.generate.over(under.generate),
            // Only a file has it.
            expect: under.expect,
        }
    }

    /// True if `section.key` is set here.
    pub(crate) fn sets(&self, section: &str, key: &str) -> bool {
        match section {
            "job" => self.job.sets(key),
            source_flags::SECTION => self.source.sets(key),
            given::SECTION => self.pipeline.sets(key),
            "cluster" => self.cluster.sets(key),
            "lake" => self.lake.sets(key),
            "csv" => self.csv.sets(key),
            "epoch" => self.epoch.sets(key),
            "idle" => self.idle.sets(key),
            "dead" => self.dead.sets(key),
            "late" => self.late.sets(key),
            "serve" => self.serve.sets(key),
            "postgres" => self.postgres.sets(key),
            "generate" => self.generate.sets(key),
            _ => false,
        }
    }
}

/// The names of the sections, in the order of the reference.
pub(crate) const SECTIONS: [&str; 14] = [
    "job",
    source_flags::SECTION,
    source_flags::INPUT,
    given::SECTION,
    "cluster",
    "lake",
    "csv",
    "epoch",
    "idle",
    "dead",
    "late",
    "serve",
    "postgres",
    "generate",
];

/// A key of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The section it is in.
    pub(crate) section: String,
    /// Its name there.
    pub(crate) name: String,
    /// The flag that overrides it; absent for the pipeline, which is given by position.
    pub(crate) flag: Option<String>,
    /// What it does, and its default.
    pub(crate) about: String,
}

impl Key {
    /// What it does, and its default, which is empty if it has none.
    pub(crate) fn about_and_default(&self) -> (&str, &str) {
        let (about, default) = self.about.split_once(" [default: ").unwrap_or((&self.about, ""));
        (about, default.trim_end_matches(']'))
    }
}

/// The keys that the pipeline of `entry` declares.
pub(crate) fn keys_of(entry: &Entry) -> Vec<Key> {
    let key = |setting: &Setting| Key {
        section: given::SECTION.to_string(),
        name: setting.name.to_string(),
        flag: Some(format!("--{}", setting.flag())),
        about: given::about(setting),
    };
    entry.settings.iter().map(key).collect()
}

/// Every key, in the order of [`SECTIONS`], but for those of pipelines.
pub(crate) fn keys() -> Vec<Key> {
    let command = Generate::augment_args(Settings::augment_args(clap::Command::new("keys")));
    let of = |arg: &clap::Arg| {
        let (section, name) = arg.get_id().as_str().split_once('.')?;
        Some(Key {
            section: section.to_string(),
            name: name.to_string(),
            flag: arg.get_long().map(|long| format!("--{long}")),
            about: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        })
    };
    let mut keys: Vec<Key> = command.get_arguments().filter_map(of).collect();
    keys.sort_by_key(|key| SECTIONS.iter().position(|section| *section == key.section));
    keys
}
