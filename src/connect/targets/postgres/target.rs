//! The target: a transaction for each commit.
//!
//! 1. The row of `_headway` is locked first. It says of which lake, commit and versions the tables are. Whoever else
//!    delivers waits behind it, and then finds that it is not where it thought.
//! 2. Rows that go, that changed and that are new are sent by binary `COPY`. The server counts what it found: where that is
//!    not what the changes say, somebody else has written into a table, and it is rebuilt.
//! 3. The row is written and the transaction committed. A reader has all views of one commit, or of the one before.
//!
//! A rebuild locks the row, too, and then asks whether its run is still the last one of the job. If it is, whatever another run
//! delivers comes after the rebuild. If it is not, another run may have delivered more already: nothing is changed.

use super::certificate;
use super::connect::{Options, Refused, Way};
use super::sql::{self, Statements};
use super::tables::{self, Trouble};
use crate::connect::targets::target::{
    Applied, Archive, Error, Origin, Place, Standing, Step, Target, Whole,
};
use ::postgres::error::SqlState;
use ::postgres::{Client, Transaction};
use headway_operators::row::Column;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::ViewRow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A PostgreSQL database.
pub struct Postgres {
    way: Way,
    reader: Option<String>,
    schema: String,
    views: Vec<ViewSpec>,
    client: Option<Client>,
    /// The server's version.
    version: i32,
}

/// What the one row says.
struct State {
    lake: String,
    views: String,
    place: Option<Place>,
}

/// How a rebuild ended.
enum Rebuilt {
    Yes,
    /// The tables are of this lake.
    OtherLake(String),
    /// The run has been taken over.
    NotLast,
}

impl Postgres {
    /// The database that `options` name, for the tables of `job`. Nothing is reached yet.
    ///
    /// # Errors
    /// If the options do not fit, or the job has a name that is too long for a schema.
    pub fn new(options: &Options, job: &str) -> Result<Postgres, Refused> {
        let schema = sql::schema(job);
        if schema.len() > sql::NAME_MAX {
            let what = format!("the schema \"{schema}\" would have a name that is too long");
            return Err(Refused { what, hint: "Give the job a name of at most 55 letters with --job." });
        }
        let way = Way::of(options)?;
        let reader = options.reader.clone();
        Ok(Postgres { way, reader, schema, views: Vec::new(), client: None, version: 0 })
    }

    /// Connects, where it is not, and makes what is not there.
    fn connect(&mut self, origin: &Origin) -> Result<(), Trouble> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        let mut client = self.way.connect()?;
        let shown = client.query_one("SELECT current_setting('server_version_num')::int", &[])?;
        self.version = shown.get(0);
        let mut at = client.transaction()?;
        // Two runs that start at once would both find nothing.
        at.execute("SELECT pg_advisory_xact_lock(hashtext($1))", &[&self.schema])?;
        at.batch_execute(&sql::create_schema(&self.schema, &origin.job))?;
        at.commit()?;
        self.client = Some(client);
        Ok(())
    }

    /// What came of talking to the server. After a failure the connection is given up.
    fn settled<T>(&mut self, result: Result<T, Trouble>) -> Result<T, Error> {
        result.map_err(|trouble| {
            self.client = None;
            let refused = certificate::refused(&trouble, self.way.ca.as_deref());
            let what = refused.unwrap_or_else(|| said(&trouble));
            Error::Away { what: format!("{}: {what}", self.way.place) }
        })
    }

    fn other_lake(&self, origin: &Origin, found: String) -> Error {
        let place = format!("{}, schema {}", self.way.place, self.schema);
        Error::OtherLake { place, found, own: origin.lake.clone() }
    }

    fn try_stand(&mut self, origin: &Origin) -> Result<Option<State>, Trouble> {
        self.connect(origin)?;
        let client = self.client.as_mut().expect("it has just been connected");
        let mut at = client.transaction()?;
        let state = state(&mut at, &self.schema, false)?;
        if let Some(reader) = &self.reader {
            at.batch_execute(&sql::grant(&self.schema, reader))?;
        }
        at.commit()?;
        Ok(state)
    }

    fn try_apply(&mut self, origin: &Origin, step: Step<'_>, beat: &dyn Fn()) -> Result<Applied, Trouble> {
        self.connect(origin)?;
        let client = self.client.as_mut().expect("it has just been connected");
        let mut at = client.transaction()?;
        // 1. Where does it stand?
        let stands = state(&mut at, &self.schema, true)?;
        let is_here = stands.is_some_and(|state| {
            state.lake == origin.lake && state.views == origin.views && state.place.as_ref() == step.after
        });
        if !is_here {
            return Ok(Applied::NotHere);
        }
        // 2. All views.
        for updates in step.updates.chunk_by(|a, b| a.view == b.view) {
            let spec = &self.views[usize::from(updates[0].view)];
            match tables::apply(&mut at, spec, &self.schema, updates, beat) {
                Ok(Applied::Yes) => {}
                Ok(other) => return Ok(other),
                Err(Trouble::Server(error)) if differs(&error) => return Ok(Applied::Differs),
                Err(trouble) => return Err(trouble),
            }
        }
        // 3. With them the commit that they are of.
        write_state(&mut at, &self.schema, origin, Some(step.place))?;
        at.commit()?;
        Ok(Applied::Yes)
    }

    fn try_rebuild(
        &mut self,
        origin: &Origin,
        whole: Whole<'_>,
        beat: &dyn Fn(),
    ) -> Result<Rebuilt, Trouble> {
        self.connect(origin)?;
        let client = self.client.as_mut().expect("it has just been connected");
        let mut at = client.transaction()?;
        at.execute("SELECT pg_advisory_xact_lock(hashtext($1))", &[&self.schema])?;
        let before = state(&mut at, &self.schema, true)?;
        if let Some(other) = before.as_ref().filter(|state| state.lake != origin.lake) {
            return Ok(Rebuilt::OtherLake(other.lake.clone()));
        }
        if !(whole.is_last)().map_err(Trouble::Unsure)? {
            return Ok(Rebuilt::NotLast);
        }
        let known = before.map(|state| state.views).unwrap_or_default();
        let stays = known == origin.views;
        for gone in names(&known).into_iter().filter(|name| self.views.iter().all(|spec| spec.name != *name))
        {
            let (schema, table) = (sql::quoted(&self.schema), sql::quoted(&gone));
            at.batch_execute(&format!("DROP TABLE IF EXISTS {schema}.{table}"))?;
        }
        for (spec, rows) in self.views.iter().zip(whole.tables) {
            let statements = Statements::new(spec, &self.schema);
            let sealed = Sealed::of(spec, rows, whole.sealed)?;
            if is_as_wanted(&mut at, &self.schema, spec)? {
                // Not TRUNCATE: readers see the old rows until all is there.
                match sealed.as_ref().filter(|_| stays) {
                    Some(sealed) => sealed.clear(&mut at, &statements)?,
                    None => at.batch_execute(&format!("DELETE FROM {}", statements.table()))?,
                }
                at.batch_execute(&statements.comment())?;
            } else {
                let drop = format!("DROP TABLE IF EXISTS {};", statements.table());
                at.batch_execute(&format!(
                    "{}; {drop} {}",
                    statements.drop_stage(),
                    statements.create(self.version)
                ))?;
            }
            if let Some(sealed) = &sealed {
                sealed.load(&mut at, &statements, beat)?;
            }
            let rows = rows.iter().map(|row| &**row);
            tables::send(&mut at, &statements.copy_in(), rows, spec.columns.len(), beat)?;
            at.batch_execute(&format!("ANALYZE {}", statements.table()))?;
            beat();
        }
        if let Some(reader) = &self.reader {
            at.batch_execute(&sql::grant(&self.schema, reader))?;
        }
        write_state(&mut at, &self.schema, origin, whole.place)?;
        at.commit()?;
        Ok(Rebuilt::Yes)
    }
}

impl Target for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn stand(&mut self, origin: &Origin, views: &[ViewSpec]) -> Result<Standing, Error> {
        self.views = views.to_vec();
        let result = self.try_stand(origin);
        match self.settled(result)? {
            None => Ok(Standing::Unfit("it has no tables of this job yet")),
            Some(state) if state.lake != origin.lake => Err(self.other_lake(origin, state.lake)),
            Some(state) if state.views != origin.views => {
                Ok(Standing::Unfit("its views are of other versions"))
            }
            Some(state) => Ok(Standing::At(state.place)),
        }
    }

    fn apply(&mut self, origin: &Origin, step: Step<'_>, beat: &dyn Fn()) -> Result<Applied, Error> {
        let result = self.try_apply(origin, step, beat);
        self.settled(result)
    }

    fn rebuild(&mut self, origin: &Origin, whole: Whole<'_>, beat: &dyn Fn()) -> Result<bool, Error> {
        let result = self.try_rebuild(origin, whole, beat);
        match self.settled(result)? {
            Rebuilt::Yes => Ok(true),
            Rebuilt::NotLast => Ok(false),
            Rebuilt::OtherLake(found) => Err(self.other_lake(origin, found)),
        }
    }
}

/// The sealed days of a table that lies by day, in a rebuild: they come from the archive. The table may have got a part of such a day
/// before it was sealed, so it keeps only days that the archive lacks.
struct Sealed<'a> {
    archive: &'a dyn Archive,
    /// The column of the day.
    column: &'a Column,
    /// The days that the archive has.
    archived: Vec<String>,
    /// Those that the rows in memory have: they are about to leave it.
    in_memory: BTreeSet<&'a str>,
}

impl<'a> Sealed<'a> {
    /// Those of the table of `spec` with `rows` in memory; `None` if it does not lie by day, or nothing is sealed.
    fn of(
        spec: &'a ViewSpec,
        rows: &'a [Arc<ViewRow>],
        archive: Option<&'a dyn Archive>,
    ) -> Result<Option<Sealed<'a>>, Trouble> {
        let (Some(archive), Some(day)) = (archive, spec.day) else { return Ok(None) };
        let archived = archive.days(spec).map_err(Trouble::Archive)?;
        let days = rows.iter().filter_map(|row| row.text(day)).map(|day| day.as_str());
        let in_memory = days.filter(|day| archive.has(day)).collect();
        Ok(Some(Sealed { archive, column: &spec.columns[day], archived, in_memory }))
    }

    /// Takes away the rows that do not stay.
    fn clear(&self, at: &mut Transaction<'_>, statements: &Statements<'_>) -> Result<(), Trouble> {
        let archived = self.archived.iter().map(String::as_str);
        let days: Vec<&str> =
            archived.chain(self.in_memory.iter().copied()).chain(self.archive.unsealed()).collect();
        at.execute(&statements.delete_open(self.column, self.archive.first_open()), &[&days])?;
        Ok(())
    }

    /// Brings the days that are not in memory.
    fn load(
        &self,
        at: &mut Transaction<'_>,
        statements: &Statements<'_>,
        beat: &dyn Fn(),
    ) -> Result<(), Trouble> {
        let spec = statements.spec();
        for day in self.archived.iter().filter(|day| !self.in_memory.contains(day.as_str())) {
            let rows = self.archive.rows(spec, day).map_err(Trouble::Archive)?;
            tables::send(at, &statements.copy_in(), rows.iter(), spec.columns.len(), beat)?;
            beat();
        }
        Ok(())
    }
}

fn state(at: &mut Transaction<'_>, schema: &str, lock: bool) -> Result<Option<State>, Trouble> {
    let Some(row) = at.query_opt(&sql::read_state(schema, lock), &[])? else { return Ok(None) };
    let (seq, nonce): (Option<i64>, Option<String>) = (row.get("seq"), row.get("nonce"));
    let place = seq.zip(nonce).map(|(seq, nonce)| Place { seq: seq.unsigned_abs(), nonce });
    Ok(Some(State { lake: row.get("lake"), views: row.get("views"), place }))
}

fn write_state(
    at: &mut Transaction<'_>,
    schema: &str,
    origin: &Origin,
    place: Option<&Place>,
) -> Result<(), Trouble> {
    let seq = place.map(|place| i64::try_from(place.seq).unwrap_or(i64::MAX));
    let nonce = place.map(|place| &place.nonce);
    at.execute(&sql::write_state(schema), &[&origin.lake, &origin.job, &origin.views, &seq, &nonce])?;
    Ok(())
}

/// True if the table of `spec` is there with the columns that it should have.
fn is_as_wanted(at: &mut Transaction<'_>, schema: &str, spec: &ViewSpec) -> Result<bool, Trouble> {
    let found = at.query(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        &[&schema, &spec.name],
    )?;
    let found = found.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
    let wanted =
        spec.columns.iter().map(|column| (column.name.to_string(), sql::kind(column.kind).to_string()));
    Ok(found.eq(wanted))
}

/// The names in the list of views of the one row.
fn names(views: &str) -> Vec<String> {
    let views: Vec<(String, u32)> = serde_json::from_str(views).unwrap_or_default();
    views.into_iter().map(|(name, _)| name).collect()
}

/// True if the server says that a table is not as it was left.
fn differs(error: &::postgres::Error) -> bool {
    let codes = [SqlState::UNIQUE_VIOLATION, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN];
    error.code().is_some_and(|code| codes.contains(code))
}

/// What the server says, in one line.
fn said(trouble: &Trouble) -> String {
    let mut all = trouble.to_string();
    let mut next = std::error::Error::source(trouble);
    while let Some(cause) = next {
        let part = cause.to_string();
        if !all.contains(&part) {
            all = format!("{all}: {part}");
        }
        next = cause.source();
    }
    all
}
