//! Schedules: every so often, or at the minutes of a calendar.
//!
//! A calendar is a set of minutes, hours, days, months and weekdays, as cron has them, a bit for
//! each. Which minute of which day that is depends on a time zone, of which this module knows
//! nothing: [`Calendar::is_day`] and [`Calendar::has`] are asked with what the clocks of the zone
//! show.

use crate::Reject;
use crate::codec::{Reader, Sink};

/// The least time between two runs, seconds.
pub const EVERY_MIN_S: u32 = 1;

/// What becomes of times at which the node was off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Missed {
    /// They are left out.
    Skip = 0,
    /// All of them together begin one run.
    Once = 1,
}

impl Missed {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Once];

    /// The word in definitions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
        }
    }
}

/// When a run is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Every so many seconds, counted from the beginning of 1970.
    Every {
        /// Seconds.
        seconds: u32,
    },
    /// At the minutes of a calendar.
    At(Calendar),
}

impl Schedule {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        match self {
            Self::Every { seconds } => {
                out.put_u8(0)?;
                out.put_uint(u64::from(*seconds))
            }
            Self::At(calendar) => {
                out.put_u8(1)?;
                out.put(&calendar.minutes.to_le_bytes())?;
                out.put(&calendar.hours.to_le_bytes())?;
                out.put(&calendar.days.to_le_bytes())?;
                out.put(&calendar.months.to_le_bytes())?;
                out.put(&[calendar.weekdays, u8::from(calendar.either)])
            }
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        match reader.u8()? {
            0 => {
                let seconds = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
                let is_sound = seconds >= EVERY_MIN_S;
                if is_sound { Ok(Self::Every { seconds }) } else { Err(Reject::Malformed) }
            }
            1 => {
                let calendar = Calendar {
                    minutes: u64::from_le_bytes(reader.array()?),
                    hours: u32::from_le_bytes(reader.array()?),
                    days: u32::from_le_bytes(reader.array()?),
                    months: u16::from_le_bytes(reader.array()?),
                    weekdays: reader.u8()?,
                    either: match reader.u8()? {
                        0 => false,
                        1 => true,
                        _ => return Err(Reject::Malformed),
                    },
                };
                if calendar.is_sound() { Ok(Self::At(calendar)) } else { Err(Reject::Malformed) }
            }
            _ => Err(Reject::Malformed),
        }
    }
}

/// Minutes of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Of the hour: bits 0 to 59.
    pub minutes: u64,
    /// Of the day: bits 0 to 23.
    pub hours: u32,
    /// Of the month: bits 1 to 31.
    pub days: u32,
    /// Of the year: bits 1 to 12.
    pub months: u16,
    /// Bits 0, Sunday, to 6.
    pub weekdays: u8,
    /// Whether one of day and weekday is enough; both must be so otherwise.
    pub either: bool,
}

impl Calendar {
    /// Every minute.
    pub const ALWAYS: Self = Self {
        minutes: (1 << 60) - 1,
        hours: (1 << 24) - 1,
        days: u32::MAX << 1,
        months: 0x1ffe,
        weekdays: 0x7f,
        either: false,
    };

    /// Whether each part has something, and nothing that there is not.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let all = Self::ALWAYS;
        let within = self.minutes & !all.minutes == 0
            && self.hours & !all.hours == 0
            && self.days & !all.days == 0
            && self.months & !all.months == 0
            && self.weekdays & !all.weekdays == 0;
        let some = self.minutes != 0
            && self.hours != 0
            && self.days != 0
            && self.months != 0
            && self.weekdays != 0;
        within && some
    }

    /// Whether a day is one of its days: month from 1, day from 1, weekday from 0, Sunday.
    #[must_use]
    pub const fn is_day(&self, month: u8, day: u8, weekday: u8) -> bool {
        let is_day = self.days >> day & 1 != 0;
        let is_weekday = self.weekdays >> weekday & 1 != 0;
        let fits = if self.either { is_day || is_weekday } else { is_day && is_weekday };
        fits && self.months >> month & 1 != 0
    }

    /// Whether a minute of a day is one of its minutes.
    #[must_use]
    pub const fn has(&self, hour: u8, minute: u8) -> bool {
        self.hours >> hour & 1 != 0 && self.minutes >> minute & 1 != 0
    }
}
