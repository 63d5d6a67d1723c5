use super::*;
use crate::engine::format::manifest::Nonce;
use crate::engine::format::manifest::tests::first;
use crate::engine::format::names::Seq;
use headway_operators::row::{Column, Kind};
use headway_operators::view::row::Value;
use headway_operators::view::seal::Calendar;

/// One view, of a run that goes on from epoch 3.
fn views() -> Arc<Views> {
    let columns = vec![Column::new("n", Kind::Int)];
    let specs = vec![ViewSpec { name: "numbers", about: "", columns, key: 1, version: 1, day: None }];
    let head = Manifest { epoch: Epoch(3), changes: Some(id(7)), ..first(1) };
    Arc::new(Views::new(specs, &head))
}

fn id(seq: u64) -> ManifestId {
    ManifestId { seq: Seq(seq), nonce: Nonce(u128::from(seq)) }
}

fn update(number: i64, diff: i64) -> ViewUpdate {
    ViewUpdate { view: 0, row: ViewRow(vec![Value::Int(number)]), diff }
}

fn commit(views: &Views, seq: u64, epoch: u64) -> Changes {
    let updates = views.upcoming(Epoch(epoch));
    let changes = Changes { id: id(seq), after: views.at(), epoch: Epoch(epoch), updates };
    views.apply(&changes);
    changes
}

fn numbers(views: &Views) -> Vec<ViewRow> {
    views.rows(0).0.iter().map(|row| (**row).clone()).collect()
}

#[test]
fn change_is_visible_once_its_epoch_is_resolved_and_not_before() {
    let views = views();
    let (mut one, mut other) = (ViewStage::new(Arc::clone(&views)), ViewStage::new(Arc::clone(&views)));
    one.put(Epoch(4), Epoch(4), vec![update(1, 1)]);
    // Another worker takes a row away that the first one gives.
    other.put(Epoch(5), Epoch(5), vec![update(2, -1)]);
    one.put(Epoch(5), Epoch(5), vec![update(2, 1), update(3, 1)]);
    one.put(Epoch(6), Epoch(6), vec![update(3, -1)]);
    assert_eq!(numbers(&views), []);
    assert!(!views.is_current(), "nobody may take it for the content");
    assert_eq!(views.snapshot(), None);
    let changes = commit(&views, 8, 5);
    assert_eq!(changes.updates, [update(1, 1), update(3, 1)], "what cancels is no change");
    assert!(views.is_current());
    assert_eq!(numbers(&views), [update(1, 1).row, update(3, 1).row]);
    assert_eq!(commit(&views, 9, 6).updates, [update(3, -1)]);
    assert_eq!(numbers(&views), [update(1, 1).row]);
    let tables = vec![vec![Arc::new(update(1, 1).row)]];
    assert_eq!(views.snapshot(), Some(Snapshot { at: Some(id(9)), tables, sealed: None }));
    assert_eq!(one.done().map(|(epoch, files)| (epoch, files.len())), Some((Epoch(4), 0)));
}

#[test]
fn what_earlier_runs_delivered_is_content_and_no_change() {
    let views = views();
    ViewStage::new(Arc::clone(&views)).put(Epoch(3), Epoch(3), vec![update(1, 1), update(2, 1)]);
    ViewStage::new(Arc::clone(&views)).put(Epoch(4), Epoch(4), vec![update(2, -1)]);
    assert_eq!(views.upcoming(Epoch(4)), [update(2, -1)]);
    assert_eq!(views.snapshot().map(|found| (found.at, found.tables[0].len())), Some((Some(id(7)), 2)));
}

/// Days of 100 ms.
#[derive(Debug)]
struct Hundreds;

impl Calendar for Hundreds {
    fn day(&self, time: EventTime) -> i64 {
        time.ms().div_euclid(100)
    }

    fn start(&self, day: i64) -> EventTime {
        EventTime(day * 100)
    }

    fn name(&self, day: i64) -> Text {
        Text::from(format!("{day:04}"))
    }
}

/// A view by day, with a total, of a run that goes on from epoch 3.
fn by_day() -> Arc<Views> {
    by_day_after(&Manifest { epoch: Epoch(3), ..first(1) })
}

/// The same of a run that goes on from `head`.
fn by_day_after(head: &Manifest) -> Arc<Views> {
    let columns = vec![Column::new("day", Kind::Text), Column::new("n", Kind::Int)];
    let specs = vec![ViewSpec { name: "days", about: "", columns, key: 1, version: 1, day: Some(0) }];
    let sealing = Sealing::new(0, Arc::new(Hundreds));
    Arc::new(Views::new(specs, head).with_sealing(Some(sealing), head))
}

fn of_day(day: &str, number: i64, diff: i64) -> ViewUpdate {
    ViewUpdate { view: 0, row: ViewRow(vec![Value::Text(Text::from(day)), Value::Int(number)]), diff }
}

#[test]
fn rows_of_sealed_days_leave_and_nobody_hears_of_it() {
    let views = by_day();
    let put = |epoch: u64, updates: Vec<ViewUpdate>| {
        ViewStage::new(Arc::clone(&views)).put(Epoch(epoch), Epoch(epoch), updates);
    };
    let days = |views: &Views| views.rows(0).0.len();
    put(3, vec![of_day("0001", 5, 1), of_day("0002", 6, 1), of_day("overall", 11, 1)]);
    put(4, vec![of_day("0001", 5, -1), of_day("0001", 7, 1)]);
    // Epoch 4 changes a day and seals it.
    let changes = commit(&views, 8, 4);
    views.resolved(&Manifest { epoch: Epoch(4), sealed_up_to: Some(EventTime(200)), ..first(1) });
    assert_eq!((changes.updates.len(), views.is_leaving(), days(&views)), (2, false, 3));
    let open = |views: &Views| (views.open().0[0].len(), views.open().1);
    assert_eq!(open(&views), (2, Some(EventTime(200))), "nobody is given the day any more");
    // In epoch 5 it leaves.
    put(5, vec![of_day("0001", 7, -1), of_day("0002", 6, -1), of_day("0002", 8, 1)]);
    let updates = views.upcoming(Epoch(5));
    assert_eq!(updates, [of_day("0002", 6, -1), of_day("0002", 8, 1)]);
    assert_eq!((views.is_leaving(), views.leaving()), (true, vec![of_day("0001", 7, -1)]));
    assert_eq!(days(&views), 3, "until the epoch is committed");
    views.apply(&Changes { id: id(9), after: views.at(), epoch: Epoch(5), updates });
    views.resolved(&Manifest { epoch: Epoch(5), sealed_up_to: Some(EventTime(200)), ..first(1) });
    assert_eq!((days(&views), open(&views), views.is_leaving()), (2, (2, Some(EventTime(200))), false));
}

#[test]
fn unsealed_day_changes_as_open_days_do_whatever_is_sealed_meanwhile() {
    let unsealed = vec![EventTime(100)];
    let at = |epoch: u64, up_to: i64| Manifest {
        epoch: Epoch(epoch),
        sealed_up_to: Some(EventTime(up_to)),
        unsealed: unsealed.clone(),
        ..first(1)
    };
    let views = by_day_after(&at(3, 300));
    let sealed = |views: &Views| {
        let days = views.sealed().expect("days are sealed");
        ["0000", "0001", "0002", "0003", "overall"].map(|day| days.has(day))
    };
    let put = |epoch: u64, updates: Vec<ViewUpdate>| {
        ViewStage::new(Arc::clone(&views)).put(Epoch(epoch), Epoch(epoch), updates);
    };
    put(3, vec![of_day("0001", 5, 1), of_day("0003", 6, 1)]);
    put(4, vec![of_day("0001", 5, -1), of_day("0001", 7, 1)]);
    assert_eq!(commit(&views, 8, 4).updates, [of_day("0001", 5, -1), of_day("0001", 7, 1)]);
    views.resolved(&at(4, 300));
    assert_eq!((sealed(&views), views.is_leaving()), ([true, false, true, false, false], false));
    assert_eq!(views.open(), (views.tables(), Some(EventTime(300))), "the unsealed day is among them");
    views.resolved(&at(5, 400));
    assert_eq!(sealed(&views), [true, false, true, true, false]);
}

#[test]
fn start_that_seals_a_day_again_gives_nobody_the_day_and_says_where_days_begin() {
    let head = |epoch: u64| Manifest { epoch: Epoch(epoch), sealed_up_to: Some(EventTime(300)), ..first(1) };
    let views = by_day_after(&head(3));
    let put = |epoch: u64, updates: Vec<ViewUpdate>| {
        ViewStage::new(Arc::clone(&views)).put(Epoch(epoch), Epoch(epoch), updates);
    };
    // Day 0001 was open in the run before.
    put(3, vec![of_day("0001", 5, 1), of_day("0003", 6, 1), of_day("overall", 11, 1)]);
    views.upcoming(Epoch(3));
    views.resolved(&head(3));
    let open = || {
        let (tables, from) = views.open();
        let rows = tables[0].iter().map(|row| row.text(0).expect("a day").as_str().to_string());
        (rows.collect::<Vec<_>>(), from)
    };
    let expected = (vec!["0003".to_string(), "overall".to_string()], Some(EventTime(300)));
    assert_eq!((views.rows(0).0.len(), open()), (3, expected.clone()));
    put(4, vec![of_day("0001", 5, -1)]);
    assert_eq!(commit(&views, 8, 4).updates, []);
    views.resolved(&head(4));
    assert_eq!((views.rows(0).0.len(), open()), (2, expected));
}

#[test]
#[should_panic(expected = "a sealed day changed in epoch 5")]
fn change_of_a_sealed_day_stops_the_job() {
    let views = by_day();
    views.upcoming(Epoch(4));
    views.resolved(&Manifest { epoch: Epoch(4), sealed_up_to: Some(EventTime(200)), ..first(1) });
    ViewStage::new(Arc::clone(&views)).put(Epoch(5), Epoch(5), vec![of_day("0001", 7, 1)]);
    views.upcoming(Epoch(5));
}

#[test]
#[should_panic(expected = "keeps no views was given 1 changes of them, in epoch 4")]
fn change_that_comes_where_no_views_are_kept_stops_the_job() {
    let mut stage = NoViews::default();
    stage.put(Epoch(3), Epoch(3), Vec::new());
    assert!(stage.done().is_some());
    stage.put(Epoch(4), Epoch(4), vec![update(1, 1)]);
}

#[test]
#[should_panic(expected = "view numbers takes away what it has not, in epoch 4")]
fn view_that_takes_away_what_it_never_gave_stops_the_job() {
    let views = views();
    ViewStage::new(Arc::clone(&views)).put(Epoch(4), Epoch(4), vec![update(1, -1)]);
    commit(&views, 8, 4);
}
