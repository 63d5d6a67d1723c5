//! A job of two inputs on the command line, by the program of `examples/two_halls.rs`: flags and tables for each input, and
//! rows that are those of two jobs of one input each.

use crate::cli::{Run, folder, headway, succeeds};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The program, built if it is not: `cargo test` of this binary alone builds no examples.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let build = ["build", "--workspace", "--example", "two_halls", "--quiet"];
        let built = Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.expect("cargo starts").success(), "the example can be built");
        let beside = Path::new(env!("CARGO_BIN_EXE_headway"));
        beside.with_file_name("examples").join("two_halls")
    })
}

fn halls(folder: &Path, args: &[&str]) -> Run {
    halls_with(folder, args, "")
}

/// The same with the twin of `--source`; an empty one says nothing.
fn halls_with(folder: &Path, args: &[&str], sources: &str) -> Run {
    let output = Command::new(program())
        .args(args)
        .env("HEADWAY_SOURCE", sources)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The rows in the files of `folder`, how often each is there.
fn rows(folder: &Path) -> BTreeMap<Vec<String>, u64> {
    let mut rows = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder of an output") {
        let file = std::fs::File::open(entry.expect("an entry").path()).expect("a file of rows");
        let mut reader = csv::Reader::from_reader(flate2::read::MultiGzDecoder::new(file));
        for row in reader.records() {
            let cells = row.expect("a row").iter().map(str::to_string).collect();
            *rows.entry(cells).or_default() += 1;
        }
    }
    rows
}

const WINDOWS: [&str; 4] = ["--window", "1m", "--lateness", "30s"];

#[test]
fn job_of_two_folders_gives_the_rows_of_two_jobs_and_goes_on_with_a_file_of_settings() {
    let folder = folder();
    let at = folder.path();
    succeeds(&halls(at, &["produce", "halls", "--to", "messages", "--messages", "6000", "--rate", "20"]));
    // 1. By flags, on two workers, until what is there was read.
    let sources = ["--source", "north=files:messages/north", "--source", "south=files:messages/south"];
    let job = ["halls", "--lake", "lake", "--epoch-bytes", "64KiB"];
    let check = halls(at, &[&["check"], &job[..], &sources, &WINDOWS].concat());
    succeeds(&check);
    assert!(
        check.out.contains("source    input \"north\", files in messages/north: 4 partitions"),
        "{check:?}"
    );
    let until = ["--until", "caught-up", "-w", "2"];
    succeeds(&halls(at, &[&["run"], &job[..], &sources, &WINDOWS, &until].concat()));
    // 2. By a file, on three workers, to the end.
    let settings = "[pipeline]\nwindow = \"1m\"\nlateness = \"30s\"\n[input.north]\nuri = \"files:messages/north\"\n\
                    [input.south]\nuri = \"files:messages/south\"\n";
    std::fs::write(at.join("headway.toml"), settings).expect("the file can be written");
    succeeds(&halls(
        at,
        &[&["run"], &job[..], &["-c", "headway.toml", "--until", "end", "-w", "3"]].concat(),
    ));
    succeeds(&halls(at, &["audit", "--lake", "lake", "--deep"]));
    // 3. The same rows as a job of one input has of each.
    for hall in ["north", "south"] {
        let source = format!("files:messages/{hall}");
        let one = ["run", "turnstile", "--source", &source, "--lake", hall];
        succeeds(&headway(at, &[&one[..], &WINDOWS].concat()));
        let (found, expected) =
            (rows(&at.join("lake/halls").join(hall)), rows(&at.join(hall).join("turnstile")));
        assert!(expected.len() > 500, "{} rows", expected.len());
        assert_eq!(found, expected, "{hall}");
    }
}

#[test]
fn source_of_each_input_must_be_there_and_be_its_own() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("in")).expect("a folder can be made");
    std::fs::write(folder.path().join("in/a"), "a line\n").expect("a file can be written");
    let check = |more: &[&str]| halls(folder.path(), &[&["check", "halls", "--lake", "lake"], more].concat());
    let cases: [(&[&str], &str, &str); 5] = [
        (&[], "input \"north\" has no source", "Use --source north=URI"),
        (&["--source", "north=files:in"], "input \"south\" has no source", "[input.south]"),
        (
            &["--source", "files:in"],
            "--source: the job has several inputs, and \"in\" has no folder \"north\"",
            "--source north=files:PATH",
        ),
        (
            &["--source", "north=generate", "--source", "sout=generate"],
            "pipeline \"halls\" has no input \"sout\"",
            "Did you mean \"south\"?",
        ),
        (
            &["--source", "generate", "--topic", "t"],
            "--topic: the job has several inputs: whose is \"t\"?",
            "--topic north=VALUE",
        ),
    ];
    for (flags, what, hint) in cases {
        let refused = check(flags);
        assert_eq!(refused.code, Some(2), "{flags:?}: {refused:?}");
        assert!(refused.err.contains(what) && refused.err.contains(hint), "{flags:?}: {}", refused.err);
    }
    let words = ["check", "halls", "--lake", "lake"];
    for hall in ["both/north", "both/south"] {
        std::fs::create_dir_all(folder.path().join(hall)).expect("a folder can be made");
        std::fs::write(folder.path().join(hall).join("a"), "a line\n").expect("a file can be written");
    }
    let both = check(&["--source", "files:both"]);
    assert!(both.out.contains("input \"south\", files in both/south"), "{both:?}");
    let twin = halls_with(folder.path(), &words, "north=generate\nsouth=files:in\n");
    assert!(twin.out.contains("input \"south\", files in in"), "{twin:?}");
    let unknown = halls_with(folder.path(), &words, "nort=generate\nsouth=files:in\n");
    assert!(unknown.err.starts_with("error: HEADWAY_SOURCE: pipeline \"halls\" has no input"), "{unknown:?}");
    let all = halls(folder.path(), &[&words[..], &["--source", "generate"]].concat());
    assert!(all.out.contains("source    input \"south\", generator, seed 8: 4 partitions"), "{all:?}");
}
