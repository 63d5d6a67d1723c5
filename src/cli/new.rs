//! `headway new`: writes a crate with an operator of one's own, its test, its benchmark, and a program with every command.

use super::program::program;
use super::settings::place::flag_path;
use super::terminal::failure::{Code, Failure};
use clap::{Args, Subcommand};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What `new` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Write a crate with an operator: the operator, a program, a test and a benchmark
    Operator {
        /// The crate's name: lowercase letters, digits and hyphens
        #[arg(value_name = "NAME")]
        name: String,
        /// Where the crate's folder is made
        #[arg(long = "in", value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Where the sources of Headway are [default: where this program was built]
        #[arg(long, value_name = "FOLDER")]
        headway: Option<PathBuf>,
    },
}

/// The files of the crate, each with its text.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.txt")),
    ("src/main.rs", include_str!("template/main.rs.txt")),
    ("src/lib.rs", include_str!("template/lib.rs.txt")),
    ("tests/script.rs", include_str!("template/script.rs.txt")),
    ("benches/speed.rs", include_str!("template/bench.rs.txt")),
];

/// Writes the crate, and says on `out` how to go on.
///
/// # Errors
/// Exit 2 if the name cannot be a crate's, or the folder is there; exit 3 if it cannot be written.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let What::Operator { name, folder, headway } = &flags.what;
    if !is_name(name) {
        let what = format!("\"{name}\" cannot be the name of a crate");
        return Err(Failure::new(Code::CommandLine, what)
            .hint("Use lowercase letters, digits and hyphens, a letter first."));
    }
    let headway = match headway {
        Some(path) => flag_path("--headway", path)?,
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    };
    let headway = fs::canonicalize(&headway).ok().filter(|path| path.join("operators/Cargo.toml").is_file());
    let Some(headway) = headway else {
        return Err(Failure::new(Code::CommandLine, "the sources of Headway are not there")
            .hint("Say with --headway FOLDER where they are: the crate depends on them by path."));
    };
    let folder = flag_path("--in", folder)?.join(name);
    if folder.exists() {
        let what = format!("there is a \"{}\" already", folder.display());
        return Err(
            Failure::new(Code::FolderTaken, what).hint("Choose another name, or another --in FOLDER.")
        );
    }
    write(&folder, name, &headway).map_err(|error| {
        let what = format!("could not write \"{}\"", folder.display());
        Failure::new(Code::FolderUnwritable, what).detail(error.to_string())
    })?;
    let program = program().name;
    writeln!(out, "wrote {}", folder.display())?;
    writeln!(out, "try next")?;
    writeln!(out, "  cd {} && cargo test --offline", folder.display())?;
    writeln!(out, "  cargo run --offline -- run {name} --source files:messages.ndjson --lake my-lake")?;
    Ok(writeln!(
        out,
        "The tutorial is the page of the crate headway_operators; {program} explain has the errors."
    )?)
}

fn write(folder: &Path, name: &str, headway: &Path) -> std::io::Result<()> {
    for (path, text) in FILES {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        // A crate's name in Rust has no hyphens.
        let text = text.replace("NAME_RUST", &name.replace('-', "_")).replace("NAME", name);
        fs::write(path, text.replace("HEADWAY", &headway.display().to_string()))?;
    }
    // The versions that Headway was built with: they are on this machine.
    let lock = headway.join("Cargo.lock");
    if lock.is_file() {
        fs::copy(lock, folder.join("Cargo.lock"))?;
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(fit) && name.len() <= 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::form::Form;

    fn flags(name: &str, folder: &Path, headway: Option<&str>) -> Flags {
        let (name, folder, headway) = (name.to_string(), folder.to_path_buf(), headway.map(PathBuf::from));
        Flags { what: What::Operator { name, folder, headway } }
    }

    #[test]
    fn crate_is_written_once_under_its_own_name() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut told = Vec::new();
        run(&flags("door-alarm", folder.path(), None), &mut told).expect("a new folder is written");
        let read = |path: &str| {
            fs::read_to_string(folder.path().join("door-alarm").join(path)).expect("it was written")
        };
        assert!(read("Cargo.toml").contains("name = \"door-alarm\""));
        assert!(read("src/main.rs").contains("door_alarm::CATALOGUE"));
        for (path, _) in FILES {
            assert!(!read(path).contains("NAME") && !read(path).contains("HEADWAY"), "{path}");
        }
        let refused = run(&flags("door-alarm", folder.path(), None), &mut told).expect_err("it is there");
        assert!(refused.render(Form::Text).contains("(folder-taken)"));
    }

    #[test]
    fn name_that_no_crate_can_have_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for name in ["", "Doors", "7doors", "../doors", "a b"] {
            let refused = run(&flags(name, folder.path(), None), &mut Vec::new()).expect_err(name);
            assert!(refused.render(Form::Text).contains("cannot be the name"), "{name}");
        }
        let refused =
            run(&flags("doors", folder.path(), Some("/nowhere")), &mut Vec::new()).expect_err("nowhere");
        assert!(refused.render(Form::Text).contains("--headway"));
    }
}
