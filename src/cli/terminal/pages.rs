//! What each error means: the pages of `headway explain`.
//!
//! A failure that has no detail or hint of its own takes them from its page. A test demands a page for every code.

use super::lake_pages::LAKE_PAGES;
use super::mesh_pages::MESH_PAGES;
use super::page::{Page, Turn, of};
use Turn::{Ours, TheirSystem, Yours};

/// The page of `code`.
pub(crate) fn page(code: &str) -> Option<&'static Page> {
    pages().find(|page| page.code == code)
}

/// All pages, those of jobs on several processes last.
pub(crate) fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().chain(LAKE_PAGES).chain(MESH_PAGES)
}

/// The pages of the command line, of the start of a job, of a running job.
const PAGES: &[Page] = &[
    of(
        "command-line-invalid",
        Yours,
        "A flag or an argument is unknown, lacks its value, or does not go with another one.",
        "Headway guesses nothing: a mistyped flag that is ignored would run another job than you meant.",
        "Run the command with --help: it lists every flag with its meaning.",
    ),
    of(
        "config-unreadable",
        Yours,
        "The configuration file cannot be read.",
        "Running without it would run another job than you meant.",
        "Check the path after -c, and that this user may read the file.",
    ),
    of(
        "config-invalid",
        Yours,
        "The configuration file is not TOML, has a key that no setting has, or a value that does not fit its key.",
        "An ignored key would be a setting that has no effect, while you rely on it.",
        "Correct the line and column that the error names. README.md lists every key.",
    ),
    of(
        "setting-invalid",
        Yours,
        "A setting has a value with which no job can run.",
        "The error says what does not fit, and names the flag, the variable or the line that set it.",
        "Change that setting, then run `headway check` with the same flags.",
    ),
    of(
        "pipeline-unknown",
        Yours,
        "No pipeline was named, or this program has none of that name.",
        "A pipeline is the work that a job does; `headway run --help` lists them.",
        "Name one after the command, as in: headway run PIPELINE. `headway run --help` lists them.",
    ),
    of(
        "source-invalid",
        Yours,
        "An input has no source, or a setting of an input is invalid.",
        "A job reads each of its inputs from kafka:, files:PATH or generate, and from nothing else.",
        "Use --source kafka:, --source files:PATH or --source generate; where there are several inputs, --source NAME=URI for each.",
    ),
    of(
        "lake-invalid",
        Yours,
        "No lake was named, or the named place cannot be a lake.",
        "A lake is a local folder on one file system, without symbolic links inside.",
        "Use --lake FOLDER; the folder is made if it is absent.",
    ),
    of(
        "path-invalid",
        Yours,
        "A path has a part that a shell or another program would have replaced.",
        "Headway would otherwise make a folder that is really called \"~\", \"$DATA\" or \"file:\".",
        "Write the whole path, such as /home/me/lake. ~/ and $HOME/ at its beginning are understood.",
    ),
    of(
        "lake-not-found",
        Yours,
        "There is no folder where the lake should be.",
        "A command that only reads a lake does not create one.",
        "Check the path of --lake: it is the folder that `headway run` was given.",
    ),
    of(
        "view-unknown",
        Yours,
        "The job has written no table of that name.",
        "A job writes its views to gold/ within a minute of a change, and when it ends. Some jobs have views only where they run \
         with --views.",
        "List them with `headway views ls --lake FOLDER`.",
    ),
    of(
        "job-not-found",
        Yours,
        "The lake holds no job of that name, or several jobs and none was named.",
        "A lake may hold several jobs; each has its own commits.",
        "Name the job with --job. A job exists once `headway run` has started it.",
    ),
    of(
        "manifest-not-found",
        Yours,
        "The job has no manifest with that number.",
        "Manifests are numbered from 0 without gaps.",
        "List them with: headway checkpoint ls.",
    ),
    of(
        "views-not-verifiable",
        Yours,
        "The pipeline of the job has no views, or cannot recompute any of them from committed rows.",
        "A check that compares nothing would pass.",
        "Check --job. In a pipeline of your own, implement `Pipeline::recompute`.",
    ),
    of(
        "views-differ",
        Ours,
        "A view differs from the sum of the committed facts. The lines above name each such view, and one row that differs.",
        "Readers of the view get wrong numbers.",
        "Use the committed rows instead of the view. A run writes its views again when it ends: if the table was only old, it is right \
         then. If it still differs, keep the lake and report the difference.",
    ),
    of(
        "views-behind",
        Yours,
        "A view has changed since its table was written, and `verify` knows only the facts of the last commit.",
        "The table is older than the facts, so a comparison would show nothing.",
        "A run writes its tables once a minute, and when it ends. Verify again after the end of the run, or after its next write while \
         no new records come. If the job was killed, start it again first.",
    ),
    of(
        "operator-unknown",
        Yours,
        "The job has no operator of that name, or the operator's state has no form for people.",
        "Only the state of operators that are written on the kit has a form for people.",
        "List the operators with: headway state ls.",
    ),
    of(
        "state-unreadable",
        Yours,
        "Saved state of an operator cannot be read by this program.",
        "Another version of the operator wrote it, and this one does not read that version.",
        "Use the program that runs the job.",
    ),
    of(
        "key-not-found",
        Yours,
        "The operator holds no state for that key.",
        "An operator drops a key once its state is empty and it has no timer.",
        "List all keys with: headway state export OPERATOR.",
    ),
    of(
        "code-unknown",
        Yours,
        "No error has that code.",
        "Each error ends its first line with its code in brackets.",
        "List all codes with: headway explain.",
    ),
    of(
        "not-in-this-build",
        Yours,
        "This build of Headway lacks what the command needs.",
        "The Kafka client can be left out of a build; TLS and SASL need a feature of their own.",
        "Build with: cargo build --release --features kafka (or kafka-tls).",
    ),
    of(
        "folder-taken",
        Yours,
        "The folder is not empty, and no demo made it.",
        "The demo empties its folder, and must never empty another one.",
        "Name another folder with --folder.",
    ),
    of(
        "folder-unwritable",
        Yours,
        "The folder of the demo cannot be made or emptied.",
        "The demo writes its messages and its lake there.",
        "Name another folder with --folder, or make this one writable.",
    ),
    of(
        "signals-unavailable",
        TheirSystem,
        "The operating system did not let the process listen for SIGTERM and SIGINT.",
        "A job that cannot be drained would have to be killed.",
        "Check the limits of processes and open files of this user with: ulimit -a.",
    ),
    of(
        "output-failed",
        TheirSystem,
        "Standard output could not be written, for example because its disk is full.",
        "What was committed to the lake holds; only the answer was lost.",
        "Make room, or send the output elsewhere. `headway status` shows what a run has done.",
    ),
    of(
        "demo-failed",
        Ours,
        "The rows or the counts of the demo are not what they must be.",
        "The demo adds up the rows that it wrote, and compares the sums. This must never happen.",
        "Please report it with the seed and the version.",
    ),
    of(
        "audit-failed",
        TheirSystem,
        "The lake contradicts its own manifests: a file is missing or changed, or offsets do not tile.",
        "An audit changes nothing. It stops at the first contradiction and names it.",
        "Copy the lake before you change anything in it, then restore what the error names from a backup.",
    ),
    of(
        "lake-file-missing",
        TheirSystem,
        "A manifest names a file that is not in the lake.",
        "Headway notes in a manifest each committed file that it deletes, so something else has moved or deleted this one.",
        "Restore the file from a copy, and see what else is missing with: headway audit.",
    ),
    of(
        "lake-file-damaged",
        TheirSystem,
        "A file of the lake cannot be read to its end, or its content is not what the manifest says.",
        "Headway writes each file whole before a manifest names it, so it was changed afterwards.",
        "Restore the file from a copy, and see what else is damaged with: headway audit --deep.",
    ),
    of(
        "source-failed",
        TheirSystem,
        "A source cannot be read: a broker does not answer, or a file cannot be opened.",
        "At the start a job stops, so that a wrong address is seen at once. A running job waits for its broker.",
        "Check the address or path, that the other system runs, and that this user may read from it.",
    ),
    of(
        "input-unusable",
        Yours,
        "The source has something that cannot be an input of this job.",
        "The job would skip, repeat or misread records if it read on.",
        "Correct what the error names, or point --source at another input.",
    ),
    of(
        "settings-unusable",
        Yours,
        "Lines of the client's settings file cannot be used: they have an unknown name or an invalid value.",
        "A setting must not be ignored in silence, since somebody may rely on it. Settings that only Java's client needs are listed instead.",
        "Correct the lines that the error names. The file is read as java.util.Properties reads it.",
    ),
    of(
        "broker-unresolved",
        TheirSystem,
        "The name of a broker cannot be resolved. Brokers give their own names to clients, which connect to those.",
        "A broker may answer under one name and advertise another. It looks reachable then, but nothing can be read from it.",
        "Set advertised.listeners of the broker to a name that its clients can resolve, or correct bootstrap.servers.",
    ),
    of(
        "topic-missing",
        TheirSystem,
        "The brokers do not know a topic that was there when the job started.",
        "A broker that has just started may not know it yet, so a running job waits for a minute.",
        "Wait until the broker knows it, or check that nobody has deleted it.",
    ),
    of(
        "topic-deleted",
        TheirSystem,
        "A topic that this job has read was deleted.",
        "A new topic of the same name has other records at the same offsets, and the job would mix them.",
        "Check --topic. If the topic was created again, start a new job with another --job and --lake.",
    ),
    of(
        "bad-header",
        Yours,
        "The header line of a file lacks a column that the pipeline needs, or names one twice.",
        "Every line below it would be misread.",
        "Write the header that the error names, or delete the header line.",
    ),
    of(
        "header-changed",
        Yours,
        "A file has a second header line, which names other columns than the first one.",
        "The lines below it would be read by the wrong columns.",
        "Split the file at that line, and give the parts as two files to a new job with another --job and --lake.",
    ),
    of(
        "file-below-position",
        Yours,
        "A file of a capture came after files with later offsets of its partition were read.",
        "Its records come before the position of the job, which reads each partition in the order of its offsets.",
        "Take the file out of the folder, and let a job of another lake read it; readers add up the rows of both.",
    ),
    of(
        "records-gone",
        TheirSystem,
        "Records that the job has not read yet were deleted from the source.",
        "The job would have to skip these records. Headway never skips records by itself.",
        "Restore the records. If they are lost for good, skip them with the --accept-gap that the error names, or start a \
         new job with another --job and --lake. Raise the topic's retention.",
    ),
    of(
        "other-identity",
        Yours,
        "A partition or file is not the one that the job has read so far, though it has the same name.",
        "Its offsets belong to other records, so the job would skip some records and repeat others.",
        "Point --source at the original input, or start a new job with another --job and --lake.",
    ),
    of(
        "state-does-not-fit",
        Yours,
        "The lake's state was made with other settings, or by another pipeline.",
        "A window that was begun under one setting cannot be finished under another one.",
        "Go on with the settings of the lake, or start a new job with another --job and --lake.",
    ),
    of(
        "facts-missing",
        Yours,
        "A new view, a rebuild of views or --unseal needs a committed file that is not there or cannot be used.",
        "A view without a part of its past would be wrong, and nobody would notice.",
        "Move the file back. To let new views begin later, start the job once with --views-from EPOCH. The manifest keeps the epoch, \
         and `headway views verify` takes account of it.",
    ),
    of(
        "prefix-taken",
        Yours,
        "Another job of this lake writes to the folder that this job would write to.",
        "Two jobs in one folder would double the rows that a reader of the folder sees.",
        "Choose another --lake, or go on with the job that owns the folder: --job NAME.",
    ),
    of(
        "bad-name",
        Yours,
        "The name of a job or of a folder in the lake has characters that a name cannot have.",
        "Names become parts of paths, here and in object stores.",
        "Use letters, digits, dots, \"_\" and \"-\", at most 100 of them.",
    ),
    of(
        "target-behind",
        TheirSystem,
        "The run ended, and a target has not applied all commits: it made no progress for 60 s.",
        "All commits are in the lake, with the change files for the target. Readers of the target see an older state.",
        "Find out why the target does not respond, then start the job again: it resumes at the target's last commit.",
    ),
    of(
        "target-other-lake",
        Yours,
        "The schema of the job in a target has the tables of another lake.",
        "Two lakes that write into the same tables would overwrite each other's rows.",
        "Give this job another name with --job, use another database, or drop the schema that the message names.",
    ),
    of(
        "not-movable",
        Yours,
        "The command `headway lake release` named a file that must not be moved away.",
        "The job or an audit would miss the file. The command has noted nothing.",
        "Move and release only the files that `headway lake files --movable` lists.",
    ),
    of(
        "not-alive",
        Yours,
        "The last run of the job failed, or gives no sign of life.",
        "Its last commit holds. Nothing new is read or committed until the job is started again.",
        "Read the first line of `headway status`, correct what it names, and start the job again with the same command.",
    ),
    of(
        "listen-failed",
        Yours,
        "The job cannot listen on the address of --listen.",
        "Another program has the port, the address is not this machine's, or this user may not use the port.",
        "Use another port, or end the program that has it: ss -ltnp shows which.",
    ),
    of(
        "server-unreachable",
        TheirSystem,
        "No job answers at the address that was given, or the job has not begun.",
        "The command `headway views subscribe` asks a job that was started with `--listen`. Once it was connected, it waits for a job that restarts.",
        "Look for the address in the job's log, in the line with `listening`.",
    ),
    of(
        "server-refused",
        Yours,
        "The job refused the request.",
        "It requires a token, or has no such view. The error has its answer.",
        "Give the token with --token-file, and one of the views that /v1/views lists.",
    ),
    of(
        "lagging",
        Yours,
        "Records of the job wait, or its windows are held open, for longer than its settings explain.",
        "The command `headway explain lag` reads the last commit and the run's last sign of life, and names one cause.",
        "Do what the line \"next\" says, then run the command again.",
    ),
    of(
        "process-gone",
        TheirSystem,
        "The process of the last run ended without a reason: it was killed, or its host went down.",
        "Its last commit holds. The next run reads the records after it again.",
        "Start the job again with the same command. The system's log may say who killed it, such as the out-of-memory killer.",
    ),
    of(
        "already-running",
        Yours,
        "Another run of this job is at work.",
        "Two runs of one job would compete for every commit.",
        "Stop the other run first, or take the job over with --if-running take-over.",
    ),
    of(
        "fenced",
        Yours,
        "Another run has taken this job over.",
        "Only the newest run may commit. This one published nothing after its last commit.",
        "Nothing is lost. The other run was started with --if-running take-over, or saw no sign of life of this one for 15 s.",
    ),
    of(
        "checkpoint-newer",
        Yours,
        "The lake was written by a later release of Headway.",
        "An older release would misread it.",
        "Use the release that wrote it, or a later one.",
    ),
    of(
        "checkpoint-invalid",
        TheirSystem,
        "A manifest or a state file is damaged or missing.",
        "A start from less than the last commit would lose or repeat records.",
        "See what else is damaged with headway audit --deep, and restore the file from a copy.",
    ),
    of(
        "store-inconsistent",
        TheirSystem,
        "The files in the lake contradict its manifests.",
        "Another program has changed the lake, or its file system lost a write.",
        "See what else is damaged with: headway audit --deep.",
    ),
    of(
        "store-failed",
        TheirSystem,
        "The lake's storage refused to read or write, again and again.",
        "The last commit holds. The next run reads the records after it again.",
        "Check the path of --lake, the disk, and that this user may read and write there. Then start again.",
    ),
    of(
        "gold-changed",
        TheirSystem,
        "A gold file was replaced or removed, and its rows are not in memory. A person did it, or an older run that had been taken over.",
        "The last commit holds, and the file can be made again from the saved state.",
        "Start the job again: it writes the file again.",
    ),
    of(
        "disk-full",
        TheirSystem,
        "The disk of the lake is full, or this user may not use more of it.",
        "The last commit holds. The next run reads the records after it again.",
        "Make room and start the job again: it resumes from the last commit.",
    ),
    of(
        "disk-sync-failed",
        TheirSystem,
        "The disk reported that it could not make a file durable.",
        "After that nothing can be assumed about what is on the disk, so the job stops at once.",
        "Check the disk before you use it again: see the kernel's log.",
    ),
    of(
        "conservation-failed",
        Ours,
        "The records of an epoch do not add up: one was lost, or counted twice.",
        "Nothing of the epoch was committed. This must never happen.",
        "The last commit holds. Please report it with the whole message.",
    ),
    of(
        "memory-limit",
        Yours,
        "The process reached --memory-limit, or its sources were paused for a minute and nothing was left to commit.",
        "The job stops before the system kills it, so that the error can give the reason. The last commit holds.",
        "The table of the error says where the memory is. Raise --memory-limit, share the state among more processes (headway rescale), or use fewer keys or shorter windows.",
    ),
    of(
        "worker-stuck",
        Ours,
        "A step of a worker takes longer than a minute: an operator computes without end, or a call blocks.",
        "The other workers wait for it, and nothing more would be committed. The last commit holds.",
        "Start the job again. If it happens again, report it with the stack of the process (gdb -p PID, thread apply all bt).",
    ),
    of(
        "start-failed",
        TheirSystem,
        "The worker threads could not be started.",
        "A job runs on all of its workers or not at all.",
        "Use fewer --workers, or raise the limit of threads of this user: see ulimit -a.",
    ),
    of(
        "format-absent",
        Yours,
        "An output of the pipeline is written in a file format that this build of Headway leaves out.",
        "The job would stop at its first row.",
        "Build Headway with the cargo feature of the format's name, as the default build has it, or use --format csv.gz.",
    ),
    of(
        "pipeline-broken",
        Ours,
        "The pipeline cannot run as it is built.",
        "Two operators or outputs have one name, an input is not read, or records would be counted twice.",
        "The author of the pipeline has to correct it. Nothing was read and nothing was written.",
    ),
    of(
        "panicked",
        Ours,
        "A thread of Headway met a state that must never be, and stopped the process.",
        "The last commit is whole, and a restart goes on from there.",
        "Start the job again. Please report it, with the message and the command.",
    ),
    of(
        "too-many-late",
        Yours,
        "More records than --late-max allows came after their windows had closed.",
        "Late records are in no row. Nothing of the epoch was committed; at the end of a run that ends by itself all of it was, and late records are kept.",
        "Fill a new --lake with a greater --lateness, which the hint computes. Or raise --late-max.",
    ),
    of(
        "expectation-failed",
        Yours,
        "Rows of a view, or records of an input, break an expectation of severity \"fail\" ([[expect]] in the configuration file).",
        "The job stops before the commit that would make them visible. The error names the expectation, how many rows or records break it, and the first of them.",
        "Correct the records, or the expectation. `--expect-warn NAME` turns it into a warning. A restart judges the same rows again.",
    ),
    of(
        "nothing-accepted",
        Yours,
        "A run that ends by itself has accepted none of the records that it read: all are late or dead letters.",
        "The run is committed, but no row will ever come of it. Without this error, nobody would notice that of a scheduled job.",
        "Follow the hint of the error. `headway dead ls` counts the reasons, `headway dead show` prints the records.",
    ),
    of(
        "too-many-dead",
        Yours,
        "More messages than --dead-max allows could not be decoded.",
        "Most likely the topic, the pipeline or a setting is the wrong one. Nothing of the epoch was committed; at the end of a run that ends by itself all of it was, and dead letters are kept.",
        "Check --topic, the pipeline and its settings, such as the zone of times. To accept so many dead letters, raise --dead-max.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::code::Code;
    use crate::engine;
    use crate::engine::commit::alive::GONE;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_page_and_every_page_a_code() {
        let own = Code::ALL.iter().map(|code| code.name());
        let codes: BTreeSet<&str> =
            own.chain(engine::code::Code::all().map(engine::code::Code::name)).chain([GONE]).collect();
        let pages: Vec<&str> = pages().map(|page| page.code).collect();
        let distinct: BTreeSet<&str> = pages.iter().copied().collect();
        assert_eq!(distinct.len(), pages.len(), "a code has two pages");
        assert_eq!(
            codes.difference(&distinct).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "codes without a page"
        );
        assert_eq!(
            distinct.difference(&codes).collect::<Vec<_>>(),
            Vec::<&&str>::new(),
            "pages without a code"
        );
    }

    #[test]
    fn pages_are_whole_sentences() {
        for page in pages() {
            for part in [page.happened, page.why, page.action] {
                let ends = part.ends_with('.');
                assert!(
                    ends && part.starts_with(char::is_uppercase) && part.len() > 15,
                    "{}: {part}",
                    page.code
                );
            }
            assert!(page.code.chars().all(|c| c == '-' || c.is_ascii_lowercase()), "{}", page.code);
        }
    }
}
