//! The `headway` program: the command line over every pipeline of the catalogue.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _failpoints = headway::engine::failpoint::from_environment();
    headway::main(headway_pipelines::all())
}
