//! What a job expects of the records of an input: rules that look at one decoded record, by its columns.
//!
//! A source judges each record right after it is decoded, and counts each record that breaks a rule. If the rule refuses such
//! records, the record becomes a dead letter with the reason `rule:NAME`.

use crate::ack::Ack;
use crate::error::Reason;
use crate::record::Refused;
use crate::row::Cell;
use crate::view::row::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A rule for each record of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRule {
    /// Its name; unique in the job.
    pub name: String,
    /// What the rule checks.
    pub check: RecordCheck,
    /// Why a record that breaks it becomes a dead letter; `None` if it stays a record.
    pub refuses: Option<Reason>,
}

/// A check of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordCheck {
    /// It has a value in each of these columns.
    NotNull(BTreeSet<usize>),
    /// It has one of these values in this column, or none.
    AcceptedValues {
        /// The column.
        column: usize,
        /// The values.
        values: BTreeSet<Value>,
    },
}

impl RecordCheck {
    /// True if a record that has `cell` in column `at` breaks it.
    fn is_broken_by(&self, at: usize, cell: Cell<'_>) -> bool {
        match self {
            RecordCheck::NotNull(columns) => cell == Cell::Null && columns.contains(&at),
            RecordCheck::AcceptedValues { column, values } => {
                *column == at && cell != Cell::Null && values.iter().all(|value| value.cell() != cell)
            }
        }
    }
}

/// The rules of an input on one worker, and what broke them in the epoch.
pub(crate) struct Judged {
    rules: Arc<[RecordRule]>,
    /// For each rule, whether the record that is being judged breaks it.
    broken: Vec<bool>,
    found: Vec<Found>,
}

#[derive(Clone, Default)]
struct Found {
    records: u64,
    sample: Option<Refused>,
}

impl Judged {
    /// Rules that nothing has broken.
    pub(crate) fn new(rules: Arc<[RecordRule]>) -> Judged {
        let (broken, found) = (vec![false; rules.len()], vec![Found::default(); rules.len()]);
        Judged { rules, broken, found }
    }

    /// True if nothing is expected.
    pub(crate) fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// Judges the record whose cells `cells` gives, and returns why it becomes a dead letter. `sample` is its message.
    pub(crate) fn judge(
        &mut self,
        cells: impl FnOnce(&mut dyn FnMut(Cell<'_>)),
        sample: impl Fn() -> Refused,
    ) -> Option<Reason> {
        self.broken.fill(false);
        let (rules, broken, mut at) = (&self.rules, &mut self.broken, 0);
        cells(&mut |cell| {
            for (rule, broken) in rules.iter().zip(&mut *broken) {
                *broken |= rule.check.is_broken_by(at, cell);
            }
            at += 1;
        });
        let mut refused = None;
        let all = self.rules.iter().zip(&self.broken).zip(&mut self.found);
        for ((rule, _), found) in all.filter(|((_, broken), _)| **broken) {
            found.records += 1;
            found.sample.get_or_insert_with(&sample);
            refused = refused.or_else(|| rule.refuses.clone());
        }
        refused
    }

    /// What broke the rules since this was last asked.
    pub(crate) fn acks(&mut self) -> Vec<Ack> {
        let all = self.rules.iter().zip(&mut self.found).filter(|(_, found)| found.records > 0);
        let ack = |(rule, found): (&RecordRule, &mut Found)| {
            let Found { records, sample } = std::mem::take(found);
            Ack::Broken { rule: rule.name.clone(), records, sample }
        };
        all.map(ack).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Offset, Partition, Payload, Raw};
    use crate::view::text::Text;

    #[test]
    fn record_is_counted_by_each_rule_it_breaks_and_refused_by_the_first_that_refuses() {
        let accepted = |texts: &[&str]| {
            let values = texts.iter().map(|text| Value::Text(Text::from(*text))).collect();
            RecordCheck::AcceptedValues { column: 1, values }
        };
        let rule = |name: &str, check, refuses: bool| {
            let refuses = refuses.then(|| Reason::of_rule(name).expect("it is a name"));
            RecordRule { name: name.to_string(), check, refuses }
        };
        let rules = [
            rule("known", RecordCheck::NotNull(BTreeSet::from([0])), false),
            rule("division", accepted(&["IND", "BMT"]), true),
            rule("only-ind", accepted(&["IND"]), true),
        ];
        let mut judged = Judged::new(Arc::from(rules));
        let mut judge = |cells: [Cell<'_>; 2]| {
            let raw = Raw::of(Partition(0), Offset(7), Payload::Bytes(b"x"));
            judged.judge(|put| cells.into_iter().for_each(put), || Refused::of("t", &raw))
        };
        let name = |reason: Option<Reason>| reason.map(|reason| reason.name().to_string());
        assert_eq!(judge([Cell::Int(1), Cell::Text("IND")]), None);
        assert_eq!(judge([Cell::Null, Cell::Null]), None, "null is no value that is not accepted");
        assert_eq!(name(judge([Cell::Int(1), Cell::Text("BMT")])), Some("rule:only-ind".into()));
        assert_eq!(name(judge([Cell::Null, Cell::Text("PTH")])), Some("rule:division".into()));
        let counts: Vec<(String, u64, bool)> = judged
            .acks()
            .into_iter()
            .map(|ack| match ack {
                Ack::Broken { rule, records, sample } => (rule, records, sample.is_some()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("known", 2, true), ("division", 1, true), ("only-ind", 2, true)];
        assert_eq!(counts, expected.map(|(rule, records, sample)| (rule.to_string(), records, sample)));
        assert!(judged.acks().is_empty(), "each epoch by itself");
    }
}
