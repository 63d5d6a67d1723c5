//! Reads a lake as a stranger may: its jobs, their manifests, the files these make true. Only pruning changes it.

use super::settings::config::Settings;
use super::settings::file::File;
use super::settings::place::flag_path;
use super::settings::place::without_password;
use super::settings::plan::lake_path;
use super::terminal::failure::{Code, Failure};
use super::terminal::form::Form;
use crate::engine::audit::{self, Report};
use crate::engine::clock::{Clock, System};
use crate::engine::commit::alive::{self, Alive};
use crate::engine::commit::backup::rounds;
use crate::engine::commit::decide::Folding;
use crate::engine::commit::error::CheckpointError;
use crate::engine::commit::job::FOLDING;
use crate::engine::commit::refused::{self, Refused};
use crate::engine::commit::rescale::{self, Request};
use crate::engine::commit::restore::{self, SavedState};
use crate::engine::commit::site::{Site, run};
use crate::engine::commit::state_files::{Headers, StateFiles};
use crate::engine::commit::upkeep::{self, Pruned};
use crate::engine::commit::{compact, recover, release, retire, standby};
#[cfg(feature = "parquet")]
use crate::engine::commit::{rebuild, refill::FactFile};
use crate::engine::format::manifest::Manifest;
use crate::engine::format::names;
use crate::engine::format::names::Seq;
#[cfg(feature = "parquet")]
use crate::engine::run::gold;
use crate::store::Store;
use crate::store::local::Local;
use clap::Args;
use headway_operators::state::Shard;
use headway_operators::time::EventTime;
#[cfg(feature = "parquet")]
use headway_operators::view::refill::Put;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "parquet")]
use std::time::Duration;

/// Which job of which lake a command looks at.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct At {
    /// Take the lake and the job's name from FILE (TOML); flags override it
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The lake: a local folder
    #[arg(long, value_name = "URI")]
    lake: Option<String>,
    /// The job [default: the lake's only one]
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
}

/// Which job a command looks at, and the form of what it answers.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) at: At,
    /// Form of the answer on standard output
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    pub(crate) output: Form,
}

/// A job in a lake, opened for reading.
pub(crate) struct Job {
    store: Arc<dyn Store>,
    name: String,
}

impl At {
    /// Opens the lake and finds the job.
    ///
    /// # Errors
    /// Exit 2 if the lake or the job is not named, or there is no such job; exit 3 if the lake cannot be read.
    pub(crate) fn open(&self) -> Result<Job, Failure> {
        let Lake { store, path, job } = self.lake()?;
        let name = match job {
            Some(name) => name,
            None => only_job(store.as_ref(), &path)?,
        };
        Ok(Job { store, name })
    }

    /// Opens the lake and finds the job that was named, or all jobs if none was.
    ///
    /// # Errors
    /// As [`At::open`].
    pub(crate) fn open_all(&self) -> Result<Vec<Job>, Failure> {
        let Lake { store, path, job } = self.lake()?;
        let names = match job {
            Some(name) => vec![name],
            None => jobs(store.as_ref())?,
        };
        if names.is_empty() {
            return Err(no_job(&path));
        }
        Ok(names.into_iter().map(|name| Job { store: Arc::clone(&store), name }).collect())
    }

    /// The settings in the file that was named, if one was.
    ///
    /// # Errors
    /// Exit 2 if it cannot be read.
    pub(crate) fn settings(&self) -> Result<Option<Settings>, Failure> {
        let file = self.config.as_deref().map(|path| File::read(&flag_path("-c", path)?)).transpose()?;
        Ok(file.map(|file| file.settings))
    }

    fn lake(&self) -> Result<Lake, Failure> {
        let set = self.settings()?.unwrap_or_default();
        let Some(uri) = self.lake.clone().or(set.lake.uri) else {
            return Err(Failure::new(Code::LakeInvalid, "no lake was named").hint("Use --lake FOLDER."));
        };
        let path = lake_path(&uri).map_err(|no| {
            let what = format!("--lake: \"{}\" is no lake: {}", without_password(&uri), no.why);
            Failure::new(Code::LakeInvalid, what).hint(no.hint)
        })?;
        let (store, job) = (open(&path)?, self.job.clone().or(set.job.name).or(set.job.pipeline));
        Ok(Lake { store, path, job })
    }
}

/// A lake, and the job in it that was named.
struct Lake {
    store: Arc<dyn Store>,
    path: PathBuf,
    job: Option<String>,
}

/// The lake at `path`, which must be there.
fn open(path: &Path) -> Result<Arc<dyn Store>, Failure> {
    if !path.is_dir() {
        return Err(Failure::new(Code::LakeNotFound, format!("there is no lake \"{}\"", path.display()))
            .hint("Check the path of --lake: it is the folder that `headway run` was given."));
    }
    Ok(Arc::new(Local::existing(path)?))
}

/// The jobs that have started in a lake.
fn jobs(store: &dyn Store) -> Result<Vec<String>, Failure> {
    let names = store.list("_headway/")?;
    let mut jobs = Vec::new();
    for name in names.iter().filter_map(|name| name.strip_suffix('/')) {
        if !store.list(&names::manifest_folder(name))?.is_empty() {
            jobs.push(name.to_string());
        }
    }
    Ok(jobs)
}

fn no_job(path: &Path) -> Failure {
    Failure::new(Code::JobNotFound, format!("no job has started in lake \"{}\"", path.display()))
        .hint("Start one: headway run PIPELINE --source generate --lake FOLDER.")
}

fn only_job(store: &dyn Store, path: &Path) -> Result<String, Failure> {
    match jobs(store)?.as_slice() {
        [] => Err(no_job(path)),
        [job] => Ok(job.clone()),
        jobs => Err(Failure::new(Code::JobNotFound, format!("lake \"{}\" has several jobs", path.display()))
            .hint(format!("Name one with --job: {}.", jobs.join(", ")))),
    }
}

impl Job {
    /// Opens job `name` of the lake at `path`.
    ///
    /// # Errors
    /// Exit 3 if there is no such lake.
    pub(crate) fn open(path: &Path, name: &str) -> Result<Job, Failure> {
        Ok(Job { store: open(path)?, name: name.to_string() })
    }

    fn site(&self) -> Site {
        Site::new(Arc::clone(&self.store), clock())
    }

    /// The last manifest.
    ///
    /// # Errors
    /// Exit 2 if the job never started; exits 3 to 5 if the lake cannot be read or is damaged.
    pub(crate) fn head(&self) -> Result<Manifest, Failure> {
        run(recover::chain(&self.site(), &self.name))?.loose.pop().ok_or_else(|| self.never_started())
    }

    /// The last manifest, and the state that it names.
    ///
    /// # Errors
    /// As [`Job::head`].
    pub(crate) fn state(&self) -> Result<(Manifest, SavedState), Failure> {
        self.of_head(|site, head| {
            let headers = run(restore::headers(site, head, &Headers::new()))?;
            run(restore::sections(site, head, &headers, |_, _| true))
        })
    }

    /// The last manifest, and what `read` makes of it. A running job may delete files meanwhile: then its next manifest is read.
    fn of_head<T>(
        &self,
        read: impl Fn(&Site, &Manifest) -> Result<T, CheckpointError>,
    ) -> Result<(Manifest, T), Failure> {
        let site = self.site();
        loop {
            let head = self.head()?;
            match read(&site, &head) {
                Ok(found) => return Ok((head, found)),
                Err(error) if self.head()?.seq == head.seq => return Err(error.into()),
                Err(_) => {}
            }
        }
    }

    /// What the run that is at work says of itself; `None` if none is, or the last one ended well.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    pub(crate) fn sign(&self) -> Result<Option<Alive>, Failure> {
        Ok(run(alive::read(&self.site(), &self.name))?)
    }

    /// The last start that came to nothing, if that was after the last `sign` of a run.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    pub(crate) fn refused(&self, sign: Option<&Alive>) -> Result<Option<Refused>, Failure> {
        let refused = run(refused::read(&self.site(), &self.name))?;
        Ok(refused.filter(|refused| sign.is_none_or(|sign| refused.time_ms > sign.time_ms)))
    }

    /// The request for another membership that is there, stale or not.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    pub(crate) fn request(&self) -> Result<Option<Request>, Failure> {
        Ok(run(rescale::request(&self.site(), &self.name))?)
    }

    /// Leaves a request for another membership.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be written.
    pub(crate) fn ask(&self, request: &Request) -> Result<(), Failure> {
        Ok(run(rescale::ask(&self.site(), &self.name, request))?)
    }

    /// The last manifest, and how many bytes of saved state each shard has.
    ///
    /// # Errors
    /// As [`Job::head`].
    pub(crate) fn shard_bytes(&self) -> Result<(Manifest, BTreeMap<Shard, u64>), Failure> {
        let (head, headers) =
            self.of_head(|site, head| run(restore::headers(site, head, &Headers::new())))?;
        let bytes = StateFiles::of(&headers, &head.dropped).shard_bytes();
        Ok((head, bytes))
    }

    /// Takes the request for another membership back, if there is one.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be written.
    pub(crate) fn withdraw(&self) -> Result<(), Failure> {
        Ok(run(rescale::withdraw(&self.site(), &self.name))?)
    }

    /// The processes that stand by for the job.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    pub(crate) fn standbys(&self) -> Result<Vec<standby::Sign>, Failure> {
        Ok(run(standby::signs(&self.site(), &self.name))?)
    }

    /// All manifests, oldest first.
    ///
    /// # Errors
    /// As [`Job::head`].
    pub(crate) fn manifests(&self) -> Result<Vec<Manifest>, Failure> {
        let all = run(recover::all(&self.site(), &self.name))?;
        if all.is_empty() { Err(self.never_started()) } else { Ok(all) }
    }

    /// What an audit finds; `deep` reads every file again.
    ///
    /// # Errors
    /// Exit 2 if the job never started; exits 3 and 4 if the lake cannot be read, or a later release wrote it.
    pub(crate) fn audit(&self, deep: bool) -> Result<Report, Failure> {
        let report = audit::run(&self.store, &clock(), &self.name, deep)?;
        if report.manifests == 0 && report.finding.is_none() { Err(self.never_started()) } else { Ok(report) }
    }

    /// Folds manifests until at most about `keep` are loose, and removes what nothing names.
    ///
    /// # Errors
    /// Exit 4 if the job runs; exits 3 to 5 if the lake cannot be read or is damaged.
    pub(crate) fn prune(&self, keep: u64) -> Result<Pruned, Failure> {
        Ok(upkeep::prune(&self.store, &clock(), &self.name, Folding { keep, ..FOLDING })?)
    }

    /// Those movable files that are not in the lake any more.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    pub(crate) fn moved(&self, manifests: &[Manifest]) -> Result<Vec<String>, Failure> {
        Ok(release::moved(&self.store, manifests)?)
    }

    /// Notes that `paths` were moved away; the manifest that says so, if there are any.
    ///
    /// # Errors
    /// Exit 2 for a file that may not be moved; exit 4 if the job runs, or starts meanwhile.
    pub(crate) fn release(&self, manifests: &[Manifest], paths: Vec<String>) -> Result<Option<Seq>, Failure> {
        Ok(release::release(&self.store, &clock(), manifests, paths)?)
    }

    /// Deletes the files whose rows are all before an instant; the manifest that says so, if there are any.
    ///
    /// # Errors
    /// As [`Job::release`].
    pub(crate) fn retire(&self, manifests: &[Manifest], before: EventTime) -> Result<Option<Seq>, Failure> {
        Ok(retire::retire(&self.store, &clock(), manifests, before)?)
    }

    /// Merges the small files of closed folders.
    ///
    /// # Errors
    /// Exit 4 if the job runs, or starts meanwhile; exits 3 to 5 if the lake cannot be read or written, or is damaged.
    pub(crate) fn compact(&self, rules: compact::Rules) -> Result<Vec<compact::Merged>, Failure> {
        Ok(compact::compact(&self.store, &clock(), &self.name, rules)?)
    }

    /// Copies the job's part of the lake to `copy`, while it may run.
    ///
    /// # Errors
    /// Exit 2 if the job never started, or `copy` has something else; exits 3 to 5 if a file cannot be read or written, or is
    /// damaged.
    pub(crate) fn backup(&self, copy: &Arc<dyn Store>) -> Result<rounds::Report, Failure> {
        rounds::backup(&self.store, copy, &clock(), &self.name)?.ok_or_else(|| self.never_started())
    }

    /// Where the lake is.
    pub(crate) fn place(&self) -> PathBuf {
        PathBuf::from(self.store.describe(""))
    }

    /// The gold tables of `pipeline`, in order, with the files of each.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    #[cfg(feature = "parquet")]
    pub(crate) fn tables(&self, pipeline: &str) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let folder = gold::folder(pipeline);
        let ending = format!(".{}", gold::FORMAT.name());
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in self.store.list(&folder)? {
            let files = match (name.strip_suffix('/'), name.strip_suffix(&ending)) {
                (Some(table), _) => {
                    let below = gold::table_folder(pipeline, table);
                    let days = self.store.list(&below)?;
                    let days = days.iter().filter(|day| gold::day_of(day).is_some());
                    days.map(|day| format!("{below}{day}")).collect()
                }
                (None, Some(_)) => vec![format!("{folder}{name}")],
                (None, None) => continue,
            };
            // A table that lies by day may still have the one file of an earlier release, which comes first: it is older.
            let table = name.trim_end_matches('/').trim_end_matches(&ending).to_string();
            if !files.is_empty() {
                tables.insert(table, files);
            }
        }
        Ok(tables)
    }

    /// A file of the lake, from its start.
    ///
    /// # Errors
    /// Exit 5 if a manifest names it and it is not there; exit 3 if it cannot be read.
    pub(crate) fn file(&self, name: &str) -> Result<Box<dyn Read + Send>, Failure> {
        self.file_if_there(name)?.ok_or_else(|| {
            Failure::new(Code::LakeFileMissing, format!("\"{}\" is gone", self.store.describe(name)))
                .detail("A manifest says that it is there.")
        })
    }

    /// A file of the lake, from its start; `None` if there is none.
    ///
    /// # Errors
    /// Exit 3 if it cannot be read.
    pub(crate) fn file_if_there(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, Failure> {
        Ok(self.store.open(name)?)
    }

    /// Gives each row of a file with facts to `put`.
    ///
    /// # Errors
    /// Exit 4 if it is not there; exit 5 if it is damaged.
    #[cfg(feature = "parquet")]
    pub(crate) fn facts(&self, file: &FactFile, put: Put<'_>) -> Result<(), Failure> {
        let read = || crate::engine::run::refill::read(self.store.as_ref(), file, &mut *put);
        Ok(once_published(read, || std::thread::sleep(PUBLISHES))?)
    }

    /// What the metadata of each file of the gold tables of `pipeline` say, by table; only the ends of files are read.
    ///
    /// # Errors
    /// Exit 3 if the lake cannot be read.
    #[cfg(feature = "parquet")]
    pub(crate) fn table_notes(&self, pipeline: &str) -> Result<Vec<(String, Vec<Notes>)>, Failure> {
        let notes = |path: &String| Ok(gold::notes_in(self.store.as_ref(), path)?.unwrap_or_default());
        let of_table = |(table, files): (String, Vec<String>)| {
            Ok((table, files.iter().map(notes).collect::<Result<_, Failure>>()?))
        };
        self.tables(pipeline)?.into_iter().map(of_table).collect()
    }

    /// How many `files` there are.
    ///
    /// # Errors
    /// Exit 4 if one is not there.
    #[cfg(feature = "parquet")]
    pub(crate) fn all_there(&self, files: Vec<FactFile>) -> Result<usize, Failure> {
        for FactFile { path, .. } in &files {
            if self.store.size(path)?.is_none() {
                return Err(
                    CheckpointError::FactsMissing { path: path.clone(), why: "it is not there" }.into()
                );
            }
        }
        Ok(files.len())
    }

    /// Notes that `operators` keep nothing; the manifest that says so.
    ///
    /// # Errors
    /// Exit 4 if the job runs, or starts meanwhile.
    #[cfg(feature = "parquet")]
    pub(crate) fn forget(&self, head: &Manifest, operators: &[String]) -> Result<Seq, Failure> {
        Ok(rebuild::forget(&self.store, &clock(), head, operators)?)
    }

    fn never_started(&self) -> Failure {
        Failure::new(Code::JobNotFound, format!("job \"{}\" has not started in this lake", self.name))
            .hint("Check --job and --lake.")
    }
}

/// What the metadata of a gold file say, by name.
#[cfg(feature = "parquet")]
pub(crate) type Notes = BTreeMap<String, String>;

/// How long after its manifest a running job publishes a file at most, unless it was killed.
#[cfg(feature = "parquet")]
const PUBLISHES: Duration = Duration::from_secs(1);

/// What `read` gives. If a file is not there, it reads once more after a `pause`: a job that runs writes a manifest first, and
/// then publishes the files that it names.
#[cfg(feature = "parquet")]
fn once_published<T>(
    mut read: impl FnMut() -> Result<T, CheckpointError>,
    pause: impl FnOnce(),
) -> Result<T, CheckpointError> {
    match read() {
        Err(CheckpointError::FactsMissing { .. }) => {
            pause();
            read()
        }
        found => found,
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(System::default())
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    clock().wall_ms()
}

#[cfg(all(test, feature = "parquet"))]
mod tests {
    use super::*;

    #[test]
    fn file_that_is_published_a_moment_after_its_manifest_is_not_missing() {
        let missing = || CheckpointError::FactsMissing { path: "facts/1".into(), why: "it is not there" };
        let pauses = std::cell::Cell::new(0);
        let pause = || pauses.set(pauses.get() + 1);
        let is_published = || if pauses.get() == 0 { Err(missing()) } else { Ok(7) };
        assert!(matches!(once_published(is_published, pause), Ok(7)));
        let gone = once_published(|| Err::<(), _>(missing()), pause);
        assert!(matches!(gone, Err(CheckpointError::FactsMissing { .. })));
        assert_eq!(pauses.get(), 2);
        assert!(matches!(once_published(|| Ok(1), pause), Ok(1)));
        assert_eq!(pauses.get(), 2, "what is there is read at once");
    }
}
