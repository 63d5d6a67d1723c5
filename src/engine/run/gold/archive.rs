//! The sealed days of views, which are not in memory any more, from their files.

use super::file;
use super::place::{self, day_of};
use crate::connect::targets::target::Archive;
use crate::engine::run::views::SealedDays;
use crate::store::Store;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::ViewRow;
use std::sync::Arc;

/// The files of the sealed days of a pipeline.
pub struct SealedFiles {
    /// The lake.
    pub store: Arc<dyn Store>,
    /// The pipeline.
    pub pipeline: String,
    /// What is sealed.
    pub sealed: SealedDays,
}

impl Archive for SealedFiles {
    fn first_open(&self) -> &str {
        &self.sealed.first_open
    }

    fn has(&self, day: &str) -> bool {
        self.sealed.has(day)
    }

    fn unsealed(&self) -> Vec<&str> {
        self.sealed.unsealed.iter().map(|day| day.as_str()).collect()
    }

    fn days(&self, view: &ViewSpec) -> Result<Vec<String>, String> {
        let folder = place::table_folder(&self.pipeline, view.name);
        let names = self.store.list(&folder).map_err(|error| error.to_string())?;
        let days = names.iter().filter_map(|name| day_of(name)).filter(|day| self.sealed.has(day));
        Ok(days.map(str::to_string).collect())
    }

    fn rows(&self, view: &ViewSpec, day: &str) -> Result<Vec<ViewRow>, String> {
        let path = place::day_path(&self.pipeline, view.name, day);
        file::rows(self.store.as_ref(), &path).map_err(|error| format!("\"{path}\" cannot be read: {error}"))
    }
}
