//! The changes of one view within a transaction: which rows are new, which changed, which went.

use super::binary::Rows;
use super::sql::Statements;
use crate::connect::targets::target::Applied;
use ::postgres::Transaction;
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{Value, ViewRow, ViewUpdate};
use std::io::{self, BufWriter};

/// After how many rows a beat says that it gets on.
const BEAT_EVERY: usize = 4_096;

/// The updates of a view by what becomes of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted<'a> {
    pub(super) new: Vec<&'a ViewRow>,
    pub(super) changed: Vec<&'a ViewRow>,
    pub(super) gone: Vec<&'a ViewRow>,
}

impl<'a> Sorted<'a> {
    /// Sorts `updates`, which are in the order of rows; `None` if a key has several rows.
    pub(super) fn of(updates: &'a [ViewUpdate], key: usize) -> Option<Sorted<'a>> {
        let mut sorted = Sorted::default();
        for same in updates.chunk_by(|a, b| a.row.0[..key] == b.row.0[..key]) {
            match same {
                [ViewUpdate { row, diff: 1, .. }] => sorted.new.push(row),
                [ViewUpdate { row, diff: -1, .. }] => sorted.gone.push(row),
                [ViewUpdate { row, diff: 1, .. }, ViewUpdate { diff: -1, .. }]
                | [ViewUpdate { diff: -1, .. }, ViewUpdate { row, diff: 1, .. }] => sorted.changed.push(row),
                _ => return None,
            }
        }
        Some(sorted)
    }
}

/// True if one of the `rows` has an empty value in its key.
fn has_empty(rows: &[&ViewRow], key: usize) -> bool {
    rows.iter().any(|row| row.0[..key].contains(&Value::Null))
}

/// What goes wrong while rows are sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Server(#[from] ::postgres::Error),
    #[error(transparent)]
    Sending(#[from] io::Error),
    #[error("sealed days are missing: {0}")]
    Archive(String),
    #[error("whether the job was taken over is not known: {0}")]
    Unsure(String),
}

/// Sends the first `columns` values of each row where the statement `copy` takes them.
pub(super) fn send<'r>(
    at: &mut Transaction<'_>,
    copy: &str,
    rows: impl IntoIterator<Item = &'r ViewRow>,
    columns: usize,
    beat: &dyn Fn(),
) -> Result<(), Trouble> {
    let mut out = Rows::begin(BufWriter::with_capacity(1 << 16, at.copy_in(copy)?))?;
    for (count, row) in rows.into_iter().enumerate() {
        out.row(&row.0[..columns])?;
        if count % BEAT_EVERY == 0 {
            beat();
        }
    }
    let writer = out.end()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    writer.finish()?;
    beat();
    Ok(())
}

/// Applies the updates of one view. Anything but [`Applied::Yes`] means that the transaction must not be committed.
pub(super) fn apply(
    at: &mut Transaction<'_>,
    spec: &ViewSpec,
    schema: &str,
    updates: &[ViewUpdate],
    beat: &dyn Fn(),
) -> Result<Applied, Trouble> {
    let (statements, key) = (Statements::new(spec, schema), spec.key);
    let Some(Sorted { new, changed, gone }) = Sorted::of(updates, key) else { return Ok(Applied::Differs) };
    if !gone.is_empty() || !changed.is_empty() {
        at.batch_execute(&statements.make_stage())?;
    }
    if !gone.is_empty() {
        send(at, &statements.copy_gone(), gone.iter().copied(), key, beat)?;
        if at.execute(&statements.take_away(has_empty(&gone, key)), &[])? != gone.len() as u64 {
            return Ok(Applied::Differs);
        }
        at.batch_execute(&statements.clear_stage())?;
    }
    if !changed.is_empty() {
        send(at, &statements.copy_changed(), changed.iter().copied(), spec.columns.len(), beat)?;
        if at.execute(&statements.change(has_empty(&changed, key)), &[])? != changed.len() as u64 {
            return Ok(Applied::Differs);
        }
    }
    if !new.is_empty() {
        send(at, &statements.copy_in(), new.iter().copied(), spec.columns.len(), beat)?;
    }
    Ok(Applied::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(key: i64, value: i64, diff: i64) -> ViewUpdate {
        ViewUpdate { view: 0, row: ViewRow(vec![Value::Int(key), Value::Int(value)]), diff }
    }

    #[test]
    fn updates_are_sorted_by_what_becomes_of_their_keys() {
        let updates = [
            update(1, 5, 1),
            update(2, 5, -1),
            update(3, 5, -1),
            update(3, 6, 1),
            update(4, 5, 1),
            update(4, 6, -1),
        ];
        let sorted = Sorted::of(&updates, 1).expect("each key has one row");
        let rows = |rows: Vec<&ViewRow>| rows.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(rows(sorted.new), [update(1, 5, 1).row]);
        assert_eq!(rows(sorted.gone), [update(2, 5, -1).row]);
        assert_eq!(rows(sorted.changed), [update(3, 6, 1).row, update(4, 5, 1).row]);
        assert_eq!(Sorted::of(&[update(1, 5, 1), update(1, 6, 1)], 1), None);
        assert_eq!(Sorted::of(&[update(1, 5, 2)], 1), None);
    }
}
