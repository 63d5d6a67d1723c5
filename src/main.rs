//! The `headway` program: the command line over every pipeline of the catalogue.

use std::process::ExitCode;

fn main() -> ExitCode {
    headway::main(headway_pipelines::all())
}
