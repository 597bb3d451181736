//! Sessions under random operations: some clients connect in all ways, subscribe, publish, answer
//! late or never, leave, are lost, come back over a second connection; time passes, and the node is
//! killed before or behind a commit. One seed decides all of it.
//!
//! What arrives is held against the [`model`], which is as simple as the standard tells it. At the
//! end all come back and take what waits for them.

pub mod model;
mod player;
pub mod site;
mod stream;

use holdfast_edge::mqtt::broker::{ConnectionId, Limits};
use holdfast_edge::mqtt::connection::Options;
use holdfast_edge::mqtt::packet::{Filter, QoS};
use model::{Judged, Model};
use player::Player;
pub use site::Bug;
use site::Site;
use std::collections::BTreeMap;
use std::ops::Range;

/// Operations of one run.
const STEPS: usize = 250;
/// Rounds within which everything that waits has to be taken at the end.
const LAST_ROUNDS: usize = 3_000;

/// SplitMix64: small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    /// The same draws for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// One of the numbers below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn qos(&mut self) -> QoS {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][self.below(3)]
    }
}

/// What came of a run.
pub struct Outcome {
    /// How often each thing was done.
    pub struck: BTreeMap<&'static str, u64>,
    /// What was wrong, if anything was.
    pub wrong: Option<String>,
}

struct World {
    rng: Rng,
    site: Site,
    model: Model,
    players: Vec<Player>,
    struck: BTreeMap<&'static str, u64>,
}

/// Runs a seed to its end, or to what is wrong.
pub fn run(seed: u64, bug: Bug) -> Outcome {
    let limits = Limits::default();
    let names = ["c0", "c1", "c2", "c3"];
    let mut world = World {
        rng: Rng(seed),
        site: Site::new(Options::default(), limits, bug),
        model: Model::new(limits.session_expiry_s),
        players: names.iter().map(|name| Player::new(name)).collect(),
        struck: BTreeMap::new(),
    };
    let mut wrong = Ok(());
    for step in 0..STEPS {
        wrong = world.step().map_err(|wrong| format!("step {step}: {wrong}"));
        if wrong.is_err() {
            break;
        }
    }
    let wrong = wrong.and_then(|()| world.finish()).err();
    Outcome { struck: world.struck, wrong }
}

impl World {
    fn note(&mut self, what: &'static str) {
        *self.struck.entry(what).or_default() += 1;
    }

    fn step(&mut self) -> Judged {
        let at = self.rng.below(self.players.len());
        let (site, rng) = (&mut self.site, &mut self.rng);
        let player = &mut self.players[at];
        let what = match rng.below(100) {
            0..8 => {
                let left = player.enter(site, rng);
                self.second_connection(at, left)
            }
            8..12 => {
                player.leave(site, rng);
                "left"
            }
            12..18 => {
                player.lose(site);
                "connection lost"
            }
            18..26 => {
                player.subscribe(site, rng);
                "subscribed"
            }
            26..29 => {
                player.unsubscribe(site, rng);
                "unsubscribed"
            }
            29..55 => {
                player.publish(site, rng, None);
                "published"
            }
            55..75 => {
                let most = 1 + rng.below(4);
                player.answer(site, most);
                "answered"
            }
            75..78 => {
                let ms = [1, 500, 5_000, 20_000, 40_000][rng.below(5)];
                site.pass(ms);
                "time passed"
            }
            78..81 => {
                let is_on_disk = rng.one_in(2);
                site.kill(is_on_disk);
                self.players.iter_mut().for_each(Player::gone);
                if is_on_disk { "killed behind a commit" } else { "killed before a commit" }
            }
            81..83 => {
                let holds = rng.one_in(2);
                site.hold_wills(holds);
                "wills held up"
            }
            _ => {
                site.turn();
                "group taken"
            }
        };
        self.note(what);
        self.look().map(drop)
    }

    /// A client has connected; its old connection may still have something to say.
    fn second_connection(&mut self, at: usize, left: Option<ConnectionId>) -> &'static str {
        let Some(left) = left else { return "connected" };
        if !self.rng.one_in(2) {
            return "connected over another";
        }
        self.players[at].publish(&mut self.site, &mut self.rng, Some(left));
        "published late over a connection that was left"
    }

    /// Takes note of what took effect, and has clients hear; whether there was anything.
    fn look(&mut self) -> Result<bool, String> {
        let mut has_any = false;
        for event in std::mem::take(&mut self.site.events) {
            self.model.take(event)?;
        }
        for player in &mut self.players {
            has_any |= player.listen(&mut self.site, &mut self.model)?;
        }
        Ok(has_any)
    }

    /// Everybody takes what is there, until there is nothing more.
    fn drain(&mut self) -> Judged {
        for _ in 0..LAST_ROUNDS {
            self.site.settle();
            let has_heard = self.look()?;
            let mut has_said = false;
            for player in &mut self.players {
                has_said |= player.answer(&mut self.site, usize::MAX);
            }
            if !has_heard && !has_said && !self.site.has_waiting() {
                return Ok(());
            }
        }
        Err("it does not come to an end".to_owned())
    }

    fn finish(&mut self) -> Judged {
        self.site.hold_wills(false);
        self.drain()?;
        self.model.quiet(true)?;
        self.site.pass(300_000);
        self.drain()?;
        self.model.quiet(true)?;
        for player in &mut self.players {
            player.return_for_good(&mut self.site);
        }
        self.drain()?;
        self.model.quiet(true)?;
        if let Some(player) = self.players.iter().position(|player| !player.is_done()) {
            return Err(format!("c{player} has published what was never answered"));
        }
        let all = Filter::try_from("#").expect("a filter");
        let (_, _, retained) = self.site.state.retained_by(&all);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it was text");
        let mut retained: Vec<(String, String)> = retained
            .iter()
            .map(|message| (message.topic().as_str().to_owned(), text(message.payload())))
            .collect();
        retained.sort();
        self.model.finish(&retained)
    }
}

/// What has to be done at least once in a campaign of any size.
const STRUCK: [&str; 14] = [
    "connected",
    "connected over another",
    "published late over a connection that was left",
    "left",
    "connection lost",
    "subscribed",
    "unsubscribed",
    "published",
    "answered",
    "time passed",
    "killed before a commit",
    "killed behind a commit",
    "wills held up",
    "group taken",
];
/// Seeds from which on each of them has to have been.
const MANY: usize = 100;

/// Runs all `seeds`, and says how often each thing was done. Panics at the first that is wrong.
pub fn campaign(seeds: Range<u64>, mut tell: impl FnMut(u64)) {
    let mut struck: BTreeMap<&str, u64> = STRUCK.iter().map(|what| (*what, 0)).collect();
    let count = seeds.clone().count();
    for (done, seed) in (0..).zip(seeds) {
        let outcome = run(seed, Bug::None);
        if let Some(wrong) = outcome.wrong {
            panic!("seed {seed}: {wrong}\nreplay: HOLDFAST_SEED={seed} {REPLAY}");
        }
        for (what, count) in outcome.struck {
            *struck.entry(what).or_default() += count;
        }
        tell(done);
    }
    for (what, times) in &struck {
        println!("struck: {what} {times}");
        assert!(*times > 0 || count < MANY, "`{what}` never struck");
    }
}

/// How a seed is run again.
const REPLAY: &str = "cargo test -p holdfast-edge --test it sessions::random";
