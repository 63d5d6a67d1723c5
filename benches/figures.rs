//! Figures that all measurements are told in.

/// Clock ticks of `/proc/self/stat` a second: fixed for all of Linux's user interfaces.
const TICKS: f64 = 100.0;

/// CPU time of this process so far, threads that ended included.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells a process's CPU time");
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>());
    ticks.map(|ticks| ticks.expect("a number of ticks")).sum::<f64>() / TICKS
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub(crate) fn most(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

/// Median, least and greatest, with so many decimals.
pub(crate) fn spread(figures: &[f64], decimals: usize) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    format!("{:.decimals$} ({least:.decimals$} to {:.decimals$})", median(figures), most(figures))
}
