//! Rows from structs: a struct that [`row!`](crate::row!) declares knows its columns, whatever the file format.

use crate::build::Build;
use crate::flow::Flow;
use crate::kit::record::Record;
use crate::row::{Cell, Column, Kind, Row};
use crate::spec::{Folders, Format, OutputSpec};
use crate::time::{Epoch, EventTime};

/// A struct whose fields are the columns of an output. [`row!`](crate::row!) implements it.
///
/// ```rust
/// use headway_operators::kit::row::Fields;
/// use headway_operators::row;
/// use headway_operators::row::{Cell, Kind};
/// use headway_operators::time::EventTime;
///
/// row! {
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Trip {
///         pub bike: String,
///         pub start: EventTime,
///         pub stops: Option<u32>,
///     }
/// }
///
/// let names: Vec<_> = Trip::columns().into_iter().map(|column| (column.name, column.kind)).collect();
/// assert_eq!(names, [("bike".into(), Kind::Text), ("start".into(), Kind::Time), ("stops".into(), Kind::Int)]);
/// let trip = Trip { bike: "b1".to_string(), start: EventTime(5), stops: None };
/// let mut cells = 0;
/// trip.cells(&mut |cell| cells += usize::from(cell != Cell::Null));
/// assert_eq!(cells, 2);
/// ```
pub trait Fields: Clone + Send + Sync + 'static {
    /// The columns, in order.
    fn columns() -> Vec<Column>;

    /// Calls `put` once for each column, in order.
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>));
}

/// A type that can be a cell.
pub trait Value {
    /// The type of its column.
    const KIND: Kind;

    /// The cell.
    fn cell(&self) -> Cell<'_>;
}

impl Value for String {
    const KIND: Kind = Kind::Text;

    fn cell(&self) -> Cell<'_> {
        Cell::Text(self)
    }
}

impl Value for EventTime {
    const KIND: Kind = Kind::Time;

    fn cell(&self) -> Cell<'_> {
        Cell::Time(*self)
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Bool;

    fn cell(&self) -> Cell<'_> {
        Cell::Bool(*self)
    }
}

/// A copy of an input or a final division, never a sum.
impl Value for f64 {
    const KIND: Kind = Kind::Float;

    fn cell(&self) -> Cell<'_> {
        Cell::Float(*self)
    }
}

impl Value for i128 {
    const KIND: Kind = Kind::Wide;

    fn cell(&self) -> Cell<'_> {
        Cell::Wide(*self)
    }
}

impl Value for u64 {
    const KIND: Kind = Kind::Wide;

    fn cell(&self) -> Cell<'_> {
        Cell::Wide(i128::from(*self))
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::Int;

            fn cell(&self) -> Cell<'_> {
                Cell::Int(i64::from(*self))
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u16, u32);

impl<V: Value> Value for Option<V> {
    const KIND: Kind = V::KIND;

    fn cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Null, Value::cell)
    }
}

/// Declares a struct whose fields are the columns of an output: see [`kit::row::Fields`](crate::kit::row::Fields).
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type),*
        }

        impl $crate::kit::row::Fields for $name {
            fn columns() -> ::std::vec::Vec<$crate::row::Column> {
                ::std::vec![$(
                    $crate::row::Column::new(
                        ::std::stringify!($field),
                        <$type as $crate::kit::row::Value>::KIND,
                    )
                ),*]
            }

            fn cells(&self, put: &mut dyn ::std::ops::FnMut($crate::row::Cell<'_>)) {
                $(put($crate::kit::row::Value::cell(&self.$field));)*
            }
        }
    };
}

/// A row with the event time and the first epoch of the record that it is.
#[derive(Clone, Debug)]
struct Timed<R>(Record<R>);

impl<R: Fields> Row for Timed<R> {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        self.0.data.cells(put);
    }

    fn time(&self) -> EventTime {
        self.0.time
    }

    fn since(&self, epoch: Epoch) -> Epoch {
        self.0.since.unwrap_or(epoch)
    }
}

impl<'s> Build<'s> {
    /// Writes rows as gzipped CSV into the folder `name`.
    pub fn csv<R: Fields>(&mut self, name: &str, rows: Flow<'s, Record<R>>) {
        self.rows(name, Format::CsvGz, None, rows);
    }

    /// Writes rows as gzipped JSON objects, one a line, into the folder `name`.
    pub fn ndjson<R: Fields>(&mut self, name: &str, rows: Flow<'s, Record<R>>) {
        self.rows(name, Format::NdjsonGz, None, rows);
    }

    /// Writes rows as Parquet into the folder `name`, or into folders below it.
    pub fn parquet<R: Fields>(&mut self, name: &str, folders: Option<Folders>, rows: Flow<'s, Record<R>>) {
        self.rows(name, Format::Parquet, folders, rows);
    }

    fn rows<R: Fields>(
        &mut self,
        name: &str,
        format: Format,
        folders: Option<Folders>,
        rows: Flow<'s, Record<R>>,
    ) {
        let spec = OutputSpec {
            name: name.to_string(),
            prefix: name.to_string(),
            stem: "batch".into(),
            format,
            columns: R::columns(),
            folders,
        };
        self.output(spec, rows.map(Timed));
    }
}
