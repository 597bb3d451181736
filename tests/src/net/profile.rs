//! What a link does to packets, and a ladder of named links from good Wi-Fi to absurd.
//!
//! A link has two directions, each with its own impairments: a cheap cellular modem sends far
//! worse than it receives. Every figure is the effect on one packet in one direction, so a round
//! trip pays twice.

use std::time::Duration;

/// Impairments of one direction of a link. The default impairs nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Direction {
    /// Time every packet takes.
    pub delay: Duration,
    /// Up to this much is added per packet; alone it never changes the order.
    pub jitter: Duration,
    /// Probability that a packet is lost.
    pub loss: f64,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that a packet is held back so that later ones overtake it.
    pub reorder: f64,
    /// How long a reordered packet is held back.
    pub reorder_hold: Duration,
    /// Bytes per second that get through; `None` is no limit.
    pub rate: Option<u64>,
    /// Bytes that may wait for the rate limit; what comes on top is dropped at the tail.
    pub queue: u64,
    /// Nothing gets through, also what is under way.
    pub cut: bool,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_hold: Duration::from_millis(20),
            rate: None,
            queue: 64 * 1024,
            cut: false,
        }
    }
}

/// Impairments of a whole link.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Profile {
    /// From the client (edge) to the target (hub).
    pub up: Direction,
    /// From the target back to the client.
    pub down: Direction,
}

impl Profile {
    /// The same impairments both ways.
    #[must_use]
    pub fn both(direction: Direction) -> Self {
        Self { up: direction, down: direction }
    }

    /// No link at all.
    #[must_use]
    pub fn cut() -> Self {
        Self::both(Direction { cut: true, ..Direction::default() })
    }
}

/// The ladder: each link by its name, from good to absurd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it and `profile` gives the figures")]
pub enum Link {
    Perfect,
    GoodWifi,
    BusyWifi,
    Lte,
    CellEdge,
    Satellite,
    DupReorder,
    Lossy30pct,
    Slow2kBps,
    Absurd,
}

impl Link {
    /// Every link, best first.
    pub const LADDER: [Self; 10] = [
        Self::Perfect,
        Self::GoodWifi,
        Self::BusyWifi,
        Self::Lte,
        Self::CellEdge,
        Self::Satellite,
        Self::DupReorder,
        Self::Lossy30pct,
        Self::Slow2kBps,
        Self::Absurd,
    ];

    /// The name used on command lines and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Perfect => "perfect",
            Self::GoodWifi => "good_wifi",
            Self::BusyWifi => "busy_wifi",
            Self::Lte => "lte",
            Self::CellEdge => "cell_edge",
            Self::Satellite => "satellite",
            Self::DupReorder => "dup_reorder",
            Self::Lossy30pct => "lossy_30pct",
            Self::Slow2kBps => "slow_2kBps",
            Self::Absurd => "absurd",
        }
    }

    /// The link of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::LADDER.into_iter().find(|link| link.name() == name)
    }

    /// What the link does.
    #[must_use]
    pub fn profile(self) -> Profile {
        let ms = Duration::from_millis;
        let base = Direction::default();
        match self {
            Self::Perfect => Profile::default(),
            Self::GoodWifi => {
                Profile::both(Direction { delay: ms(2), jitter: ms(2), loss: 0.001, ..base })
            }
            Self::BusyWifi => Profile::both(Direction {
                delay: ms(8),
                jitter: ms(30),
                loss: 0.02,
                rate: Some(2_000_000),
                ..base
            }),
            Self::Lte => {
                let way = Direction { delay: ms(30), jitter: ms(15), loss: 0.005, ..base };
                Profile {
                    up: Direction { rate: Some(1_000_000), ..way },
                    down: Direction { rate: Some(4_000_000), ..way },
                }
            }
            Self::CellEdge => {
                let way = Direction { delay: ms(120), jitter: ms(150), loss: 0.08, ..base };
                Profile {
                    up: Direction { rate: Some(16_000), ..way },
                    down: Direction { rate: Some(50_000), ..way },
                }
            }
            Self::Satellite => Profile::both(Direction {
                delay: ms(300),
                jitter: ms(20),
                loss: 0.01,
                rate: Some(60_000),
                ..base
            }),
            Self::DupReorder => Profile::both(Direction {
                delay: ms(5),
                jitter: ms(5),
                duplicate: 0.25,
                reorder: 0.25,
                ..base
            }),
            Self::Lossy30pct => Profile::both(Direction { delay: ms(10), loss: 0.30, ..base }),
            Self::Slow2kBps => Profile::both(Direction {
                delay: ms(100),
                rate: Some(2_000),
                queue: 16 * 1024,
                ..base
            }),
            Self::Absurd => Profile::both(Direction {
                delay: ms(400),
                jitter: ms(400),
                loss: 0.40,
                duplicate: 0.20,
                reorder: 0.20,
                reorder_hold: ms(500),
                rate: Some(2_000),
                queue: 8 * 1024,
                cut: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_is_found_by_its_name() {
        for link in Link::LADDER {
            assert_eq!(Link::named(link.name()), Some(link));
        }
        assert_eq!(Link::named("carrier_pigeon"), None);
    }
}
