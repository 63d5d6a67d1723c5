//! Places where a test may end or stop the process: every step of stage, commit, publish, recovery, collection and folding.
//!
//! Nothing happens at them unless the crate is built with the feature `failpoints`; then the variable `FAILPOINTS`
//! says where: `commit.created=3*off->return` ends the process, as a kill would, when it comes there the fourth time;
//! `return(stop)` stops it there, until somebody lets it go on (`SIGCONT`).

/// All places, in the order of an epoch. `scripts/crash kill-every-step` must reach every one of them.
pub const SITES: [&str; 27] = [
    "begin.read",
    "begin.prefixes",
    "begin.published",
    "begin.claimed",
    "begin.restored",
    "stage.opened",
    "stage.written",
    "stage.synced",
    "stage.rows",
    "stage.state",
    "stage.changes",
    "commit.planned",
    "commit.created",
    "commit.counted",
    "publish.begin",
    "publish.file",
    "publish.linked",
    "publish.synced",
    "collect.begin",
    "collect.staged",
    "collect.state",
    "collect.done",
    "sweep.begin",
    "sweep.folder",
    "fold.written",
    "fold.deleted",
    "finish.begin",
];

/// Those that only a job on several processes has. `scripts/crash cluster-every-step` must reach every one of them, and of the
/// others in every process that has them.
pub const CLUSTER_SITES: [&str; 4] = ["join.begin", "join.met", "member.card", "member.started"];

/// Ends the process here, if a test asked for it: no destructor runs and no buffer is flushed. Or stops it: what a test does to this
/// process or to another one happens at this place then.
#[cfg(feature = "failpoints")]
pub fn at(site: &'static str) {
    fail::fail_point!(site, |how: Option<String>| match how.as_deref() {
        Some("stop") => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::STOP)
                .expect("a process may stop itself");
        }
        _ => std::process::abort(),
    });
}

/// Does nothing: this build has no fail points.
#[cfg(not(feature = "failpoints"))]
pub fn at(_site: &'static str) {}

/// Takes the fail points that the variable `FAILPOINTS` asks for, until the result is dropped.
#[cfg(feature = "failpoints")]
pub fn from_environment() -> impl Sized {
    fail::FailScenario::setup()
}

#[cfg(test)]
mod tests {
    use super::{CLUSTER_SITES, SITES};
    use std::collections::BTreeSet;

    #[test]
    fn the_list_of_sites_and_the_code_agree() {
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine")];
        let mut used = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(path).unwrap();
                let calls = text.split("failpoint::at(\"").skip(1);
                for site in calls.filter_map(|rest| rest.split_once('"')).map(|(site, _)| site.to_string()) {
                    assert!(used.insert(site.clone()), "\"{site}\" is in two places");
                }
            }
        }
        let listed = SITES.iter().chain(&CLUSTER_SITES);
        assert_eq!(used, listed.map(ToString::to_string).collect());
    }
}
