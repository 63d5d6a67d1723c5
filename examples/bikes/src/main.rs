//! The program: every command of `headway`, under its own name.

use std::process::ExitCode;

fn main() -> ExitCode {
    headway::main_of(headway::program!(), bikes::CATALOGUE)
}
