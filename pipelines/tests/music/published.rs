//! The published state machine, read from its own words, and what a sample of it should look like.
// Two test programs share it; each takes a part.
#![allow(dead_code)]

use std::collections::BTreeMap;

const TEXT: &str = include_str!("published_machine.txt");

const SHORT: [(&str, &str); 11] = [
    ("A", "About"),
    ("H", "Help"),
    ("Ho", "Home"),
    ("E", "Error"),
    ("S", "Settings"),
    ("N", "NextSong"),
    ("LO", "Logout"),
    ("U", "Upgrade"),
    ("D", "Downgrade"),
    ("R", "Register"),
    ("LI", "Login"),
];

/// `auth/level/page`, without blanks.
pub(crate) type Name = String;

/// What follows each state, and where sessions of `auth/level` begin, by probability.
pub(crate) struct Published {
    pub(crate) next: BTreeMap<Name, Vec<(Name, f64)>>,
    pub(crate) begin: BTreeMap<String, Vec<(Name, f64)>>,
}

/// A state as messages show it.
pub(crate) fn name(auth: &str, level: &str, page: &str) -> Name {
    format!("{}/{level}/{}", auth.replace(' ', "-"), page.replace(' ', ""))
}

impl Published {
    pub(crate) fn read() -> Published {
        let (mut next, mut begin) = (BTreeMap::new(), BTreeMap::new());
        let mut standing = "";
        for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix("= ") {
                standing = name;
                continue;
            }
            for part in line.split(" | ") {
                let (page, steps) = part.split_once(": ").expect("page: steps");
                if standing == "begin" {
                    let steps = read_steps(page, steps);
                    let sum: f64 = steps.iter().map(|(_, weight)| weight).sum();
                    let shares = steps.into_iter().map(|(to, weight)| (to, weight / sum));
                    begin.insert(page.to_string(), shares.collect());
                } else {
                    next.insert(format!("{standing}/{page}"), read_steps(standing, steps));
                }
            }
        }
        for level in ["free", "paid"] {
            next.insert(format!("Cancelled/{level}/CancellationConfirmation"), Vec::new());
        }
        Published { next, begin }
    }

    /// The distribution over states one event later: a session that ends is followed by another, and who is gone is left
    /// out.
    pub(crate) fn step(&self, now: &BTreeMap<Name, f64>) -> BTreeMap<Name, f64> {
        let mut later: BTreeMap<Name, f64> = BTreeMap::new();
        let mut add = |to: &Name, share: f64| *later.entry(to.clone()).or_default() += share;
        for (state, share) in now {
            let mut rest = 1.0;
            for (to, p) in &self.next[state] {
                rest -= p;
                add(to, share * p);
            }
            let (standing, _) = state.rsplit_once('/').expect("auth/level/page");
            self.begin.get(standing).into_iter().flatten().for_each(|(to, p)| add(to, share * rest * p));
        }
        let sum: f64 = later.values().sum();
        later.values_mut().for_each(|share| *share /= sum);
        later
    }

    /// The distribution that stays as it is from event to event.
    pub(crate) fn stationary(&self) -> BTreeMap<Name, f64> {
        let mut now = BTreeMap::from([("Logged-In/free/Home".to_string(), 1.0)]);
        for _ in 0..60_000 {
            let later = self.step(&now);
            let moved: f64 =
                later.iter().map(|(state, share)| (share - now.get(state).unwrap_or(&0.0)).abs()).sum();
            now = later;
            if moved < 1e-10 {
                break;
            }
        }
        now
    }
}

fn read_steps(standing: &str, text: &str) -> Vec<(Name, f64)> {
    let words: Vec<&str> = text.split(' ').collect();
    let step = |pair: &[&str]| {
        let (page, other) = pair[0].split_once('(').unwrap_or((pair[0], ""));
        let page = SHORT.iter().find(|(short, _)| *short == page).map_or(page, |(_, long)| long);
        let (auth, level) = standing.split_once('/').expect("auth/level");
        let (auth, level) = match other.trim_end_matches(')') {
            "" => (auth, level),
            other @ ("free" | "paid") => (auth, other),
            other => (other, level),
        };
        (format!("{auth}/{level}/{page}"), pair[1].parse().expect("a number"))
    };
    words.chunks(2).map(step).collect()
}

/// The χ² of counts against the expected ones, and its degrees of freedom: what is expected less than 5 times goes together.
pub(crate) fn chi_square(counts: &[(u64, f64)]) -> (f64, f64) {
    let (mut sum, mut cells) = (0.0, 0.0);
    let mut rest = (0, 0.0);
    let mut add = |count: u64, expected: f64| {
        sum += (count as f64 - expected).powi(2) / expected;
        cells += 1.0;
    };
    for (count, expected) in counts {
        match *expected < 5.0 {
            true => rest = (rest.0 + count, rest.1 + expected),
            false => add(*count, *expected),
        }
    }
    if rest.1 > 0.0 {
        add(rest.0, rest.1.max(0.5));
    }
    (sum, cells - 1.0)
}

/// What χ² exceeds once in a thousand times (Wilson and Hilferty).
pub(crate) fn chi_square_max(freedom: f64) -> f64 {
    let ninth = 2.0 / (9.0 * freedom);
    freedom * (1.0 - ninth + 3.09 * ninth.sqrt()).powi(3)
}
