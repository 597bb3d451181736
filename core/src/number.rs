//! Doubles as short decimals.
//!
//! A sensor says 21.53, not a 53-bit fraction. A double that is the nearest one to a decimal of at
//! most 15 digits and 9 places is written as that decimal, losslessly: decimals of up to 15 digits
//! and doubles map one to one (IEEE 754, section 5.12.2). Only multiplication, division and
//! comparison are used, which are bit-equal on every target.

/// The most decimal places of the short form.
pub const MAX_PLACES: u8 = 9;
const MANTISSA_LIMIT: i64 = 1_000_000_000_000_000;
const POWERS: [f64; MAX_PLACES as usize + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// `mantissa / 10^places`, with the fewest places that give the same double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i64,
    places: u8,
}

impl Decimal {
    /// The short form of `value`, if it has one. Negative zero has none.
    #[must_use]
    pub fn of(value: f64) -> Option<Self> {
        for places in 0..=MAX_PLACES {
            let scaled = value * POWERS[places as usize];
            if scaled.is_nan() || scaled.abs() >= MANTISSA_LIMIT as f64 {
                return None;
            }
            let mantissa = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64;
            let exact = (mantissa as f64 / POWERS[places as usize]).to_bits() == value.to_bits();
            if exact && mantissa.abs() < MANTISSA_LIMIT {
                return Some(Self { mantissa, places });
            }
        }
        None
    }

    /// The parts as stored; `None` when they are not the short form of any double.
    #[must_use]
    pub fn from_parts(mantissa: i64, places: u8) -> Option<Self> {
        let shortest = places == 0 || mantissa % 10 != 0;
        let small = mantissa.unsigned_abs() < MANTISSA_LIMIT as u64;
        (places <= MAX_PLACES && small && shortest).then_some(Self { mantissa, places })
    }

    /// The digits as an integer when `places` of them stand behind the point; `None` when those are
    /// too few for it, or the digits too many.
    #[must_use]
    pub fn at(self, places: u8) -> Option<i64> {
        let more = places.checked_sub(self.places)?;
        let digits = self.mantissa.checked_mul(10i64.checked_pow(u32::from(more))?)?;
        // Up to here an integer is a double, so that the quotient is the nearest one.
        let exact = places <= MAX_PLACES && digits.unsigned_abs() < 1 << 53;
        (exact && ratio(digits, places)?.to_bits() == self.value().to_bits()).then_some(digits)
    }

    /// The digits as an integer.
    #[must_use]
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// How many of the digits stand behind the point.
    #[must_use]
    pub const fn places(self) -> u8 {
        self.places
    }

    /// The double.
    #[must_use]
    pub fn value(self) -> f64 {
        self.mantissa as f64 / POWERS[self.places as usize]
    }
}

/// The double nearest to `digits / 10^places`; `None` for more places than [`MAX_PLACES`].
#[must_use]
pub fn ratio(digits: i64, places: u8) -> Option<f64> {
    Some(digits as f64 / POWERS.get(usize::from(places))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everyday_values_are_short() {
        let parts = |v| Decimal::of(v).map(|d| (d.mantissa, d.places));
        assert_eq!(parts(21.5), Some((215, 1)));
        assert_eq!(parts(0.29), Some((29, 2)));
        assert_eq!(parts(-1.005), Some((-1005, 3)));
        assert_eq!(parts(0.0), Some((0, 0)));
        assert_eq!(parts(-0.0), None);
        assert_eq!(parts(1e15), None);
        assert_eq!(parts(999_999_999_999_999.0), Some((999_999_999_999_999, 0)));
        assert_eq!(parts(core::f64::consts::PI), None);
        assert_eq!(parts(f64::NAN), None);
        assert_eq!(parts(f64::INFINITY), None);
    }

    proptest! {
        #[test]
        fn any_short_form_gives_the_same_double(value in any::<f64>()) {
            if let Some(short) = Decimal::of(value) {
                prop_assert_eq!(short.value().to_bits(), value.to_bits());
                prop_assert_eq!(Decimal::from_parts(short.mantissa, short.places), Some(short));
            }
        }

        #[test]
        fn every_decimal_of_15_digits_is_found(
            mantissa in -999_999_999_999_999i64..=999_999_999_999_999,
            places in 0u8..=9,
        ) {
            let value = mantissa as f64 / POWERS[places as usize];
            let short = Decimal::of(value).unwrap();
            prop_assert_eq!(short.value().to_bits(), value.to_bits());
            prop_assert!(short.places <= places);
        }

        #[test]
        fn a_double_has_one_short_form(mantissa in -99_999i64..99_999, places in 0u8..=9) {
            if let Some(decimal) = Decimal::from_parts(mantissa, places) {
                prop_assert_eq!(Decimal::of(decimal.value()), Some(decimal));
            }
        }
    }
}
