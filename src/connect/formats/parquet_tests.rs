//! Parquet files read back: by the crate that wrote them, and by pyarrow where it is installed.

use crate::connect::formats::any_rows::{AnyRow, Full, Value, python};
use crate::connect::formats::parquet::{GROUP_ROWS_MAX, Parquet, describe, read, write};
use crate::connect::formats::{Encoder, csv_gz, encoder};
use headway_operators::row::{Cell, Column, Kind};
use headway_operators::spec::{Format, OutputSpec};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::io;

/// One column of each kind.
const COLUMNS: [Column; 6] = [
    Column::new("text", Kind::Text),
    Column::new("int", Kind::Int),
    Column::new("a sum", Kind::Wide),
    Column::new("float", Kind::Float),
    Column::new("bool", Kind::Bool),
    Column::new("at.utc", Kind::Time),
];

/// The greatest sum: 38 digits.
const WIDE_MAX: i128 = 10_i128.pow(38) - 1;

/// A row of [`COLUMNS`], with a null anywhere.
fn row() -> impl Strategy<Value = AnyRow> {
    let wide = prop_oneof![Just(WIDE_MAX), Just(-WIDE_MAX), -WIDE_MAX..=WIDE_MAX, -9..9_i128];
    let texts = prop_oneof![any::<String>(), "[abc]{0,2}", Just("\u{feff}\u{1f689}\0".to_string())];
    let values = (texts, any::<i64>(), wide, any::<f64>(), any::<bool>(), any::<i64>(), any::<u8>());
    values.prop_map(|(text, int, wide, float, bool, time, nulls)| {
        let all = [
            Value::Text(text),
            Value::Int(int),
            Value::Wide(wide),
            Value::Float(float),
            Value::Bool(bool),
            Value::Time(time),
        ];
        let is_null = |column: usize| nulls & (1 << column) != 0;
        AnyRow((0..).zip(all).map(|(at, value)| if is_null(at) { Value::Null } else { value }).collect())
    })
}

fn encoded(rows: &Vec<AnyRow>, columns: &[Column]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(rows, columns, &[], &mut bytes).map(|()| bytes)
}

/// A cell with every bit of it.
fn shown(cell: Cell<'_>) -> String {
    match cell {
        Cell::Float(value) => format!("Float({:016x})", value.to_bits()),
        cell => format!("{cell:?}"),
    }
}

fn read_back(bytes: Vec<u8>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    read(bytes, &mut |cells| rows.push(cells.iter().map(|cell| shown(*cell)).collect()))
        .expect("it is whole");
    rows
}

fn as_meant(rows: &[AnyRow]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.0.iter().map(|value| shown(value.cell())).collect()).collect()
}

proptest! {
    #[test]
    fn rows_come_back_with_every_bit_and_null_and_equal_rows_give_equal_bytes(rows in prop::collection::vec(row(), 0..60)) {
        let bytes = encoded(&rows, &COLUMNS).unwrap();
        prop_assert_eq!(&bytes, &encoded(&rows, &COLUMNS).unwrap());
        prop_assert_eq!(describe(bytes.clone()).unwrap(), (COLUMNS.to_vec(), Vec::new()));
        let count = Parquet::default().count_rows(Box::new(io::Cursor::new(bytes.clone()))).unwrap();
        prop_assert_eq!(count, rows.len() as u64);
        prop_assert_eq!(read_back(bytes), as_meant(&rows));
    }
}

#[test]
fn pyarrow_reads_what_was_written() {
    let script = "import io,json,sys\n\
        data = sys.stdin.buffer.read()\n\
        try: import pyarrow as pa, pyarrow.parquet as pq, struct\n\
        except ImportError: json.dump(None, sys.stdout); sys.exit()\n\
        table = pq.read_table(io.BytesIO(data))\n\
        def show(v):\n\
        \x20 if v is None: return 'Null'\n\
        \x20 if isinstance(v, bool): return f'Bool({str(v).lower()})'\n\
        \x20 if isinstance(v, float): return 'Float(' + struct.pack('>d', v).hex() + ')'\n\
        \x20 if isinstance(v, str): return v.encode().hex()\n\
        \x20 return str(v)\n\
        times = table.column('at.utc').cast(pa.int64())\n\
        columns = [table.column(i) if i != 5 else times for i in range(6)]\n\
        rows = [[show(c[i].as_py()) for c in columns] for i in range(table.num_rows)]\n\
        json.dump([[str(f.type) for f in table.schema], rows], sys.stdout)";
    let rows =
        prop::collection::vec(row(), 500).new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let Some(said) = python(script, &encoded(&rows, &COLUMNS).unwrap()) else { return };
    let Some((types, read)) =
        serde_json::from_slice::<Option<(Vec<String>, Vec<Vec<String>>)>>(&said).unwrap()
    else {
        println!("skipped: pyarrow is not installed");
        return;
    };
    assert_eq!(types, ["string", "int64", "decimal128(38, 0)", "double", "bool", "timestamp[ms, tz=UTC]"]);
    let said = |value: &Value| match value {
        Value::Text(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        Value::Int(number) | Value::Time(number) => number.to_string(),
        Value::Wide(number) => number.to_string(),
        other => shown(other.cell()),
    };
    assert_eq!(read, rows.iter().map(|row| row.0.iter().map(said).collect::<Vec<_>>()).collect::<Vec<_>>());
}

#[test]
fn reader_can_skip_row_groups_and_pages_by_the_least_and_greatest_value() {
    let columns = [Column::new("at", Kind::Time), Column::new("station", Kind::Text)];
    let count = GROUP_ROWS_MAX + 5;
    let row = |n: usize| AnyRow(vec![Value::Time(n as i64), Value::Text(format!("station {:02}", n % 7))]);
    let bytes = encoded(&(0..count).map(row).collect(), &columns).unwrap();
    let file = SerializedFileReader::new(bytes::Bytes::from(bytes.clone())).unwrap();
    let groups = file.metadata().row_groups();
    let spans: Vec<_> = groups
        .iter()
        .map(|group| match group.column(0).statistics() {
            Some(Statistics::Int64(found)) => {
                (group.num_rows(), *found.min_opt().unwrap(), *found.max_opt().unwrap())
            }
            other => panic!("there are no statistics: {other:?}"),
        })
        .collect();
    let first = GROUP_ROWS_MAX as i64;
    assert_eq!(spans, [(first, 0, first - 1), (5, first, first + 4)]);
    let Some(Statistics::ByteArray(stations)) = groups[0].column(1).statistics() else {
        panic!("no statistics")
    };
    assert_eq!(stations.max_opt().unwrap().data(), b"station 06");
    assert!(
        groups.iter().flat_map(|group| group.columns()).all(|column| column.column_index_offset().is_some())
    );
    assert_eq!(read_back(bytes).len(), count);
}

#[test]
fn notes_stand_in_the_file_beside_the_schema() {
    let notes = vec![("headway.epoch".to_string(), "7".to_string())];
    let output = OutputSpec {
        name: "rows".into(),
        prefix: "rows".into(),
        stem: "batch".into(),
        format: Format::Parquet,
        columns: COLUMNS.to_vec(),
        folders: None,
    };
    let (rows, mut bytes): (Vec<AnyRow>, _) = (Vec::new(), Vec::new());
    Parquet { notes: notes.clone() }.write(&rows, &output, &mut bytes).unwrap();
    assert_eq!(describe(bytes).unwrap(), (COLUMNS.to_vec(), notes));
}

#[test]
fn row_that_does_not_fit_its_columns_is_an_error_that_names_the_column() {
    let one = |kind, value| encoded(&vec![AnyRow(vec![value])], &[Column::new("entries", kind)]);
    let refused = [
        (Kind::Wide, Value::Wide(WIDE_MAX + 1)),
        (Kind::Wide, Value::Wide(i128::MIN)),
        (Kind::Int, Value::Text("1".into())),
        (Kind::Text, Value::Int(1)),
        (Kind::Time, Value::Int(1)),
    ];
    for (kind, value) in refused {
        let error = one(kind, value).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("\"entries\""), "{error}");
    }
    assert!(one(Kind::Wide, Value::Int(-3)).is_ok(), "an integer is a sum, too");
    for cells in [1, 3] {
        let rows = vec![AnyRow(vec![Value::Null; cells])];
        assert!(encoded(&rows, &COLUMNS[..2]).is_err(), "{cells} cells for 2 columns");
    }
}

#[test]
fn damaged_file_is_not_counted() {
    let rows: Vec<AnyRow> =
        (0..5_000).map(|n| AnyRow(vec![Value::Int(n * n * 7919), Value::Bool(n % 3 == 0)])).collect();
    let bytes = encoded(&rows, &[Column::new("n", Kind::Int), Column::new("is_third", Kind::Bool)]).unwrap();
    let count = |bytes: &[u8]| {
        encoder(Format::Parquet, csv_gz::Options::default())
            .count_rows(Box::new(io::Cursor::new(bytes.to_vec())))
    };
    assert_eq!(count(&bytes).unwrap(), 5_000);
    for end in [0, 4, 11, bytes.len() / 2, bytes.len() - 1] {
        assert!(count(&bytes[..end]).is_err(), "cut after {end} of {} bytes", bytes.len());
    }
    let mut changed = bytes.clone();
    // The head of the first page. A value that was changed is found by the checksum in the manifest.
    changed[4] ^= 0xff;
    assert!(count(&changed).is_err(), "a page that does not decode");
}

#[test]
fn full_disk_is_reported_as_one_wherever_it_strikes() {
    let number = |n: i64| Value::Int(n.wrapping_mul(0x1e37_79b9_7f4a_7c15));
    let rows: Vec<AnyRow> = (0..5_000).map(|n| AnyRow(vec![number(n)])).collect();
    let columns = [Column::new("n", Kind::Int)];
    let whole = encoded(&rows, &columns).unwrap().len();
    for room in [0, 3, 4, whole / 2, whole - 9, whole - 1] {
        let error = write(&rows, &columns, &[], &mut Full(room)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "room for {room} of {whole}");
    }
    write(&rows, &columns, &[], &mut Full(whole)).unwrap();
}
