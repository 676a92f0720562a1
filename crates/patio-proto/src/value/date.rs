//! Dates as JavaScript writes them in JSON.

const DAY: i64 = 86_400_000;
/// The largest distance from 1970 that a JavaScript `Date` can hold, in milliseconds.
const LIMIT: i64 = 100_000_000 * DAY;

/// Whether a JavaScript `Date` can hold these milliseconds since 1970.
pub(crate) fn is_valid(millis: i64) -> bool {
    (-LIMIT..=LIMIT).contains(&millis)
}

/// `Date.prototype.toISOString`: `YYYY-MM-DDTHH:mm:ss.sssZ`, with a sign and six digits for years outside of 0 to 9999.
/// `None` for an invalid date, which JSON has as `null`.
pub(crate) fn to_iso(millis: i64) -> Option<String> {
    if !is_valid(millis) {
        return None;
    }
    let (year, month, day) = civil(millis.div_euclid(DAY));
    let time = millis.rem_euclid(DAY);
    let (hour, minute, second, milli) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60, time % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last of its year, and in eras of 400 years.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468; // days from 0000-03-01 to 1970-01-01
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (LIMIT, "+275760-09-13T00:00:00.000Z"),
            (-LIMIT, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(to_iso(millis).as_deref(), Some(text));
        }
        assert_eq!(to_iso(LIMIT + 1), None);
        assert_eq!(to_iso(i64::MIN), None);
    }
}
