//! `headway man`: man pages, one for each command.

use super::settings::place::flag_path;
use super::terminal::failure::{Code, Failure, sentence};
use super::terminal::table::counted;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// What `man` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The folder that gets the pages, such as ~/.local/share/man/man1; made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes the pages of `command` and of all commands below it, and reports on `out` how many there are.
///
/// # Errors
/// Exit 3 if they cannot be written.
pub(crate) fn run(flags: &Flags, command: clap::Command, out: &mut dyn Write) -> Result<(), Failure> {
    let folder = flag_path("FOLDER", &flags.folder)?;
    let shown = folder.display().to_string();
    let failed = |error: std::io::Error| {
        Failure::new(Code::FolderUnwritable, format!("could not write man pages to \"{shown}\""))
            .detail(sentence(&error.to_string()))
            .hint("Name a folder in which this user may write.")
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    // A person who looks for `headway run` types `man headway-run`: `help` is no page.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let pages = pages(&command);
    clap_mangen::generate_to(command, &folder).map_err(failed)?;
    let section = folder.parent().unwrap_or(&folder).display().to_string();
    writeln!(out, "wrote {} to {shown}", counted(pages, "page"))?;
    Ok(writeln!(out, "then: man --manpath={section} headway")?)
}

/// The pages of `command` and of those below it, as many as are written: pages of other programs may lie in the folder.
fn pages(command: &clap::Command) -> u64 {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    1 + shown.map(pages).sum::<u64>()
}
