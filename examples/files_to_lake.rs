//! Runs the turnstile job from a folder of captures into a lake, as `headway run` does, from a program of your own.
//!
//! ```text
//! cargo run --example files_to_lake -- CAPTURES LAKE [workers]
//! ```

#![allow(clippy::print_stdout, reason = "an example tells its story on stdout")]

use headway::connect::csv_gz;
use headway::connect::files::{self, Files};
use headway::engine::clock::System;
use headway::engine::feed::Until;
use headway::engine::job::IfRunning;
use headway::engine::launch::Source;
use headway::engine::{Control, Launch, launch};
use headway::store::local::Local;
use headway_operators::pipeline::Settings;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let captures = arguments.next().ok_or("the first argument is a file or folder of captures")?;
    let lake = arguments.next().ok_or("the second argument is the lake's folder")?;
    let workers = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let entry = headway_pipelines::find("turnstile").ok_or("the catalogue has the turnstile pipeline")?;
    let connector = Files::new(files::Options { path: PathBuf::from(captures), follow: false });
    let summary = launch(
        Launch {
            pipeline: (entry.make)(&Settings::default())?.into(),
            sources: vec![Source {
                connector: Arc::new(connector),
                topic: "mta-turnstile".to_string(),
                discover_every: None,
            }],
            store: Arc::new(Local::new(&PathBuf::from(lake))?),
            job: "turnstile".to_string(),
            workers,
            csv: csv_gz::Options::default(),
            epoch: Duration::from_millis(50),
            epoch_bytes: 64 << 10,
            idle_after: None,
            idle_flush: None,
            until: Until::End,
            max_ahead: Duration::from_secs(3600),
            not_after: None,
            dead_max: 0.5,
            if_running: IfRunning::TakeOver,
            allow_dropped_state: Vec::new(),
            clock: Arc::new(System::default()),
            on_start: Box::new(|resume| println!("generation {}", resume.manifest.generation)),
            on_commit: Box::new(|_, _| {}),
        },
        &Control::new(),
    )?;
    println!("{} epochs, {} rows, manifest {}", summary.epochs, summary.rows, summary.head.seq);
    Ok(())
}
