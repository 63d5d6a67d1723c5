//! Text to CSV records.

/// Where in a record the next character is.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before its first character.
    Record,
    /// Before the first character of a field.
    Field,
    /// In a field without quotes, or behind the closing quote of one.
    Plain,
    /// Between the quotes of a field.
    Quoted,
    /// Behind a quote that closes the field, or is the first of two that stand for one.
    Quote,
}

/// The records of `text`, each a list of fields. Lines end with LF, CR LF or CR; empty ones are no records.
///
/// A field that begins with a quote ends at a quote that is not doubled; other quotes are characters like any others.
pub(super) fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut at) = (Vec::new(), Vec::new(), String::new(), At::Record);
    for c in text.chars() {
        let is_end = c == '\r' || c == '\n';
        at = match (at, c) {
            (At::Record, _) if is_end => At::Record,
            (At::Record | At::Field, '"') => At::Quoted,
            (At::Quoted, '"') => At::Quote,
            (At::Quote, '"') => {
                field.push('"');
                At::Quoted
            }
            (At::Quoted, _) => {
                field.push(c);
                At::Quoted
            }
            (_, ',') => {
                record.push(std::mem::take(&mut field));
                At::Field
            }
            _ if is_end => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
                At::Record
            }
            _ => {
                field.push(c);
                At::Plain
            }
        };
    }
    if at != At::Record {
        record.push(field);
        records.push(record);
    }
    records
}

#[test]
fn text_is_split_into_records() {
    let cases: [(&str, &[&[&str]]); 9] = [
        ("a,b\nc", &[&["a", "b"], &["c"]]),
        ("\r\na\r\n\n\rb\r", &[&["a"], &["b"]]),
        (",", &[&["", ""]]),
        ("\"\"", &[&[""]]),
        ("\"a,\"\"\r\nb\"c,d\"e\"", &[&["a,\"\r\nbc", "d\"e\""]]),
        ("a\"b,c\"", &[&["a\"b", "c\""]]),
        ("\"a\" ,\"b", &[&["a ", "b"]]),
        ("a,\"", &[&["a", ""]]),
        ("", &[]),
    ];
    for (text, want) in cases {
        assert_eq!(records(text), want, "{text:?}");
    }
}
