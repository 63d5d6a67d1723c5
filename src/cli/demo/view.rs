//! The view that a demo shows, compared with the rows of the lake that it is made of.

use super::sums::Sums;
use crate::cli::lake::Job;
#[cfg(feature = "parquet")]
use crate::cli::terminal::failure::Code;
use crate::cli::terminal::failure::Failure;
#[cfg(feature = "parquet")]
use crate::cli::terminal::table::grouped;
#[cfg(feature = "parquet")]
use crate::cli::views::table;
use crate::engine::run::gold;
use headway_operators::pipeline::{Demo, TopView};
#[cfg(feature = "parquet")]
use serde_json::Value;
use std::path::Path;

/// The rows of a view that are shown, under the names of their columns.
pub(in crate::cli) struct Shown {
    pub(in crate::cli) head: Vec<String>,
    pub(in crate::cli) rows: Vec<Vec<String>>,
}

/// The view that `demo` shows; `None` if there is none, or this program keeps no views.
pub(in crate::cli) fn of(demo: &Demo) -> Option<TopView> {
    demo.view.filter(|_| cfg!(feature = "parquet"))
}

/// The rows of `view`, as its gold table has them.
///
/// # Errors
/// Exit 1 if the table is not there, or is not what the rows add up to.
#[cfg(feature = "parquet")]
pub(in crate::cli) fn read(job: &Job, view: TopView, sums: &Sums) -> Result<Shown, Failure> {
    let mut table = table::read(job, view.name)?;
    for (column, value) in view.filter {
        table.keep(view.name, &format!("{column}={value}"))?;
    }
    let place = |name: &&str| table.columns.iter().position(|column| column.name == *name);
    let places: Vec<usize> = view.columns.iter().filter_map(place).collect();
    let cells = |row: &Vec<Value>| places.iter().map(|at| table::shown(&row[*at])).collect();
    let rows = table.rows.iter().map(|row| compared(view, cells(row), sums));
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    if rows.is_empty() {
        return Err(Failure::new(Code::DemoFailed, format!("view \"{}\" has no rows", view.name)));
    }
    Ok(Shown { head: view.columns.iter().map(|name| name.to_uppercase()).collect(), rows })
}

/// The cells of a row of `view` as they are shown. The last one is what the rows of the lake add up to.
#[cfg(feature = "parquet")]
fn compared(view: TopView, mut cells: Vec<String>, sums: &Sums) -> Result<Vec<String>, Failure> {
    let has = cells.pop().unwrap_or_default();
    let sum = sums.first(&cells).unwrap_or_default();
    if sum.to_string() != has {
        let what = format!("view \"{}\" is not what the rows add up to", view.name);
        return Err(Failure::new(Code::DemoFailed, what)
            .detail(format!("It has {has} for {}; the rows have {sum}.", cells.join(", ")))
            .hint("This is a bug of Headway's: please report it with the seed."));
    }
    cells.push(grouped(sum));
    Ok(cells)
}

/// There is no view without Parquet: [`of`] says so.
#[cfg(not(feature = "parquet"))]
pub(in crate::cli) fn read(_: &Job, _: TopView, _: &Sums) -> Result<Shown, Failure> {
    Ok(Shown { head: Vec::new(), rows: Vec::new() })
}

/// What DuckDB is asked to show the same.
pub(in crate::cli) fn query(pipeline: &str, view: TopView, lake: &Path) -> String {
    let filter: Vec<String> =
        view.filter.iter().map(|(column, value)| format!("{column} = '{value}'")).collect();
    let (columns, order) = (view.columns.join(", "), view.columns.last().copied().unwrap_or_default());
    // A table that lies by day has a folder.
    let folder = lake.join(gold::table_folder(pipeline, view.name));
    let file = if folder.is_dir() {
        folder.join(format!("*.{}", gold::FORMAT.name()))
    } else {
        lake.join(gold::path(pipeline, view.name))
    };
    let (file, filter) = (file.display(), filter.join(" AND "));
    format!("SELECT {columns} FROM '{file}' WHERE {filter} ORDER BY {order} DESC")
}

#[cfg(all(test, feature = "parquet"))]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use headway_operators::pipeline::Top;
    use std::io::Write;

    #[test]
    fn view_that_differs_from_the_rows_is_refused() {
        let top = Top { title: "shops", output: "sales", of: &["SHOP"], sums: &["SOLD"] };
        let view = TopView { settings: &[], name: "best", filter: &[], columns: &["shop", "sold"] };
        let mut file = GzEncoder::new(Vec::new(), Compression::fast());
        file.write_all(b"SHOP,SOLD\nA,1000\nA,1\n").expect("memory can be written");
        let mut sums = Sums::new(top);
        sums.add("a.csv.gz", file.finish().expect("memory can be written").as_slice()).expect("fit");

        let row = |shop: &str, sold: &str| compared(view, vec![shop.into(), sold.into()], &sums);
        assert_eq!(row("A", "1001").expect("the same"), ["A", "1,001"]);
        assert_eq!(row("A", "1000").expect_err("one is missing").name(), Code::DemoFailed.name());
        assert!(row("B", "1").is_err() && row("A", "").is_err());
    }

    #[test]
    fn query_names_file_and_rows() {
        let view =
            TopView { settings: &[], name: "best", filter: &[("day", "all")], columns: &["shop", "sold"] };
        let query = query("sales", view, Path::new("lake"));
        assert_eq!(
            query,
            "SELECT shop, sold FROM 'lake/gold/sales/best.parquet' WHERE day = 'all' ORDER BY sold DESC"
        );
    }
}
