//! What happens from outside: packets, connections, writers, and everything that strikes.

use super::Fault;
use super::draft::Draft;
use super::fleet::HUB;
use super::link::{Conn, End, across};
use super::node::{At, Job, Node};
use super::world::{Event, World};
use holdfast_sync::identity::Role;
use holdfast_sync::session::{Backfill, Config, Input, Session};

impl World {
    /// Puts a frame on its way.
    pub(super) fn send(&mut self, from: At, frame: &[u8]) {
        let (now, line) = (self.now, self.plan.line);
        let Some(conn) = self.conns.get_mut(&from.0) else { return };
        let pipe = &mut conn.pipes[from.1];
        let sent = pipe.packets.len();
        let arrivals = pipe.send(frame, now, line, &mut self.rng);
        debug_assert_eq!(sent + arrivals.len(), pipe.packets.len(), "each packet arrives once");
        for arrival in arrivals {
            self.at(arrival - now, Event::Packet(across(from)));
        }
    }

    pub(super) fn packet(&mut self, to: At) {
        let Some(conn) = self.conns.get_mut(&to.0) else { return };
        let dark_until = self.dark_until[conn.gateway];
        if self.now < dark_until {
            // The transport sends it again until it arrives, if anybody still waits for it.
            self.judge.strike("packet held up in the dark", 1);
            let wait = dark_until - self.now + self.rng.within(1, 200);
            return self.at(wait, Event::Packet(to));
        }
        let packet = conn.pipes[1 - to.1].packets.pop_front().expect("an event for each packet");
        self.trace.update(&packet);
        let gateway = conn.gateway;
        let late = to.1 == 1 && self.conns.iter().any(|(id, c)| *id > to.0 && c.gateway == gateway);
        let Some(end) = self.end(to) else { return };
        end.reader.push(&packet);
        if late {
            self.judge.strike("packet of an old connection beside a new one", 1);
        }
        loop {
            let Some(end) = self.end(to) else { return };
            match end.reader.next_frame() {
                Ok(Some(frame)) => self.give(to, Input::Frame(frame)),
                Ok(None) => return,
                Err(reject) => return self.judge.find(format!("no frame: {reject}")),
            }
        }
    }

    pub(super) fn closed(&mut self, to: At) {
        let Some(conn) = self.conns.get(&to.0) else { return };
        let dark = self.now < self.dark_until[conn.gateway];
        if dark || !conn.pipes[1 - to.1].packets.is_empty() {
            return self.at(50, Event::Closed(to));
        }
        self.leave(to, false);
    }

    /// One end is done with its connection; the other is told when all that was sent has arrived.
    pub(super) fn leave(&mut self, at: At, tells: bool) {
        let Some(conn) = self.conns.get_mut(&at.0) else { return };
        let gateway = conn.gateway;
        conn.ends[at.1] = None;
        if conn.ends[1 - at.1].is_none() {
            self.conns.remove(&at.0);
        } else if tells {
            let wait = conn.pipes[at.1].last_arrival.saturating_sub(self.now) + 1;
            self.at(wait, Event::Closed(across(at)));
        }
        if at.1 == 0 {
            let wait = self.rng.within(1, 3_000);
            self.at(wait, Event::Connect(gateway));
        }
    }

    /// A gateway dials, unless it has a connection.
    pub(super) fn connect(&mut self, gateway: usize) {
        let of = |conn: &&Conn| conn.gateway == gateway;
        let mut own = self.conns.values().filter(of);
        if !self.nodes[gateway].up || own.any(|conn| conn.ends[0].is_some()) {
            return;
        }
        if self.now < self.dark_until[gateway] || !self.nodes[HUB].up {
            self.judge.strike("hub not reached", 1);
            let wait = self.rng.within(1_000, 5_000);
            return self.at(wait, Event::Connect(gateway));
        }
        let older = self.conns.iter().filter(|(_, conn)| conn.gateway == gateway);
        for id in older.map(|(id, _)| *id).collect::<Vec<_>>() {
            let wait = self.rng.within(0, 1_500);
            self.at(wait, Event::Replaced((id, 1)));
        }
        self.conn += 1;
        self.said = self.now;
        let ends = [(gateway, HUB), (HUB, gateway)].map(|(own, peer)| Some(self.open(own, peer)));
        let conn = Conn { gateway, ends, pipes: Default::default() };
        self.conns.insert(self.conn, conn);
        let id = self.conn;
        [0, 1].into_iter().for_each(|side| self.carry_out((id, side)));
    }

    fn open(&self, own: usize, peer: usize) -> End {
        let role = if own == HUB { Role::Hub } else { Role::Edge };
        let node: &Node = &self.nodes[own];
        let config = Config {
            node: node.id(),
            peer: self.nodes[peer].id(),
            initiator: own != HUB,
            membership: self.fleet.memberships[own].encode(),
            incarnation: node.start,
            version: "sim".to_owned(),
            backfill: Backfill::NewestFirst,
        };
        let session = Session::new(config, self.fleet.policy(role), self.clock(own));
        End::new(node, &self.nodes[peer], session)
    }

    pub(super) fn write_some(&mut self) {
        if self.now >= self.plan.heal_ms {
            return;
        }
        let writer = self.rng.within(0, self.nodes.len() as u64) as usize;
        if self.nodes[writer].up {
            self.write(writer);
        }
        let wait = self.rng.within(1, 2 * self.plan.write_ms);
        self.at(wait, Event::Write);
    }

    pub fn write(&mut self, node: usize) {
        let documents = self.fleet.documents(node);
        let draft = Draft::draw(&documents, node == HUB, self.plan.long, &mut self.rng);
        self.submit(node, Job::Write(draft));
    }

    pub(super) fn strike_some(&mut self) {
        if self.now >= self.plan.heal_ms {
            return;
        }
        let fault = self.rng.pick(&self.plan.faults.clone());
        if self.strike(fault) {
            self.judge.strike(fault.name(), 1);
        }
        let wait = self.rng.within(500, 2 * self.plan.strike_ms);
        self.at(wait, Event::Strike);
    }

    /// Lets a fault strike; `false` when there was nothing to strike.
    fn strike(&mut self, fault: Fault) -> bool {
        let any = self.rng.within(0, self.nodes.len() as u64) as usize;
        let restored = self.plan.restored.unwrap_or(any);
        match fault {
            Fault::Quiet => {}
            Fault::Cut => return self.break_one(false),
            Fault::GiveUp => return self.break_one(true),
            Fault::Dark => {
                let until = self.now + self.rng.within(3_000, 60_000);
                let all = self.rng.percent(30);
                for gateway in 1..self.nodes.len() {
                    if all || gateway == any.max(1) {
                        self.dark_until[gateway] = self.dark_until[gateway].max(until);
                    }
                }
            }
            Fault::Kill if self.nodes[any].up && self.rng.percent(50) => {
                self.nodes[any].fails = true;
            }
            Fault::Kill if self.nodes[any].up => self.lose_some_power(any, false),
            Fault::BackUp => self.nodes[restored].copy = Some(self.nodes[restored].disk.copy()),
            Fault::Restore if self.nodes[restored].up && self.nodes[restored].copy.is_some() => {
                self.lose_some_power(restored, true);
            }
            Fault::Clock => self.nodes[any].clock_ms = self.plan.clock(&mut self.rng),
            Fault::Kill | Fault::Restore => return false,
        }
        true
    }

    /// Some connection is gone; the gateway alone knows it if it `gives_up`.
    fn break_one(&mut self, gives_up: bool) -> bool {
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        if ids.is_empty() {
            return false;
        }
        let id = self.rng.pick(&ids);
        if gives_up {
            self.leave((id, 0), true);
        } else {
            self.cut(id);
        }
        true
    }

    /// What is on the way is lost, wherever in a frame that is.
    fn cut(&mut self, id: u64) {
        [0, 1].into_iter().for_each(|side| self.leave((id, side), false));
        self.conns.remove(&id);
    }

    /// A node loses its power at any moment.
    fn lose_some_power(&mut self, node: usize, restored: bool) {
        let synced = self.rng.percent(50);
        self.lose_power(node, synced, restored);
    }

    /// A node loses its power, just before the end of a sync or just behind it; `restored`, it
    /// comes back with its copy.
    pub fn lose_power(&mut self, node: usize, synced: bool, restored: bool) {
        if self.nodes[node].disk.unsynced() && !synced {
            self.judge.strike("writes lost that were not synced", 1);
        }
        self.nodes[node].stop(synced);
        let side = usize::from(node == HUB);
        let own = self.conns.iter().filter(|(_, conn)| node == HUB || conn.gateway == node);
        let ends: Vec<At> = own.map(|(id, _)| (*id, side)).collect();
        for at in ends {
            let tells = self.rng.percent(60);
            self.leave(at, tells);
        }
        if restored && let Some(copy) = self.nodes[node].copy.clone() {
            self.nodes[node].disk.restore(copy);
            self.nodes[node].restores += 1;
        }
        self.judge.forgotten(&mut self.nodes);
        let wait = self.rng.within(200, 5_000);
        self.at(wait, Event::Start { node, restored });
    }

    /// All gateways dial for the first time.
    pub(super) fn start_dialling(&mut self) {
        for gateway in 1..self.nodes.len() {
            let wait = self.rng.within(1, self.plan.first_connect_ms + 1);
            self.at(wait, Event::Connect(gateway));
        }
    }

    pub fn run_for(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.step(until) {}
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.fails = false);
        self.dark_until.iter_mut().for_each(|until| *until = self.now.min(*until));
        self.plan.line.heal();
    }

    /// There are no connections for a while.
    pub fn part(&mut self, ms: u64) {
        let until = self.now + ms;
        self.dark_until.fill(until);
        self.reconnect();
    }

    /// All gateways dial anew.
    pub fn reconnect(&mut self) {
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        ids.into_iter().for_each(|id| self.cut(id));
    }

    /// Whether every gateway has an open connection, nothing was said for a while, and nothing is
    /// on its way.
    pub fn is_quiet(&self) -> bool {
        let connected = (1..self.nodes.len())
            .all(|gateway| self.conns.values().any(|c| c.gateway == gateway && c.is_open()));
        let idle = self.nodes.iter().all(|node| node.up && node.doing.is_none());
        let arrived = |conn: &Conn| conn.pipes.iter().all(|pipe| pipe.packets.is_empty());
        let idle = idle && self.conns.values().all(arrived);
        connected && idle && self.now > self.said + 2_000
    }
}
