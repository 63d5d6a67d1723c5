//! `headway completions`: a script that lets a shell complete commands and flags.

use super::program::program;
use super::terminal::failure::Failure;
use clap::Args;
use clap_complete::Shell;
use std::io::Write;

/// What `completions` is told.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Flags {
    /// The shell
    shell: Shell,
}

/// Writes the script for `command` to `out`.
pub(crate) fn run(flags: &Flags, mut command: clap::Command, out: &mut dyn Write) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut command, program().name, &mut script);
    Ok(out.write_all(&script)?)
}
