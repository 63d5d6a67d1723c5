//! Where gold tables lie.

use crate::engine::format::folders::encoded;
use crate::engine::format::names;
use headway_operators::shape::Shape;
use headway_operators::spec::{Format, ViewSpec};

/// The format of gold tables in this build.
pub const FORMAT: Format = if cfg!(feature = "parquet") { Format::Parquet } else { Format::CsvGz };

/// What precedes the day in the name of a file.
const DAY: &str = "day=";

/// The tables of day files of `shape` that this build writes. A day file is read before it is written again, which a build without
/// Parquet cannot do: it writes none.
pub fn day_files(shape: &Shape) -> Vec<ViewSpec> {
    if FORMAT == Format::Parquet { shape.day_files.clone() } else { Vec::new() }
}

/// The folder of the tables of `pipeline`, with the final `/`.
pub fn folder(pipeline: &str) -> String {
    format!("{}{pipeline}/", names::GOLD_FOLDER)
}

/// The file of a table that is one file.
pub fn path(pipeline: &str, view: &str) -> String {
    format!("{}{view}.{}", folder(pipeline), FORMAT.name())
}

/// The folder of a table that lies by day, with the final `/`.
pub fn table_folder(pipeline: &str, view: &str) -> String {
    format!("{}{view}/", folder(pipeline))
}

/// The file of `day` of a table that lies by day.
pub(super) fn day_path(pipeline: &str, view: &str, day: &str) -> String {
    format!("{}{}", table_folder(pipeline, view), day_file(day))
}

/// The name of the file of `day` in the folder of its table. A value that is no plain word keeps within it: what may not stand in
/// a name is written as `%` and its bytes.
fn day_file(day: &str) -> String {
    // A full stop would end the name of the day.
    format!("{DAY}{}.{}", encoded(day).replace('.', "%2E"), FORMAT.name())
}

/// The day, as it is written in the name of a file of a table that lies by day; `None` if `name` is no such file.
pub fn day_of(name: &str) -> Option<&str> {
    name.strip_prefix(DAY)?.strip_suffix(FORMAT.name())?.strip_suffix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_day_leaves_the_folder_of_its_table() {
        for (day, file) in [
            ("2024-01-05", "day=2024-01-05"),
            ("overall", "day=overall"),
            ("../x", "day=%2E%2E%2Fx"),
            ("", "day="),
            ("ä", "day=%C3%A4"),
        ] {
            let name = day_file(day);
            assert_eq!(name, format!("{file}.{}", FORMAT.name()));
            assert_eq!(day_of(&name), file.strip_prefix(DAY));
        }
        assert_eq!(day_of("station_day.parquet"), None);
    }
}
