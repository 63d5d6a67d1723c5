//! Draws an index in proportion to its weight, in constant time: the alias method (Vose, "A linear algorithm for
//! generating random numbers with a given distribution", 1991).

use crate::draws::Draws;

/// A table of indexes and their weights.
#[derive(Clone, Debug)]
pub(super) struct Weighted {
    /// Below this draw of 32 bits the index stands for itself, else for its alias.
    own: Vec<u32>,
    alias: Vec<u32>,
}

impl Weighted {
    /// The table of `weights`. All weights zero: all indexes alike. `None` if there are none, or more than 2^31.
    pub(super) fn new(weights: &[f64]) -> Option<Weighted> {
        let count = u32::try_from(weights.len()).ok().filter(|count| (1..=1 << 31).contains(count))?;
        let sum: f64 = weights.iter().sum();
        let scaled = |weight: &f64| if sum > 0.0 { weight * f64::from(count) / sum } else { 1.0 };
        let mut left: Vec<f64> = weights.iter().map(scaled).collect();
        let mut alias: Vec<u32> = (0..count).collect();
        let mut own = vec![u32::MAX; weights.len()];
        let is_small = |at: &u32| left[*at as usize] < 1.0;
        let (mut small, mut large): (Vec<u32>, Vec<u32>) = (0..count).partition(is_small);
        while let (Some(&few), Some(&many)) = (small.last(), large.last()) {
            small.pop();
            let share = left[few as usize];
            own[few as usize] = (share * f64::from(u32::MAX)) as u32;
            alias[few as usize] = many;
            left[many as usize] -= 1.0 - share;
            if left[many as usize] < 1.0 {
                large.pop();
                small.push(many);
            }
        }
        // What is left has weight 1 but for rounding, and stands for itself.
        Some(Weighted { own, alias })
    }

    /// Draws an index.
    pub(super) fn draw(&self, draws: &mut Draws) -> u32 {
        let draw = draws.next();
        let at = (((draw >> 32) * self.own.len() as u64) >> 32) as u32;
        if (draw as u32) < self.own[at as usize] { at } else { self.alias[at as usize] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_come_in_proportion_to_their_weights() {
        let weights = [1.0, 0.0, 5.0, 2.0, 2.0];
        let table = Weighted::new(&weights).expect("there are weights");
        let (mut counts, mut draws) = ([0_u32; 5], Draws::new(1, 0));
        (0..100_000).for_each(|_| counts[table.draw(&mut draws) as usize] += 1);
        assert_eq!(counts[1], 0, "weight 0 never comes");
        for (count, weight) in counts.iter().zip(weights) {
            assert!((f64::from(*count) - weight * 10_000.0).abs() < 500.0, "{counts:?}");
        }
    }

    #[test]
    fn table_without_weights_is_none_and_zeros_are_all_alike() {
        assert!(Weighted::new(&[]).is_none());
        let table = Weighted::new(&[0.0, 0.0]).expect("there are two");
        let mut draws = Draws::new(2, 0);
        let ones: u32 = (0..1000).map(|_| table.draw(&mut draws)).sum();
        assert!((400..600).contains(&ones), "{ones}");
    }
}
