//! Triggers: what begins a run by itself, and what of it the run is given.
//!
//! A trigger says what it looks for ([`On`]): readings, windows of them, a twin, messages, alerts,
//! the time. What it finds has *facts* ([`Fact`]): which device, which value. *Bindings* put facts,
//! and values that are known beforehand, into the fields that a run is given. Whoever runs images
//! looks for it; this module is the form, and what can be known of it beforehand.

use super::binding::{Binding, Bindings, Source};
use super::image::{Image, Slot, Type};
use super::schedule::{Missed, Schedule};
use super::signal::{put_rule, read_rule};
use super::{NAME_MAX_BYTES, TEXT_MAX_BYTES};
use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::condition::{Rule, Test};
use crate::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES, PATH_MAX_BYTES};
use crate::log::events::Severity;

/// Triggers that an image can have.
pub const TRIGGERS_MAX: u16 = 16;
/// Tags that a device must have, at most.
pub const TAGS_MAX: u64 = 8;
/// Bytes of a topic filter.
pub const FILTER_MAX_BYTES: usize = 256;
/// Bytes of the name of an alert's rule.
pub const RULE_MAX_BYTES: usize = 64;
/// Levels of a topic that can be facts.
pub const LEVELS_MAX: u8 = 16;
/// Bytes of the name of a time zone.
const ZONE_MAX_BYTES: usize = 64;

/// What a trigger looks for, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A condition over readings.
    Reading = 1,
    /// A condition over windows of readings.
    Rollup = 2,
    /// A value of a twin changes.
    Twin = 3,
    /// A message on a topic.
    Message = 4,
    /// An alert begins or ends.
    Alert = 5,
    /// It is time.
    Schedule = 6,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Reading, Self::Rollup, Self::Twin, Self::Message, Self::Alert, Self::Schedule];

    /// The word in definitions and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Rollup => "rollup",
            Self::Twin => "twin",
            Self::Message => "message",
            Self::Alert => "alert",
            Self::Schedule => "schedule",
        }
    }

    /// The bit of this kind in a set of kinds.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Something that is known of what a trigger finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The device.
    Device,
    /// The metric.
    Metric,
    /// Its unit.
    Unit,
    /// The value that it is about, a decimal.
    Value,
    /// Since when it is so, or when it came, Unix milliseconds.
    Time,
    /// The name of an alert's rule.
    Name,
    /// How severe an alert is.
    Severity,
    /// What an alert says, or the value of a twin.
    Text,
    /// The node of an alert.
    Node,
    /// The topic of a message.
    Topic,
    /// Its content.
    Payload,
    /// A level of its topic, from 1.
    Level(u8),
}

impl Fact {
    /// Those that have a name; levels have a number.
    pub const NAMED: [Self; 11] = [
        Self::Device,
        Self::Metric,
        Self::Unit,
        Self::Value,
        Self::Time,
        Self::Name,
        Self::Severity,
        Self::Text,
        Self::Node,
        Self::Topic,
        Self::Payload,
    ];
    /// The number before that of the first level.
    const LEVELS: u8 = 32;

    /// The word in definitions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Metric => "metric",
            Self::Unit => "unit",
            Self::Value => "value",
            Self::Time => "time",
            Self::Name => "name",
            Self::Severity => "severity",
            Self::Text => "text",
            Self::Node => "node",
            Self::Topic => "topic",
            Self::Payload => "payload",
            Self::Level(_) => "level",
        }
    }

    /// What a number register must hold to take it; `None` for a text.
    #[must_use]
    pub const fn number(self) -> Option<Type> {
        match self {
            Self::Value => Some(Type::Decimal),
            Self::Time => Some(Type::Int),
            _ => None,
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Level(level) => Self::LEVELS + level,
            named => {
                let place = Self::NAMED.iter().position(|known| *known == named);
                place.map_or(0, |place| place as u8 + 1)
            }
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code.checked_sub(Self::LEVELS) {
            Some(level) => (1..=LEVELS_MAX).contains(&level).then_some(Self::Level(level)),
            None => Self::NAMED.get(usize::from(code).checked_sub(1)?).copied(),
        }
    }
}

/// Which devices: those whose id is as a pattern says, and that have these tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devices<'a> {
    /// The id; `*` stands for any text.
    pub pattern: &'a str,
    /// Tags and their values.
    pub tags: Tags<'a>,
}

/// Tags that a device must have, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    /// Those in the bytes that [`put_tags`] made.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let tags = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(tags)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let count = reader.uint()?;
        if count > TAGS_MAX {
            return Err(Reject::Full);
        }
        let before = *reader;
        for _ in 0..count {
            let name = reader.str(NAME_MAX_BYTES)?;
            reader.str(TEXT_MAX_BYTES)?;
            if name.is_empty() {
                return Err(Reject::Malformed);
            }
        }
        let len = before.rest().len() - reader.rest().len();
        Ok(Self(&before.rest()[..len]))
    }

    /// Each tag with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut reader = Reader::new(self.0);
        core::iter::from_fn(move || {
            Some((reader.str(NAME_MAX_BYTES).ok()?, reader.str(TEXT_MAX_BYTES).ok()?))
        })
    }
}

/// Appends tags and their values.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_tags(out: &mut impl Sink, tags: &[(&str, &str)]) -> Result<(), Reject> {
    out.put_uint(tags.len() as u64)?;
    for (name, value) in tags {
        out.put_bytes(name.as_bytes())?;
        out.put_bytes(value.as_bytes())?;
    }
    Ok(())
}

impl<'a> Devices<'a> {
    fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_bytes(self.pattern.as_bytes())?;
        out.put_uint(self.tags.iter().count() as u64)?;
        out.put(self.tags.0)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let pattern = reader.str(DEVICE_MAX_BYTES)?;
        if pattern.is_empty() {
            return Err(Reject::Malformed);
        }
        Ok(Self { pattern, tags: Tags::read(reader)? })
    }
}

/// What a window comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Statistic {
    /// How many readings.
    Count = 0,
    /// Their sum.
    Sum = 1,
    /// Their mean.
    Mean = 2,
    /// The least.
    Min = 3,
    /// The greatest.
    Max = 4,
    /// The last.
    Last = 5,
}

impl Statistic {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Count, Self::Sum, Self::Mean, Self::Min, Self::Max, Self::Last];

    /// The word in definitions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
        }
    }
}

/// What a trigger looks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum On<'a> {
    /// A condition over readings of each series that fits.
    Reading {
        /// Of which devices.
        of: Devices<'a>,
        /// Of which metrics; `*` stands for any text.
        metric: &'a str,
        /// What is looked for.
        rule: Rule,
        /// How old a reading may be when it is looked at, milliseconds; 0: any age.
        max_age_ms: u64,
    },
    /// A condition over windows.
    Rollup {
        /// Of which devices.
        of: Devices<'a>,
        /// Of which metrics; `*` stands for any text.
        metric: &'a str,
        /// How long a window is, seconds.
        width_s: u32,
        /// What is looked at of each window.
        statistic: Statistic,
        /// What is looked for.
        rule: Rule,
    },
    /// A value of a twin is another one than before.
    Twin {
        /// Of which devices.
        of: Devices<'a>,
        /// The section, `/`, and the way in it.
        path: &'a str,
    },
    /// A message.
    Message {
        /// On which topics, as a subscription has it.
        filter: &'a str,
    },
    /// An alert.
    Alert {
        /// By which rules; `*` stands for any text.
        rule: &'a str,
        /// Of which devices; `*` alone takes those that are about no device, too.
        of: Devices<'a>,
        /// At least so severe.
        least: Severity,
        /// Whether it is looked for its end instead of its begin.
        ends: bool,
    },
    /// The time.
    Schedule {
        /// When.
        schedule: Schedule,
        /// By the clocks of which time zone; that of the site where it is empty.
        zone: &'a str,
        /// What becomes of times at which the node was off.
        missed: Missed,
    },
}

impl<'a> On<'a> {
    /// What it looks for, without its particulars.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Reading { .. } => Kind::Reading,
            Self::Rollup { .. } => Kind::Rollup,
            Self::Twin { .. } => Kind::Twin,
            Self::Message { .. } => Kind::Message,
            Self::Alert { .. } => Kind::Alert,
            Self::Schedule { .. } => Kind::Schedule,
        }
    }

    /// What is known of everything that it finds; of a message the levels of its topic, too.
    #[must_use]
    pub const fn facts(&self) -> &'static [Fact] {
        use Fact::{Device, Metric, Name, Node, Payload, Severity, Text, Time, Topic, Unit, Value};
        match self {
            Self::Reading { rule, .. } if matches!(rule.test, Test::Silent { .. }) => {
                &[Device, Time]
            }
            Self::Reading { .. } | Self::Rollup { .. } => &[Device, Metric, Unit, Value, Time],
            Self::Twin { .. } => &[Device, Text, Time],
            Self::Message { .. } => &[Topic, Payload, Time],
            Self::Alert { .. } => &[Name, Device, Metric, Severity, Text, Node, Time],
            Self::Schedule { .. } => &[Time],
        }
    }

    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_u8(self.kind() as u8)?;
        match self {
            Self::Reading { of, metric, rule, max_age_ms } => {
                of.encode(out)?;
                out.put_bytes(metric.as_bytes())?;
                put_rule(out, rule)?;
                out.put_uint(*max_age_ms)
            }
            Self::Rollup { of, metric, width_s, statistic, rule } => {
                of.encode(out)?;
                out.put_bytes(metric.as_bytes())?;
                out.put_uint(u64::from(*width_s))?;
                out.put_u8(*statistic as u8)?;
                put_rule(out, rule)
            }
            Self::Twin { of, path } => {
                of.encode(out)?;
                out.put_bytes(path.as_bytes())
            }
            Self::Message { filter } => out.put_bytes(filter.as_bytes()),
            Self::Alert { rule, of, least, ends } => {
                out.put_bytes(rule.as_bytes())?;
                of.encode(out)?;
                out.put(&[*least as u8, u8::from(*ends)])
            }
            Self::Schedule { schedule, zone, missed } => {
                schedule.encode(out)?;
                out.put_bytes(zone.as_bytes())?;
                out.put_u8(*missed as u8)
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let kind = usize::from(reader.u8()?).checked_sub(1);
        let kind = kind.and_then(|place| Kind::ALL.get(place)).ok_or(Reject::Malformed)?;
        let on = match kind {
            Kind::Reading => Self::Reading {
                of: Devices::read(reader)?,
                metric: reader.str(METRIC_MAX_BYTES)?,
                rule: read_rule(reader)?,
                max_age_ms: reader.uint()?,
            },
            Kind::Rollup => Self::Rollup {
                of: Devices::read(reader)?,
                metric: reader.str(METRIC_MAX_BYTES)?,
                width_s: u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?,
                statistic: *word(reader, &Statistic::ALL)?,
                rule: read_rule(reader)?,
            },
            Kind::Twin => {
                Self::Twin { of: Devices::read(reader)?, path: reader.str(PATH_MAX_BYTES)? }
            }
            Kind::Message => Self::Message { filter: reader.str(FILTER_MAX_BYTES)? },
            Kind::Alert => Self::Alert {
                rule: reader.str(RULE_MAX_BYTES)?,
                of: Devices::read(reader)?,
                least: *word(reader, &Severity::ALL)?,
                ends: *word(reader, &[false, true])?,
            },
            Kind::Schedule => Self::Schedule {
                schedule: Schedule::read(reader)?,
                zone: reader.str(ZONE_MAX_BYTES)?,
                missed: *word(reader, &Missed::ALL)?,
            },
        };
        if on.is_sound() { Ok(on) } else { Err(Reject::Malformed) }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Reading { metric, .. } => !metric.is_empty(),
            Self::Rollup { metric, width_s, rule, .. } => {
                let is_silence = matches!(rule.test, Test::Silent { .. });
                !metric.is_empty() && *width_s > 0 && !is_silence
            }
            Self::Twin { path, .. } => path.contains('/'),
            Self::Message { filter } => !filter.is_empty(),
            Self::Alert { rule, .. } => !rule.is_empty(),
            Self::Schedule { .. } => true,
        }
    }
}

fn word<'w, T>(reader: &mut Reader<'_>, words: &'w [T]) -> Result<&'w T, Reject> {
    words.get(usize::from(reader.u8()?)).ok_or(Reject::Malformed)
}

/// A trigger, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Trigger<'a> {
    /// What it looks for.
    pub on: On<'a>,
    /// What a run is given, in the order of its fields.
    pub bindings: Bindings<'a>,
}

impl<'a> Trigger<'a> {
    /// Reads a trigger, all of it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let on = On::read(&mut reader)?;
        Ok(Self { on, bindings: Bindings::read(reader)? })
    }

    /// Whether each field that a run is given gets what it takes: once, in their order, and none is
    /// left without a value.
    pub(super) fn fits(&self, image: &Image<'_>) -> bool {
        let mut bindings = self.bindings.peekable();
        for (index, field) in image.inputs().enumerate() {
            let bound = bindings.next_if(|binding| usize::from(binding.input) == index);
            let fits = match bound {
                Some(Binding { source, .. }) => self.gives(source, image, field.slot),
                None => field.default.is_some(),
            };
            if !fits {
                return false;
            }
        }
        bindings.next().is_none()
    }

    /// Whether a value goes into a register.
    fn gives(&self, source: Source<'_>, image: &Image<'_>, slot: Slot) -> bool {
        let of = match slot {
            Slot::Number(reg) => image.type_of(reg),
            Slot::Text(_) => None,
        };
        match source {
            Source::Number(number) => of.is_some_and(|of| of != Type::Bool || number >> 1 == 0),
            Source::Text(_) => of.is_none(),
            Source::Fact(fact) => {
                let kind = self.on.kind();
                let is_level = matches!(fact, Fact::Level(_)) && kind == Kind::Message;
                (is_level || self.on.facts().contains(&fact)) && fact.number() == of
            }
            Source::Path(_) => self.on.kind() == Kind::Message,
        }
    }
}

impl<'a> Image<'a> {
    /// A trigger.
    #[must_use]
    pub fn trigger(&self, index: u16) -> Option<Trigger<'a>> {
        Trigger::read(self.trigger_part(index)?).ok()
    }

    /// The triggers, with their numbers.
    pub fn triggers(&self) -> impl Iterator<Item = (u16, Trigger<'a>)> + use<'a> {
        let image = *self;
        (0..image.counts.triggers).filter_map(move |index| Some((index, image.trigger(index)?)))
    }
}
