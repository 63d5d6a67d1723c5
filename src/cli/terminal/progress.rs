//! How far a running job has got, drawn on a terminal; elsewhere a line in the log for each commit, at `debug`.

use super::table::counted;
use crate::cli::units::When;
use crate::engine::commit::checkpoint::Committed;
use crate::engine::format::manifest::Manifest;
use headway_operators::time::EventTime;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use tracing::debug;

/// Whether progress is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Drawn on the terminal behind standard error.
    Drawn,
    /// Only logged.
    Logged,
}

/// The progress of one run. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Bar(Option<ProgressBar>);

impl Progress {
    /// A bar of `length` messages; a spinner where their number is not known.
    pub(crate) fn count(self, length: Option<u64>) -> Bar {
        if self == Progress::Logged {
            return Bar(None);
        }
        let (bar, form) = match length {
            Some(length) => {
                (ProgressBar::new(length), "{elapsed:>4} {wide_bar} {human_pos} of {human_len}  {msg}")
            }
            None => (ProgressBar::new_spinner(), "{elapsed:>4} {spinner} {human_pos}  {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar(Some(bar))
    }
}

impl Bar {
    /// Shows a commit.
    pub(crate) fn committed(&self, committed: &Committed, manifest: &Manifest) {
        let Committed { seq, epoch, rows, files, .. } = *committed;
        debug!(%seq, %epoch, rows, files, "committed");
        let Some(bar) = &self.0 else { return };
        let read = manifest.inputs.iter().flat_map(|input| &input.partitions).map(|part| part.total.consumed);
        bar.set_position(read.sum());
        let watermark = manifest.inputs.iter().map(|input| input.watermark).min().unwrap_or(EventTime::MIN);
        let time = if watermark == EventTime::MIN { String::new() } else { When(watermark.ms()).to_string() };
        bar.set_message(format!("{}  {time}", counted(seq.0, "commit")));
    }

    /// Shows how many messages were written.
    pub(crate) fn produced(&self, messages: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(messages);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
