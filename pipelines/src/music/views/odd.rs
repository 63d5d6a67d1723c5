//! `odd_fields`: how many messages of an hour had fields of a wrong type, fields that their topic does not know, or texts that
//! were repaired. Their rows stayed; this is where the counts are.

use crate::music::event::{Event, Field, Odd};
use crate::music::topic::Topic;
use headway_operators::build::Build;
use headway_operators::flow::Flow;
use headway_operators::kit::{Context, Logic, Record};
use headway_operators::row::{Cell, Column, Kind, Row};
use headway_operators::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The columns of its rows.
pub(super) const COLUMNS: [Column; 5] = [
    Column::new("hour", Kind::Time),
    Column::new("topic", Kind::Text),
    Column::new("what", Kind::Text),
    Column::new("field", Kind::Text),
    Column::new("fields", Kind::Int),
];

/// What can be odd about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum What {
    WrongType,
    Repaired,
    Unknown,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::WrongType => "wrong-type",
            What::Repaired => "repaired",
            What::Unknown => "unknown",
        }
    }
}

/// Counts the odd fields of each hour of a topic.
struct Count;

impl Logic for Count {
    type Key = (Topic, EventTime);
    type In = (Topic, EventTime, Odd);
    /// By what is odd and the name of the field, which is empty for unknown ones: whoever sends them chooses their names.
    type State = BTreeMap<(What, String), i64>;
    type Out = OddFields;

    const VERSION: u32 = 1;

    fn key((topic, hour, _): &Self::In) -> Self::Key {
        (*topic, *hour)
    }

    fn on_record(&self, (_, hour, odd): Self::In, counts: &mut Self::State, cx: &mut Context<'_, Self>) {
        if counts.is_empty() {
            cx.timer(hour.plus_ms(super::streams::HOUR_MS - 1));
        }
        let mut add = |what: What, field: &str, fields: i64| {
            *counts.entry((what, field.to_string())).or_default() += fields;
        };
        odd.wrong().map(Field::name).for_each(|field| add(What::WrongType, field, 1));
        odd.repaired().map(Field::name).for_each(|field| add(What::Repaired, field, 1));
        if odd.unknown > 0 {
            add(What::Unknown, "", i64::from(odd.unknown));
        }
    }

    fn on_timer(&self, counts: &mut Self::State, cx: &mut Context<'_, Self>) {
        let (topic, hour) = *cx.key();
        for ((what, field), fields) in std::mem::take(counts) {
            cx.emit(OddFields { hour, topic, what, field, fields });
        }
    }
}

/// How many odd fields of one kind an hour had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OddFields {
    hour: EventTime,
    topic: Topic,
    what: What,
    field: String,
    fields: i64,
}

impl Row for OddFields {
    fn cells(&self, put: &mut dyn FnMut(Cell<'_>)) {
        put(Cell::Time(self.hour));
        put(Cell::Text(self.topic.name()));
        put(Cell::Text(self.what.name()));
        put(if self.field.is_empty() { Cell::Null } else { Cell::Text(&self.field) });
        put(Cell::Int(self.fields));
    }

    fn time(&self) -> EventTime {
        self.hour
    }
}

/// Counts the odd fields of the messages of `topic`.
pub(super) fn odd_fields<'s>(
    build: &mut Build<'s>,
    topic: Topic,
    events: Flow<'s, Record<Event>>,
) -> Flow<'s, OddFields> {
    let odd = events.filter_map_data(move |event| {
        let odd = event.odd();
        (!odd.is_none()).then(|| (topic, super::streams::hour(event.ts()), odd))
    });
    build.logic(&format!("OddFields-{}", topic.name()), Count, odd).map(|record| record.data)
}
