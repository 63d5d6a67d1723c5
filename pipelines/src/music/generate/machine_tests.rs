use super::machine::{Auth, Level, Machine, Standing, State, StateIx};
use super::published::{Published, chi_square, chi_square_max, name};
use crate::draws::Draws;
use std::collections::BTreeMap;

fn name_of(state: &State) -> String {
    name(state.standing.auth.name(), state.standing.level.name(), state.page)
}

#[test]
fn machine_has_the_published_states() {
    let machine = Machine::new();
    let mut states: Vec<String> = machine.states().map(|at| name_of(machine.state(at))).collect();
    states.sort();
    let published: Vec<String> = Published::read().next.into_keys().collect();
    assert_eq!(states, published);
    assert_eq!(states.len(), 40);
}

/// What a user shows after so many events; `None` if the user has gone.
fn after(machine: &Machine, events: u32, draws: &mut Draws) -> Option<StateIx> {
    let level = if draws.chance(0.5) { Level::Paid } else { Level::Free };
    let mut at = machine.start(Standing { auth: Auth::LoggedIn, level }, draws)?;
    for _ in 0..events {
        at = match machine.step(at, draws) {
            Some(next) => next,
            None => machine.start(machine.state(at).standing, draws)?,
        };
    }
    Some(at)
}

#[test]
fn pages_of_users_who_have_been_there_for_long_are_those_of_the_stationary_distribution() {
    const USERS: u64 = 3_000;
    let (machine, published) = (Machine::new(), Published::read());
    let mut pages: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    let page_of = |state: &str| state.rsplit_once('/').map(|(_, page)| page.to_string()).unwrap_or_default();
    let mut left = 0;
    for user in 0..USERS {
        if let Some(at) = after(&machine, 2_500, &mut Draws::new(11, user)) {
            pages.entry(page_of(&name_of(machine.state(at)))).or_default().0 += 1;
            left += 1;
        }
    }
    for (state, share) in published.stationary() {
        pages.entry(page_of(&state)).or_default().1 += share * f64::from(left);
    }
    let counts: Vec<(u64, f64)> = pages.values().copied().collect();
    let (sum, freedom) = chi_square(&counts);
    assert!(freedom >= 5.0, "{pages:?}");
    assert!(sum < chi_square_max(freedom), "χ² is {sum} with {freedom} degrees of freedom: {pages:?}");
}
