//! `dim_date`: the days that occur, with the parts of their dates.

use super::keys::surrogate;
use super::shared::{Changes, number, occurring, text};
use crate::day::weekday_name;
use headway_operators::build::Build;
use headway_operators::row::{Column, Kind};
use headway_operators::spec::ViewSpec;
use headway_operators::view::row::{Value, ViewRow};
use headway_operators::view::text::Text;

/// Builds the view.
pub(super) fn build<'s>(build: &mut Build<'s>, changes: &Changes<'s>) {
    let days = occurring(build, "DimDate", changes, |at| at.interval.day);
    let spec = ViewSpec {
        name: "dim_date",
        about: "the days that occur",
        columns: vec![
            text("day"),
            text("date_id"),
            number("year"),
            number("quarter"),
            number("month"),
            text("month_name"),
            number("day_of_month"),
            number("day_of_week"),
            text("day_of_week_name"),
            Column::new("is_weekend", Kind::Bool),
        ],
        key: 1,
        version: 1,
        day: None,
    };
    let rows = days.map(|day| {
        let ((year, month, of_month), weekday, iso) = (day.civil(), day.weekday(), day.iso());
        let whole = |number: u8| Value::Int(i64::from(number));
        ViewRow(vec![
            (&iso).into(),
            (&surrogate(&[&iso])).into(),
            Value::Int(i64::from(year)),
            whole(month.div_ceil(3)),
            whole(month),
            (&Text::from(day.month_name())).into(),
            whole(of_month),
            whole(weekday),
            (&Text::from(weekday_name(weekday))).into(),
            Value::Bool(weekday == 1 || weekday == 7),
        ])
    });
    build.view(spec, rows);
}
