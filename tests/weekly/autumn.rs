//! A made-up week for tests of weekly files.

/// Numbers from a seed.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A made-up week around the night in which New York turns its clocks back: four turnstiles that report every 15 minutes or
/// every four hours, registers that run, stand, are reset and count backward, and readings that were recovered.
pub(crate) fn autumn(draws: &mut Draws) -> Vec<String> {
    let mut lines = Vec::new();
    for turnstile in 0..4_u64 {
        let (mut entries, mut exits) = (50_000 + draws.below(9000), 30_000 + draws.below(9000));
        let step = if turnstile < 2 { 15 } else { 240 };
        // Minutes since 2 November 2024 12:00 in New York, daylight saving time: the clock is turned back after 14 hours.
        for minutes in (0..32 * 60).step_by(step) {
            let back = if minutes >= 14 * 60 { 60 } else { 0 };
            let wall = 12 * 60 + minutes - back;
            let (day, hour, minute) = (2 + wall / 1440, wall / 60 % 24, wall % 60);
            let stand = draws.below(8) == 0;
            let change = if stand { 0 } else { draws.below(90) };
            // Registers of the hour that comes twice tell in which order its parts were cut.
            let is_twice = hour == 1 && day == 3;
            entries = match draws.below(40) {
                0 if !is_twice => draws.below(50),
                1 if !is_twice => entries + 20_000,
                _ if turnstile == 3 => entries.saturating_sub(change),
                _ => entries + change,
            };
            exits += draws.below(60);
            let desc = if draws.below(9) == 0 { "RECOVR AUD" } else { "REGULAR" };
            let station = if turnstile % 2 == 0 { "59 ST,NQR456W,BMT" } else { "59 ST,456NQRW,IRT" };
            let line = |desc: &str, entries: u64| {
                format!(
                    "A00{turnstile},R05{},02-00-0{turnstile},{station},11/0{day}/2024,{hour:02}:{minute:02}:00,{desc},{entries:010},{exits:010}",
                    turnstile / 2
                )
            };
            lines.push(line(desc, entries));
            if draws.below(15) == 0 && !is_twice {
                // A second device on the address.
                let other = if desc == "REGULAR" { "RECOVR AUD" } else { "REGULAR" };
                lines.push(line(other, entries + draws.below(40)));
            }
        }
    }
    lines
}
