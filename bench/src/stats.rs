//! Medians and their intervals, without an assumption about how noise is distributed.

use serde::Serialize;

/// The median of some rounds, and the interval in which the true median lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The middle round.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How sure the interval is: at least 0.95 from six rounds on, less with fewer (three: 0.75).
    pub confidence: f64,
}

impl Estimate {
    /// Of at least one value. The interval is the sign test's: the smallest pair of order statistics, equally far from
    /// both ends, that holds the true median with 95 %; with fewer than six values all that can be had is their range.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let median = (sorted.get(n.checked_sub(1)? / 2)? + sorted[n / 2]) / 2.0;
        // `outside(k)`: chance that fewer than k of n values lie below the true median; 2^-n · Σ C(n, i).
        let mut choose = 1.0;
        let mut outside = choose / 2f64.powi(i32::try_from(n).ok()?);
        let mut confidence = 1.0 - 2.0 * outside;
        let mut cut = 0;
        for i in 1..n.div_ceil(2) {
            choose *= (n - i + 1) as f64 / i as f64;
            outside += choose / 2f64.powi(i32::try_from(n).ok()?);
            if 1.0 - 2.0 * outside < 0.95 {
                break;
            }
            (cut, confidence) = (i, 1.0 - 2.0 * outside);
        }
        Some(Self { median, low: sorted[cut], high: sorted[n - 1 - cut], confidence: confidence.max(0.0) })
    }

    /// Of `ours[i] / theirs[i]`: what hit a whole round cancels out.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleven_rounds_give_the_second_and_the_tenth() {
        let values: Vec<f64> = (1..=11).rev().map(f64::from).collect();
        let estimate = Estimate::of(&values).unwrap();
        assert_eq!((estimate.median, estimate.low, estimate.high), (6.0, 2.0, 10.0));
        assert!((estimate.confidence - 0.988).abs() < 0.001, "{estimate:?}");
    }

    #[test]
    fn three_rounds_give_their_range() {
        let estimate = Estimate::of_ratios(&[2.0, 8.0, 3.0], &[1.0, 2.0, 1.0]).unwrap();
        assert_eq!((estimate.median, estimate.low, estimate.high), (3.0, 2.0, 4.0));
        assert!((estimate.confidence - 0.75).abs() < 1e-9);
    }

    #[test]
    fn an_even_number_has_two_in_the_middle() {
        assert_eq!(Estimate::of(&[1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Estimate::of(&[]), None);
    }
}
