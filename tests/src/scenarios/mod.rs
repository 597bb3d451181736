//! The scenarios: what a fleet must hold, run against the real binaries.
//!
//! Each campaign is one function of a [`Scale`]: the test command runs it small with a fixed seed,
//! the soak at full size. It prints how often each fault really struck; one that never struck fails
//! it.

pub mod alerts;
pub mod artefacts;
pub mod audit;
pub mod backlog;
pub mod bad_input;
pub mod clocks;
pub mod demo;
pub mod devices;
pub mod enrolment;
pub mod firmware;
pub mod fixture;
pub mod full;
mod hands;
pub mod https;
pub mod import;
pub mod kills;
pub mod links;
pub mod load;
pub mod mqtt;
pub mod power_cut;
pub mod refusal;
pub mod restore;
pub mod rot;
pub mod secrets;
pub mod simulations;
pub mod state;
pub mod twins;
pub mod upkeep;
pub mod workflows;
pub mod year;

use crate::process::Settings;
use holdfast_sync::net::Transport;

/// The variable by which nodes learn what carries their sync.
pub const TRANSPORT: &str = "HOLDFAST_SYNC_TRANSPORT";

/// How large a campaign is run, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The seed of all its draws.
    pub seed: u64,
    /// A twentieth of the full number, or less where a floor is higher; 1 is the full number.
    pub part: u64,
    /// What carries the sync of its nodes.
    pub transport: Transport,
}

impl Scale {
    /// The size of the test command.
    #[must_use]
    pub const fn test(seed: u64) -> Self {
        Self { seed, part: 20, transport: Transport::Libp2p }
    }

    /// The size of the soak.
    #[must_use]
    pub const fn soak(seed: u64) -> Self {
        Self { seed, part: 1, transport: Transport::Libp2p }
    }

    /// The same over `transport`.
    #[must_use]
    pub const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// The settings of a node whose sync it carries.
    #[must_use]
    pub fn node(self) -> Settings {
        Settings::default().env(TRANSPORT, self.transport.name())
    }

    /// How many of `full` to do, at least `floor`.
    #[must_use]
    pub const fn of(self, full: u64, floor: u64) -> u64 {
        let part = full.div_ceil(self.part);
        if part < floor { floor } else { part }
    }
}

/// A campaign of the soak.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does at full size.
    pub about: &'static str,
    /// Runs it; a panic is its failure.
    pub run: fn(Scale),
}

/// The campaigns of `soak first-light`, in the order in which they run.
pub const FIRST_LIGHT: &[Campaign] = &[
    Campaign { name: "power-cut", about: "1,000 power cuts", run: power_cut::power_cut },
    Campaign {
        name: "power-cut-weak",
        about: "100 power cuts with weaker durability, which have to be noticed",
        run: power_cut::power_cut_is_noticed,
    },
    Campaign {
        name: "power-cut-init",
        about: "power cuts while a node is made",
        run: power_cut::power_cut_during_init,
    },
    Campaign {
        name: "refusal",
        about: "nodes that do not belong, 5 times",
        run: refusal::refusals,
    },
    Campaign {
        name: "enrolment",
        about: "200 gateways enrol at once",
        run: enrolment::two_hundred_nodes_enrol_at_once,
    },
    Campaign { name: "kills", about: "200 kills under load", run: kills::kills },
    Campaign { name: "links", about: "10 rounds over six bad links", run: links::links },
    Campaign { name: "backlog", about: "30 days of backlog", run: backlog::backlog },
    Campaign {
        name: "bad-input",
        about: "bad input beside a good client",
        run: bad_input::bad_input,
    },
    Campaign { name: "clocks", about: "wrong clocks of devices and nodes", run: clocks::clocks },
    Campaign { name: "import", about: "10 imports that are interrupted", run: import::imports },
    Campaign { name: "full", about: "quotas and disks without room", run: full::full },
    Campaign {
        name: "restore",
        about: "10 times a gateway and the hub from old backups",
        run: restore::restore,
    },
    Campaign {
        name: "upkeep",
        about: "200 kills while segments, pruning and backups are under way",
        run: upkeep::upkeep,
    },
    Campaign { name: "rot", about: "1,000 flipped bits and lost tails", run: rot::rot },
    Campaign { name: "year", about: "a simulated year of one gateway", run: year::year },
];

/// The campaigns of `soak alerts`.
pub const ALERTS: &[Campaign] = &[
    Campaign { name: "alert-kills", about: "200 crossings with kills", run: alerts::kills },
    Campaign { name: "alert-outage", about: "an alert before a backlog", run: alerts::outage },
    Campaign { name: "alert-clocks", about: "clocks that are set, silence", run: alerts::clocks },
    Campaign { name: "alert-silence", about: "20 gateways that stop", run: alerts::silence },
    Campaign { name: "alert-disk", about: "a disk that is full", run: alerts::filling },
];

/// The campaigns of `soak state`.
pub const STATE: &[Campaign] = &[
    Campaign {
        name: "simulations",
        about: "10,000 simulations of documents between a hub and gateways",
        run: simulations::simulations,
    },
    Campaign {
        name: "twins-many",
        about: "10,000 twins on one gateway and a kill",
        run: twins::many,
    },
    Campaign {
        name: "state-agree",
        about: "both sides change one twin, each path by its policy",
        run: state::agree,
    },
    Campaign { name: "state-clock", about: "a clock a year ahead", run: state::clock },
    Campaign {
        name: "state-kills",
        about: "200 kills while both sides change twins",
        run: state::kills,
    },
    Campaign {
        name: "artefacts",
        about: "200 kills and cuts while artefacts are fetched",
        run: artefacts::artefacts,
    },
];

/// The campaigns of `soak mqtt`.
pub const MQTT: &[Campaign] = &[
    Campaign { name: "mqtt-kills", about: "300 kills under QoS 1 and 2", run: mqtt::kills },
    Campaign {
        name: "mqtt-power",
        about: "400 power cuts under QoS 1 and 2",
        run: mqtt::power_cuts,
    },
    Campaign {
        name: "mqtt-crowd",
        about: "10,000 connections and the worst of clients",
        run: mqtt::crowd,
    },
    Campaign {
        name: "mqtt-sessions",
        about: "10,000 simulations of clients and their sessions",
        run: simulations::mqtt_sessions,
    },
    Campaign { name: "mqtt-disks", about: "slow and full disks, clocks", run: mqtt::disks },
];

/// The campaigns of `soak workflow`.
pub const WORKFLOW: &[Campaign] = &[
    Campaign { name: "kills", about: "500 kills under load", run: workflows::kills },
    Campaign {
        name: "finds",
        about: "300 kills while readings and messages begin runs",
        run: workflows::finds,
    },
    Campaign {
        name: "twin-triggers",
        about: "300 kills while values of twins begin runs",
        run: workflows::twins,
    },
    Campaign {
        name: "journal",
        about: "a kill at each write of the journal",
        run: workflows::journal,
    },
    Campaign {
        name: "fleet",
        about: "200 kills and cuts while gateways hand runs to the hub",
        run: workflows::fleet,
    },
    Campaign {
        name: "reference",
        about: "100,000 random definitions, by the step machine and by a reference",
        run: workflows::reference,
    },
];

/// The campaigns of `soak firmware`.
pub const FIRMWARE: &[Campaign] = &[
    Campaign {
        name: "outages",
        about: "8 emulated devices and 400 times no power, no cable or no gateway",
        run: firmware::outages,
    },
    Campaign {
        name: "update",
        about: "150 times no power in the middle of an update of an emulated device",
        run: firmware::update,
    },
    Campaign {
        name: "post",
        about: "150 times no power, no cable or no gateway while a device posts by HTTP",
        run: firmware::post,
    },
];

/// The sets of campaigns by their names on the command line.
pub const SETS: [(&str, &[Campaign]); 6] = [
    ("first-light", FIRST_LIGHT),
    ("alerts", ALERTS),
    ("state", STATE),
    ("mqtt", MQTT),
    ("workflow", WORKFLOW),
    ("firmware", FIRMWARE),
];

/// Tells how far a campaign is, at each tenth.
fn tell(name: &str, done: u64, of: u64) {
    let tenth = |n: u64| n * 10 / of.max(1);
    if of >= 10 && done > 0 && tenth(done) != tenth(done - 1) {
        println!("{name}: {done} of {of}");
    }
}
