//! Runs the turnstile job from a folder of captures into a lake, as `headway run` does, from a program of your own.
//!
//! ```text
//! cargo run --example files_to_lake -- CAPTURES LAKE [workers]
//! ```

#![allow(clippy::print_stdout, reason = "an example tells its story on stdout")]

use headway::{Connector, Control, Files, FilesOptions, Launch, Local, launch};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let captures = arguments.next().ok_or("the first argument is a file or folder of captures")?;
    let lake = arguments.next().ok_or("the second argument is the lake's folder")?;
    let workers = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let entry = headway_pipelines::find("turnstile").ok_or("the catalogue has the turnstile pipeline")?;
    let made = entry.configure([])?;
    let connector = Files::new(FilesOptions::new(captures, &made.pipeline.inputs()[0]));
    let connector: Arc<dyn Connector> = Arc::new(connector);
    let store = Arc::new(Local::new(&PathBuf::from(lake))?);
    let job = Launch {
        workers,
        epoch: Duration::from_millis(50),
        epoch_bytes: 64 << 10,
        on_start: Box::new(|resume, _| println!("generation {}", resume.manifest.generation)),
        ..Launch::new(made, [connector], store)
    };
    let summary = launch(job, &Control::new())?;
    println!(
        "{} epochs, {} rows, manifest {}",
        summary.outcome.commits, summary.outcome.rows, summary.head.seq
    );
    Ok(())
}
