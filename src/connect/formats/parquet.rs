//! Apache Parquet: typed columns that may be null, zstd, statistics for each row group and page.
//!
//! | column | in the file |
//! |---|---|
//! | `Text` | `BYTE_ARRAY`, string, dictionary |
//! | `Int` | `INT64`, differences packed |
//! | `Wide` | `FIXED_LEN_BYTE_ARRAY(16)`, `DECIMAL(38, 0)`, dictionary |
//! | `Float` | `DOUBLE` |
//! | `Bool` | `BOOLEAN` |
//! | `Time` | `INT64`, timestamp in milliseconds UTC, differences packed |
//!
//! Readers skip a row group, and a page in it, by the least and greatest value of each column. A row group ends after
//! [`GROUP_ROWS_MAX`] rows or [`GROUP_BYTES_MAX`] bytes, so that is what writing a file holds in memory.

use crate::connect::formats::{Encoder, Files};
use bytes::Bytes;
use headway_operators::row::{Cell, Column, Kind, Rows};
use headway_operators::spec::{Format, OutputSpec};
use headway_operators::time::EventTime;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type, ZstdLevel};
use parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type as types;
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type as SchemaType, TypePtr};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Rows of a row group: enough for compression, few enough that a reader skips most of a large file.
pub const GROUP_ROWS_MAX: usize = 128 << 10;

/// Bytes of values in memory after which a row group ends.
pub const GROUP_BYTES_MAX: usize = 32 << 20;

/// zstd's fastest level but one: a batch is written once and read soon.
const ZSTD_LEVEL: i32 = 1;

/// Digits of a sum. The greatest `i128` has 39; a sum beyond 38 is refused, not cut.
const DIGITS: i32 = 38;

/// The first number with more digits than a sum may have.
const WIDE_LIMIT: u128 = 10_u128.pow(DIGITS.unsigned_abs());

/// The bytes of a sum.
const WIDE_BYTES: usize = size_of::<i128>();

/// This format. `notes` stand in the metadata of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parquet {
    /// Names and values that a reader finds beside the schema.
    pub notes: Vec<(String, String)>,
}

impl Encoder for Parquet {
    fn extension(&self) -> &'static str {
        Format::Parquet.name()
    }

    fn write(&self, rows: &dyn Rows, output: &OutputSpec, out: &mut (dyn Write + Send)) -> io::Result<()> {
        write(rows, &output.columns, &self.notes, out)
    }

    fn count_rows(&self, mut file: Box<dyn Read>) -> io::Result<u64> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rows = 0;
        read(bytes, &mut |_| rows += 1)?;
        Ok(rows)
    }

    fn merge(&self, files: Files<'_>, out: &mut (dyn Write + Send)) -> io::Result<u64> {
        merge(files, out)
    }
}

/// Writes `rows` as one file to `out`. Equal rows and notes give equal bytes.
///
/// # Errors
/// What `out` answers, of the same kind; and if a row does not fit the columns, in number or in type.
pub fn write(
    rows: &dyn Rows,
    columns: &[Column],
    notes: &[(String, String)],
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let mut writer = Writer::new(columns, notes, out)?;
    for row in 0..rows.len() {
        writer.add(|put| rows.cells(row, put))?;
    }
    writer.finish().map(drop)
}

/// A file that is being written.
struct Writer<'a> {
    file: SerializedFileWriter<&'a mut (dyn Write + Send)>,
    /// The row group that is being filled.
    buffers: Vec<Buffer>,
    /// Bytes in it.
    held: usize,
    rows: u64,
}

impl<'a> Writer<'a> {
    fn new(
        columns: &[Column],
        notes: &[(String, String)],
        out: &'a mut (dyn Write + Send),
    ) -> io::Result<Writer<'a>> {
        let properties = Arc::new(properties(columns, notes));
        let file = SerializedFileWriter::new(out, schema(columns)?, properties).map_err(cause)?;
        Ok(Writer { file, buffers: columns.iter().map(Buffer::new).collect(), held: 0, rows: 0 })
    }

    /// Adds the row whose cells `cells` gives.
    fn add(&mut self, cells: impl FnOnce(&mut dyn FnMut(Cell<'_>))) -> io::Result<()> {
        let columns = self.buffers.len();
        let buffers = &mut self.buffers;
        let (mut count, mut added) = (0, Ok(0));
        cells(&mut |cell| {
            if let (Some(buffer), Ok(size)) = (buffers.get_mut(count), &mut added) {
                match buffer.push(cell) {
                    Ok(more) => *size += more,
                    Err(error) => added = Err(error),
                }
            }
            count += 1;
        });
        if count != columns || columns == 0 {
            return Err(invalid(format!("row {} has {count} cells for {columns} columns", self.rows)));
        }
        self.held += added?;
        self.rows += 1;
        if self.buffers[0].present.len() >= GROUP_ROWS_MAX || self.held >= GROUP_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what the buffers hold as a row group.
    fn flush(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(cause)?;
        for buffer in &mut self.buffers {
            buffer.flush(&mut group).map_err(cause)?;
        }
        self.held = 0;
        group.close().map(drop).map_err(cause)
    }

    /// Ends the file; how many rows it has.
    fn finish(mut self) -> io::Result<u64> {
        if self.buffers.first().is_some_and(|buffer| !buffer.present.is_empty()) {
            self.flush()?;
        }
        self.file.finish().map_err(cause)?;
        self.file.inner_mut().flush().map(|()| self.rows)
    }
}

/// Writes the rows of `files`, which have the same columns, one after the other into one file; how many rows it has.
fn merge(files: Files<'_>, out: &mut (dyn Write + Send)) -> io::Result<u64> {
    let mut next = || match files.next() {
        None => Ok(None),
        Some(file) => {
            let mut bytes = Vec::new();
            file?.read_to_end(&mut bytes)?;
            open(bytes).map(Some)
        }
    };
    let Some(first) = next()? else { return Err(invalid("there is no file to merge".into())) };
    let columns = columns(&first)?;
    let (mut writer, mut file) = (Writer::new(&columns, &[], out)?, first);
    loop {
        if self::columns(&file)? != columns {
            return Err(invalid("the columns of two files differ".into()));
        }
        let mut added = Ok(());
        read_from(&file, &mut |cells| {
            if added.is_ok() {
                added = writer.add(|put| cells.iter().for_each(|cell| put(*cell)));
            }
        })?;
        added?;
        match next()? {
            Some(next) => file = next,
            None => return writer.finish(),
        }
    }
}

/// Calls `each` with the cells of every row in a file that [`write`] wrote.
///
/// # Errors
/// If `bytes` are no Parquet file, do not decode, or have a column of a type that [`write`] does not write.
pub fn read(bytes: Vec<u8>, each: &mut dyn FnMut(&[Cell<'_>])) -> io::Result<()> {
    read_from(&open(bytes)?, each)
}

fn open(bytes: Vec<u8>) -> io::Result<SerializedFileReader<Bytes>> {
    SerializedFileReader::new(Bytes::from(bytes)).map_err(cause)
}

fn read_from(reader: &SerializedFileReader<Bytes>, each: &mut dyn FnMut(&[Cell<'_>])) -> io::Result<()> {
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let kinds: Vec<Kind> =
        schema.columns().iter().map(|column| kind_of(column.self_type())).collect::<Result<_, _>>()?;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(cause)?;
        let rows = usize::try_from(group.metadata().num_rows()).map_err(io::Error::other)?;
        let columns = kinds.iter().enumerate();
        let buffers: Vec<Buffer> = columns
            .map(|(at, kind)| Buffer::read(group.as_ref(), at, *kind, rows))
            .collect::<Result<_, _>>()?;
        let mut cursors: Vec<Cursor<'_>> =
            buffers.iter().map(|buffer| Cursor { buffer, row: 0, value: 0 }).collect();
        let mut cells = Vec::with_capacity(cursors.len());
        for _ in 0..rows {
            cells.clear();
            for cursor in &mut cursors {
                cells.push(cursor.next()?);
            }
            each(&cells);
        }
    }
    Ok(())
}

/// A note in a file: name and value.
pub type Note = (String, String);

/// The columns of a file, and the notes in it.
///
/// # Errors
/// As [`read`].
pub fn describe(bytes: Vec<u8>) -> io::Result<(Vec<Column>, Vec<Note>)> {
    let reader = open(bytes)?;
    Ok((columns(&reader)?, notes_of(reader.metadata())))
}

fn notes_of(metadata: &ParquetMetaData) -> Vec<Note> {
    let notes = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    notes.map(|note| (note.key.clone(), note.value.clone().unwrap_or_default())).collect()
}

/// The notes of a file of `size` bytes, of which only the end is read; `range` gives the bytes from one place to another.
///
/// # Errors
/// If they cannot be read, or are not the end of a Parquet file.
pub fn notes(size: u64, range: &dyn Fn(u64, u64) -> io::Result<Vec<u8>>) -> io::Result<Vec<Note>> {
    let too_short = || invalid("it is too short".to_string());
    let tail_at = size.checked_sub(FOOTER_SIZE as u64).ok_or_else(too_short)?;
    let tail = range(tail_at, size)?.try_into().map_err(|_| too_short())?;
    let length = FooterTail::try_new(&tail).map_err(cause)?.metadata_length() as u64;
    let begin = tail_at.checked_sub(length).ok_or_else(too_short)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&range(begin, tail_at)?).map_err(cause)?;
    Ok(notes_of(&metadata))
}

fn columns(reader: &SerializedFileReader<Bytes>) -> io::Result<Vec<Column>> {
    let column = |column: &parquet::schema::types::ColumnDescPtr| {
        Ok(Column { name: column.name().to_string().into(), kind: kind_of(column.self_type())? })
    };
    reader.metadata().file_metadata().schema_descr().columns().iter().map(column).collect()
}

fn schema(columns: &[Column]) -> io::Result<TypePtr> {
    let field = |column: &Column| {
        let name = column.name.as_ref();
        let field = match column.kind {
            Kind::Text => SchemaType::primitive_type_builder(name, Type::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String)),
            Kind::Int => SchemaType::primitive_type_builder(name, Type::INT64),
            Kind::Wide => SchemaType::primitive_type_builder(name, Type::FIXED_LEN_BYTE_ARRAY)
                .with_length(i32::try_from(WIDE_BYTES).expect("a sum is short"))
                .with_logical_type(Some(LogicalType::decimal(0, DIGITS)))
                .with_precision(DIGITS)
                .with_scale(0),
            Kind::Float => SchemaType::primitive_type_builder(name, Type::DOUBLE),
            Kind::Bool => SchemaType::primitive_type_builder(name, Type::BOOLEAN),
            Kind::Time => SchemaType::primitive_type_builder(name, Type::INT64)
                .with_logical_type(Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        };
        field.with_repetition(Repetition::OPTIONAL).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>().map_err(cause)?;
    SchemaType::group_type_builder("rows").with_fields(fields).build().map(Arc::new).map_err(cause)
}

fn properties(columns: &[Column], notes: &[(String, String)]) -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("zstd has this level");
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("headway version {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(None)
        .set_compression(Compression::ZSTD(level));
    if !notes.is_empty() {
        let note = |(key, value): &(String, String)| KeyValue::new(key.clone(), value.clone());
        properties = properties.set_key_value_metadata(Some(notes.iter().map(note).collect()));
    }
    for column in columns.iter().filter(|column| matches!(column.kind, Kind::Int | Kind::Time)) {
        // Most are times and offsets: each value is new to a dictionary, and near the one before it.
        let path = ColumnPath::new(vec![column.name.to_string()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// The type of a column in a file.
fn kind_of(column: &SchemaType) -> io::Result<Kind> {
    let logical = column.get_basic_info().logical_type_ref();
    Ok(match (column.get_physical_type(), logical) {
        (Type::BYTE_ARRAY, Some(LogicalType::String)) => Kind::Text,
        (Type::INT64, None) => Kind::Int,
        (Type::INT64, Some(LogicalType::Timestamp(_))) => Kind::Time,
        (Type::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Decimal(_))) => Kind::Wide,
        (Type::DOUBLE, None) => Kind::Float,
        (Type::BOOLEAN, None) => Kind::Bool,
        (physical, _) => {
            return Err(invalid(format!("column \"{}\" is {physical}, which no lake has", column.name())));
        }
    })
}

/// The values of one column in the row group that is being filled or read.
struct Buffer {
    name: String,
    values: Values,
    /// For each row 1, or 0 where it is null.
    present: Vec<i16>,
}

/// What is there of a column, without its nulls.
enum Values {
    /// All texts one after the other, and where each ends: no allocation for each of them.
    Text {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    Int(Vec<i64>),
    Wide(Vec<i128>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Time(Vec<i64>),
}

impl Values {
    fn new(kind: Kind) -> Values {
        match kind {
            Kind::Text => Values::Text { bytes: Vec::new(), ends: Vec::new() },
            Kind::Int => Values::Int(Vec::new()),
            Kind::Wide => Values::Wide(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::Time => Values::Time(Vec::new()),
        }
    }
}

impl Buffer {
    fn new(column: &Column) -> Buffer {
        Buffer { name: column.name.to_string(), values: Values::new(column.kind), present: Vec::new() }
    }

    /// Adds a cell; how many bytes it takes in memory.
    fn push(&mut self, cell: Cell<'_>) -> io::Result<usize> {
        const LEVEL: usize = size_of::<i16>();
        let size = match (&mut self.values, cell) {
            (_, Cell::Null) => {
                self.present.push(0);
                return Ok(LEVEL);
            }
            (Values::Text { bytes, ends }, Cell::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
                text.len() + size_of::<usize>()
            }
            (Values::Int(values), Cell::Int(value)) => put(values, value),
            (Values::Wide(values), Cell::Int(value)) => put(values, i128::from(value)),
            (Values::Wide(values), Cell::Wide(value)) if value.unsigned_abs() < WIDE_LIMIT => {
                put(values, value)
            }
            (Values::Float(values), Cell::Float(value)) => put(values, value),
            (Values::Bool(values), Cell::Bool(value)) => put(values, value),
            (Values::Time(values), Cell::Time(value)) => put(values, value.ms()),
            (_, cell) => return Err(invalid(format!("{cell:?} does not fit column \"{}\"", self.name))),
        };
        self.present.push(1);
        Ok(size + LEVEL)
    }

    /// Writes the column as the next one of `group`, and empties the buffer.
    fn flush<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let levels = std::mem::take(&mut self.present);
        match &mut self.values {
            Values::Text { bytes, ends } => {
                let all = ByteArray::from(std::mem::take(bytes));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let texts: Vec<ByteArray> =
                    starts.zip(ends.iter()).map(|(start, end)| all.slice(start, end - start)).collect();
                ends.clear();
                column::<types::ByteArrayType, W>(group, &texts, &levels)
            }
            Values::Wide(values) => {
                let all: Vec<u8> = values.drain(..).flat_map(i128::to_be_bytes).collect();
                let all = ByteArray::from(all);
                let starts = (0..all.len()).step_by(WIDE_BYTES);
                let sums: Vec<FixedLenByteArray> =
                    starts.map(|start| all.slice(start, WIDE_BYTES).into()).collect();
                column::<types::FixedLenByteArrayType, W>(group, &sums, &levels)
            }
            Values::Int(values) | Values::Time(values) => {
                column::<types::Int64Type, W>(group, &std::mem::take(values), &levels)
            }
            Values::Float(values) => column::<types::DoubleType, W>(group, &std::mem::take(values), &levels),
            Values::Bool(values) => column::<types::BoolType, W>(group, &std::mem::take(values), &levels),
        }
    }

    /// Reads column `at` of `group`, which has `rows` rows.
    fn read(group: &dyn RowGroupReader, at: usize, kind: Kind, rows: usize) -> io::Result<Buffer> {
        let name = group.metadata().column(at).column_descr().name().to_string();
        let reader = group.get_column_reader(at).map_err(cause)?;
        let mut present = Vec::new();
        let values = match kind {
            Kind::Text => {
                let texts =
                    whole::<types::ByteArrayType>(get_typed_column_reader(reader), rows, &mut present)?;
                let (mut bytes, mut ends) = (Vec::new(), Vec::new());
                for text in &texts {
                    text.as_utf8().map_err(cause)?;
                    bytes.extend_from_slice(text.data());
                    ends.push(bytes.len());
                }
                Values::Text { bytes, ends }
            }
            Kind::Wide => {
                let sums = whole::<types::FixedLenByteArrayType>(
                    get_typed_column_reader(reader),
                    rows,
                    &mut present,
                )?;
                let sum = |sum: &FixedLenByteArray| {
                    <[u8; WIDE_BYTES]>::try_from(sum.data()).map(i128::from_be_bytes)
                };
                let sums = sums.iter().map(sum).collect::<Result<_, _>>();
                Values::Wide(
                    sums.map_err(|_| invalid(format!("column \"{name}\" has sums of another length")))?,
                )
            }
            Kind::Int => {
                Values::Int(whole::<types::Int64Type>(get_typed_column_reader(reader), rows, &mut present)?)
            }
            Kind::Time => {
                Values::Time(whole::<types::Int64Type>(get_typed_column_reader(reader), rows, &mut present)?)
            }
            Kind::Float => Values::Float(whole::<types::DoubleType>(
                get_typed_column_reader(reader),
                rows,
                &mut present,
            )?),
            Kind::Bool => {
                Values::Bool(whole::<types::BoolType>(get_typed_column_reader(reader), rows, &mut present)?)
            }
        };
        Ok(Buffer { name, values, present })
    }
}

/// Adds a value; how many bytes it takes in memory.
fn put<T>(values: &mut Vec<T>, value: T) -> usize {
    values.push(value);
    size_of::<T>()
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: &[i16],
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("no column is left".into()))?;
    column.typed::<T>().write_batch(values, Some(levels), None)?;
    column.close()
}

/// All values of a column, with 1 in `present` for each that is there.
fn whole<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
    present: &mut Vec<i16>,
) -> io::Result<Vec<T::T>> {
    let mut values = Vec::new();
    while present.len() < rows {
        let before = present.len();
        reader.read_records(rows - before, Some(present), None, &mut values).map_err(cause)?;
        if present.len() == before {
            return Err(invalid(format!("a column ends after {before} of {rows} rows")));
        }
    }
    Ok(values)
}

/// Where the reader of a column stands.
struct Cursor<'a> {
    buffer: &'a Buffer,
    row: usize,
    /// The number of the next value that is there.
    value: usize,
}

impl<'a> Cursor<'a> {
    fn next(&mut self) -> io::Result<Cell<'a>> {
        let is_present = self.buffer.present[self.row] == 1;
        self.row += 1;
        if !is_present {
            return Ok(Cell::Null);
        }
        let at = self.value;
        self.value += 1;
        let cell = match &self.buffer.values {
            Values::Text { bytes, ends } => ends.get(at).and_then(|end| {
                let start = at.checked_sub(1).map_or(0, |before| ends[before]);
                std::str::from_utf8(&bytes[start..*end]).ok().map(Cell::Text)
            }),
            Values::Int(values) => values.get(at).copied().map(Cell::Int),
            Values::Wide(values) => values.get(at).copied().map(Cell::Wide),
            Values::Float(values) => values.get(at).copied().map(Cell::Float),
            Values::Bool(values) => values.get(at).copied().map(Cell::Bool),
            Values::Time(values) => values.get(at).copied().map(|ms| Cell::Time(EventTime(ms))),
        };
        cell.ok_or_else(|| invalid(format!("column \"{}\" has fewer values than rows", self.buffer.name)))
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The cause of a failure with its kind: the job must tell a full disk from a broken row.
fn cause(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => invalid(other.to_string()),
    }
}
