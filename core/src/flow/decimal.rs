//! Decimals of six places: the numbers of workflows that are not whole.
//!
//! A decimal is a count of millionths in 64 bits, so it reaches to 9,223,372,036,854.775807 and is
//! exact where a double is not: 0.1 + 0.2 is 0.3 on every machine. Products and quotients are
//! rounded to the nearest millionth, halves away from zero.

use core::fmt;

/// What one is.
pub const ONE: i64 = 1_000_000;
const PLACES: u8 = 6;

/// The decimal nearest to a double, halves away from zero; `None` where it does not fit.
#[must_use]
pub fn of(value: f64) -> Option<i64> {
    // Of what is whole and what is not, each is exact in a double, and the product of both is not.
    if value.is_nan() || value.abs() >= 9_223_372_036_855.0 {
        return None;
    }
    let whole = value as i64;
    let scaled = (value - whole as f64) * ONE as f64;
    let millionths = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64;
    of_int(whole)?.checked_add(millionths)
}

/// The double nearest to a decimal.
#[must_use]
pub fn value(decimal: i64) -> f64 {
    decimal as f64 / ONE as f64
}

/// An integer as a decimal.
#[must_use]
pub const fn of_int(int: i64) -> Option<i64> {
    int.checked_mul(ONE)
}

/// The product.
#[must_use]
pub fn mul(a: i64, b: i64) -> Option<i64> {
    nearest(i128::from(a) * i128::from(b), ONE)
}

/// The quotient; `None` also for a division by zero.
#[must_use]
pub fn div(a: i64, b: i64) -> Option<i64> {
    if b == 0 { None } else { nearest(i128::from(a) * i128::from(ONE), b) }
}

/// The integer nearest to a decimal, halves away from zero.
#[must_use]
pub const fn round(decimal: i64) -> i64 {
    let (whole, rest) = (decimal / ONE, decimal % ONE);
    if rest >= ONE / 2 {
        whole + 1
    } else if rest <= -ONE / 2 {
        whole - 1
    } else {
        whole
    }
}

fn nearest(dividend: i128, divisor: i64) -> Option<i64> {
    let (whole, rest) = divided(dividend.unsigned_abs(), divisor.unsigned_abs());
    let away = u128::from(rest * 2 >= u128::from(divisor.unsigned_abs()));
    let amount = i128::try_from(whole + away).ok()?;
    let is_negative = (dividend < 0) != (divisor < 0);
    i64::try_from(if is_negative { -amount } else { amount }).ok()
}

/// Quotient and rest, bit by bit: a microcontroller that divides 128 bits otherwise carries a
/// kilobyte for it.
fn divided(mut dividend: u128, divisor: u64) -> (u128, u128) {
    let (divisor, mut rest) = (u128::from(divisor), 0);
    for _ in 0..u128::BITS {
        rest = rest << 1 | dividend >> (u128::BITS - 1);
        dividend <<= 1;
        if rest >= divisor {
            rest -= divisor;
            dividend |= 1;
        }
    }
    (dividend, rest)
}

/// A decimal as people write it, without zeros at its end.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub i64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, mut rest) =
            (self.0.unsigned_abs() / ONE as u64, self.0.unsigned_abs() % ONE as u64);
        write!(f, "{sign}{whole}")?;
        if rest == 0 {
            return Ok(());
        }
        let mut places = usize::from(PLACES);
        while rest.is_multiple_of(10) {
            rest /= 10;
            places -= 1;
        }
        write!(f, ".{rest:0places$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    #[test]
    fn everyday_numbers_are_exact() {
        assert_eq!(of(21.53), Some(21_530_000));
        assert_eq!(of(0.1).unwrap() + of(0.2).unwrap(), of(0.3).unwrap());
        assert_eq!(of(-0.000_000_5), Some(-1));
        assert_eq!(of(0.000_000_4), Some(0));
        assert_eq!(of(1e13), None);
        assert_eq!(of(-9_000_000_000_000.5), Some(-9_000_000_000_000_500_000));
        assert_eq!(of(9_223_372_036_854.9), None);
        assert_eq!(of(0.29), Some(290_000));
        assert_eq!(of(f64::NAN), None);
        assert_eq!(of(f64::INFINITY), None);
    }

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!(mul(1, ONE / 2), Some(1));
        assert_eq!(mul(-1, ONE / 2), Some(-1));
        assert_eq!(div(ONE, 3 * ONE), Some(333_333));
        assert_eq!(div(-2 * ONE, 3 * ONE), Some(-666_667));
        assert_eq!(div(ONE, 0), None);
        assert_eq!(div(i64::MAX, 1), None);
        let halves = [2_500_000, 2_499_999, -2_500_000, -2_499_999];
        assert_eq!(halves.map(round), [3, 2, -3, -2]);
    }

    #[test]
    fn it_is_shown_without_zeros_at_its_end() {
        let shown = [0, 1, -1, 21_500_000, -21_530_000, 7 * ONE, i64::MIN]
            .map(|number| format!("{}", Shown(number)));
        let wanted = ["0", "0.000001", "-0.000001", "21.5", "-21.53", "7", "-9223372036854.775808"];
        assert_eq!(shown, wanted);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_it_is(number in any::<i64>()) {
            let text = format!("{}", Shown(number));
            let negative = text.starts_with('-');
            let digits = text.trim_start_matches('-');
            let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
            let whole = whole.parse::<i128>().unwrap();
            let places = format!("{places:0<6}").parse::<i128>().unwrap();
            let back = whole * i128::from(ONE) + places;
            prop_assert_eq!(if negative { -back } else { back }, i128::from(number));
        }

        #[test]
        fn a_product_is_the_nearest(
            a in -1_000_000_000i64..1_000_000_000,
            b in -1_000_000i64..1_000_000,
        ) {
            let exact = i128::from(a) * i128::from(b);
            let got = i128::from(mul(a, b).unwrap()) * i128::from(ONE);
            prop_assert!((exact - got).abs() * 2 <= i128::from(ONE));
        }

        #[test]
        fn bit_by_bit_is_as_by_division(a in any::<i64>(), b in any::<i64>(), d in any::<i64>()) {
            let (dividend, divisor) = (i128::from(a) * i128::from(b), i128::from(d));
            prop_assume!(d != 0);
            let (whole, rest) = (dividend / divisor, dividend % divisor);
            let away = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
            let step = if rest.abs() * 2 >= divisor.abs() { away } else { 0 };
            prop_assert_eq!(nearest(dividend, d), i64::try_from(whole + step).ok());
        }
    }
}
