//! The statements, as texts. No I/O.

use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;

/// The longest name that PostgreSQL takes whole, in bytes.
pub(super) const NAME_MAX: usize = 63;

/// The table with the one row that says of which commit the others are.
pub(super) const STATE: &str = "_headway";

/// From this version on, a unique index can take two empty values for the same.
pub(super) const NULLS_NOT_DISTINCT: i32 = 150_000;

/// A name in quotes, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\0', ""))
}

/// The schema of a job.
pub(super) fn schema(job: &str) -> String {
    format!("headway_{job}")
}

/// The type of a column.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Int => "bigint",
        Kind::Wide => "numeric(38,0)",
        Kind::Float => "double precision",
        Kind::Bool => "boolean",
        Kind::Time => "timestamp with time zone",
    }
}

/// What a column of `kind` holds.
fn about(kind: Kind, is_key: bool) -> String {
    let what = match kind {
        Kind::Text => "A text",
        Kind::Int => "A whole number",
        Kind::Wide => "An exact sum",
        Kind::Float => "A number",
        Kind::Bool => "True or false",
        Kind::Time => "An instant",
    };
    format!("{what}{}", if is_key { "; part of the key" } else { "" })
}

fn names<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    columns.into_iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

/// The statements of one view in the schema `schema`.
pub(super) struct Statements<'a> {
    spec: &'a ViewSpec,
    schema: String,
}

impl<'a> Statements<'a> {
    pub(super) fn new(spec: &'a ViewSpec, schema: &str) -> Statements<'a> {
        Statements { spec, schema: quoted(schema) }
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        format!("{}.{}", self.schema, quoted(self.spec.name))
    }

    /// The table of this connection alone in which changed rows, or keys of rows that go, wait.
    fn stage(&self) -> String {
        format!("pg_temp.{}", quoted(&format!("stage {}", self.spec.name)))
    }

    fn key(&self) -> &'a [Column] {
        &self.spec.columns[..self.spec.key]
    }

    /// Makes the table, its key and its comment.
    pub(super) fn create(&self, version: i32) -> String {
        let columns: Vec<String> =
            self.spec.columns.iter().map(|c| format!("{} {}", quoted(&c.name), kind(c.kind))).collect();
        let same = if version >= NULLS_NOT_DISTINCT { " NULLS NOT DISTINCT" } else { "" };
        format!(
            "CREATE TABLE {table} ({columns}); CREATE UNIQUE INDEX ON {table} ({key}){same}; {comment}",
            table = self.table(),
            columns = columns.join(", "),
            key = names(self.key()),
            comment = self.comment(),
        )
    }

    /// What the table is of.
    pub(super) fn spec(&self) -> &'a ViewSpec {
        self.spec
    }

    /// Takes away all rows but those of days before `first_open`, which have names of the same length, and also the rows of `$1`.
    pub(super) fn delete_open(&self, day: &Column, first_open: &str) -> String {
        format!(
            "DELETE FROM {table} WHERE NOT coalesce(length({day}) = {length} AND {day} ~ '^[0-9]' \
             AND {day} COLLATE \"C\" < {first_open}, false) OR {day} = ANY($1)",
            table = self.table(),
            day = quoted(&day.name),
            length = first_open.len(),
            first_open = text(first_open),
        )
    }

    /// Says what the table is, and what each of its columns holds.
    pub(super) fn comment(&self) -> String {
        let table = self.table();
        let column = |(at, column): (usize, &Column)| {
            let about = about(column.kind, at < self.spec.key);
            format!(" COMMENT ON COLUMN {table}.{} IS {};", quoted(&column.name), text(&about))
        };
        let columns: String = self.spec.columns.iter().enumerate().map(column).collect();
        format!("COMMENT ON TABLE {table} IS {};{columns}", text(self.spec.about))
    }

    /// Makes the stage, empty at the begin of each transaction.
    pub(super) fn make_stage(&self) -> String {
        format!(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS",
            quoted(&format!("stage {}", self.spec.name)),
            self.table()
        )
    }

    /// Takes away a stage of an earlier form of the table.
    pub(super) fn drop_stage(&self) -> String {
        format!("DROP TABLE IF EXISTS {}", self.stage())
    }

    /// Takes new rows into the table.
    pub(super) fn copy_in(&self) -> String {
        format!("COPY {} ({}) FROM STDIN BINARY", self.table(), names(&self.spec.columns))
    }

    /// Takes the new form of changed rows into the stage.
    pub(super) fn copy_changed(&self) -> String {
        format!("COPY {} ({}) FROM STDIN BINARY", self.stage(), names(&self.spec.columns))
    }

    /// Takes the keys of rows that go into the stage.
    pub(super) fn copy_gone(&self) -> String {
        format!("COPY {} ({}) FROM STDIN BINARY", self.stage(), names(self.key()))
    }

    /// Two keys are the same; where a value may be empty, by a comparison that no index helps with.
    fn same_key(&self, has_empty: bool) -> String {
        let op = if has_empty { "IS NOT DISTINCT FROM" } else { "=" };
        let part = |column: &Column| format!("t.{0} {op} s.{0}", quoted(&column.name));
        self.key().iter().map(part).collect::<Vec<_>>().join(" AND ")
    }

    /// Gives changed rows their new form.
    pub(super) fn change(&self, has_empty: bool) -> String {
        let rest = self.spec.columns[self.spec.key..].iter();
        let set: Vec<String> = rest.map(|column| format!("{0} = s.{0}", quoted(&column.name))).collect();
        let (table, stage) = (self.table(), self.stage());
        format!("UPDATE {table} t SET {} FROM {stage} s WHERE {}", set.join(", "), self.same_key(has_empty))
    }

    /// Takes away the rows whose keys are in the stage.
    pub(super) fn take_away(&self, has_empty: bool) -> String {
        format!("DELETE FROM {} t USING {} s WHERE {}", self.table(), self.stage(), self.same_key(has_empty))
    }

    /// Empties the stage within a transaction.
    pub(super) fn clear_stage(&self) -> String {
        format!("DELETE FROM {}", self.stage())
    }
}

/// Makes the schema and the table with the one row.
pub(super) fn create_schema(schema: &str, job: &str) -> String {
    let (name, state) = (quoted(schema), quoted(STATE));
    let about = text(&format!("Live tables of Headway's job \"{job}\". Written by it alone."));
    format!(
        "CREATE SCHEMA IF NOT EXISTS {name}; COMMENT ON SCHEMA {name} IS {about}; \
         CREATE TABLE IF NOT EXISTS {name}.{state} (one boolean PRIMARY KEY DEFAULT true CHECK (one), \
         lake text NOT NULL, job text NOT NULL, views text NOT NULL, seq bigint, nonce text, \
         applied_at timestamp with time zone NOT NULL DEFAULT now()); \
         COMMENT ON TABLE {name}.{state} IS 'The commit whose changes are the last in the tables beside this one.';"
    )
}

/// Reads the one row; `lock` keeps others from changing it until the transaction ends.
pub(super) fn read_state(schema: &str, lock: bool) -> String {
    let lock = if lock { " FOR UPDATE" } else { "" };
    format!("SELECT lake, views, seq, nonce FROM {}.{}{lock}", quoted(schema), quoted(STATE))
}

/// Writes the one row.
pub(super) fn write_state(schema: &str) -> String {
    format!(
        "INSERT INTO {}.{} (lake, job, views, seq, nonce) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (one) DO UPDATE SET \
         lake = EXCLUDED.lake, job = EXCLUDED.job, views = EXCLUDED.views, seq = EXCLUDED.seq, nonce = EXCLUDED.nonce, \
         applied_at = now()",
        quoted(schema),
        quoted(STATE)
    )
}

/// Lets `role` read everything in the schema, and nothing more.
pub(super) fn grant(schema: &str, role: &str) -> String {
    let (schema, role) = (quoted(schema), quoted(role));
    format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_stays_a_name_whatever_is_in_it() {
        assert_eq!(quoted("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(text("it's"), "'it''s'");
    }

    #[test]
    fn table_and_each_column_say_what_they_are() {
        let columns = vec![Column::new("it's", Kind::Text), Column::new("n", Kind::Wide)];
        let spec = ViewSpec { name: "v", about: "one's", columns, key: 1, version: 1, day: None };
        assert_eq!(
            Statements::new(&spec, "gate").comment(),
            "COMMENT ON TABLE \"gate\".\"v\" IS 'one''s'; \
             COMMENT ON COLUMN \"gate\".\"v\".\"it's\" IS 'A text; part of the key'; \
             COMMENT ON COLUMN \"gate\".\"v\".\"n\" IS 'An exact sum';"
        );
    }

    #[test]
    fn keys_with_empty_values_are_compared_so_that_they_are_found() {
        let columns = vec![Column::new("Station", Kind::Text), Column::new("n", Kind::Wide)];
        let spec = ViewSpec { name: "v", about: "", columns, key: 1, version: 1, day: None };
        let statements = Statements::new(&spec, "headway_gate");
        assert_eq!(
            statements.change(false),
            "UPDATE \"headway_gate\".\"v\" t SET \"n\" = s.\"n\" FROM pg_temp.\"stage v\" s WHERE t.\"Station\" = s.\"Station\""
        );
        assert!(statements.take_away(true).ends_with("t.\"Station\" IS NOT DISTINCT FROM s.\"Station\""));
    }
}
