//! How a session comes to be open: hellos, who is let in, and what each side lists of its chains.

use super::{
    CHAINS_FRAME_BYTES, Frame, Held, Hello, LISTED_MAX, LocalChain, Now, Output, Phase, Range,
    RefusalCode, Reject, Session, closed_digest,
};
use crate::identity::Membership;
use crate::session::PROTOCOL;
use crate::session::policy::Admission;

impl Session {
    fn my_hello(&self, now: Now, closed_below: u64, digest: [u8; 16]) -> Frame {
        Frame::Hello(Hello {
            protocol: (*PROTOCOL.start(), *PROTOCOL.end()),
            version: self.config.version.clone(),
            wall_ms: now.wall_ms,
            incarnation: self.config.incarnation,
            membership: self.config.membership.clone(),
            closed_below,
            closed_digest: digest,
            held: self.outbox.held,
        })
    }

    pub(super) fn hello(&mut self, now: Now, hello: Hello) -> Result<(), Reject> {
        if hello.protocol.0 > *PROTOCOL.end() || hello.protocol.1 < *PROTOCOL.start() {
            let (low, high) = hello.protocol;
            let ours = format!("{} to {}", PROTOCOL.start(), PROTOCOL.end());
            let reason = format!("it speaks protocol {low} to {high}, we speak {ours}");
            self.refuse(RefusalCode::Version, reason);
            return Ok(());
        }
        let membership = match Membership::decode(&hello.membership) {
            Ok(membership) => membership,
            Err(error) => {
                self.refuse(RefusalCode::Membership, error.to_string());
                return Ok(());
            }
        };
        let fresh = match self.policy.admit(self.config.peer, &membership) {
            Admission::Admit => None,
            Admission::Renew(fresh) => Some(fresh),
            Admission::Refuse(code, reason) => {
                self.refuse(code, reason);
                return Ok(());
            }
        };
        self.outbox.theirs = hello.held;
        self.out.push_back(Output::Established {
            membership: Box::new(membership),
            incarnation: hello.incarnation,
            version: hello.version,
            clock_ahead_ms: hello.wall_ms.saturating_sub(now.wall_ms),
        });
        if self.config.initiator {
            let agreed = hello.closed_below == self.closed.0;
            self.closed_below = if agreed { self.closed.0 } else { 0 };
            self.phase = Phase::Lists;
            self.send_list();
        } else {
            self.closed = (hello.closed_below, hello.closed_digest);
            self.running = Some(hello.incarnation);
            self.phase = Phase::Loading;
            self.out.push_back(Output::LoadChains(self.config.peer));
        }
        if let Some(fresh) = fresh {
            self.renewal(&fresh);
        }
        Ok(())
    }

    /// The fresh membership goes out behind our hello, which the acceptor has yet to send.
    fn renewal(&mut self, fresh: &Membership) {
        let frame = Frame::Renewed(fresh.encode()).encode();
        if self.config.initiator {
            self.out.push_back(Output::Send(frame));
        } else {
            self.pending_renewal = Some(frame);
        }
    }

    pub(super) fn chains(&mut self, now: Now, chains: Vec<LocalChain>) {
        let place = |chain: &LocalChain| (chain.info.id.incarnation, chain.info.id.stream);
        self.listed = chains.iter().map(|chain| (place(chain), None)).collect();
        self.local = chains;
        match self.phase {
            Phase::Preparing => {
                self.closed = self.own_closed();
                let (below, digest) = self.closed;
                let hello = self.my_hello(now, below, digest);
                self.send(&hello);
                self.phase = Phase::Hello;
            }
            Phase::Loading => {
                let (below, digest) = self.closed;
                let agreed = below > 0 && self.digest_below(below) == digest;
                self.closed_below = if agreed { below } else { 0 };
                let hello = self.my_hello(now, self.closed_below, [0; 16]);
                self.send(&hello);
                if let Some(frame) = self.pending_renewal.take() {
                    self.out.push_back(Output::Send(frame));
                }
                self.phase = Phase::Lists;
                self.send_list();
            }
            _ => {}
        }
    }

    /// The greatest boot count below which the peer has acknowledged everything, with the digest.
    fn own_closed(&self) -> (u64, [u8; 16]) {
        let open = self.local.iter().filter(|chain| chain.acked != chain.info.frontier);
        let own = self.config.incarnation.boot;
        let below = open.map(|chain| chain.info.id.incarnation.boot).min().unwrap_or(own).min(own);
        (below, self.digest_below(below))
    }

    /// The digest over the chains of starts below `boot`. A hole that both sides have is equal too.
    fn digest_below(&self, boot: u64) -> [u8; 16] {
        let closed = self.local.iter().map(|chain| &chain.info);
        closed_digest(closed.filter(|c| c.id.incarnation.boot < boot && c.last() > 0))
    }

    fn send_list(&mut self) {
        let below = self.closed_below;
        let (mut held, mut bytes) = (Vec::new(), 0);
        let open = self.local.iter().filter(|c| c.info.id.incarnation.boot >= below);
        let mut frames = Vec::new();
        for chain in open {
            let info = &chain.info;
            held.push(Held {
                incarnation: info.id.incarnation,
                stream: info.id.stream,
                frontier: info.frontier.clone(),
                head: info.head,
            });
            bytes += 64 + info.frontier.as_slice().len() * 20;
            if bytes > CHAINS_FRAME_BYTES {
                frames.push(Frame::Chains { last: false, held: std::mem::take(&mut held) });
                bytes = 0;
            }
        }
        frames.push(Frame::Chains { last: true, held });
        frames.iter().for_each(|frame| self.send(frame));
    }

    pub(super) fn list(&mut self, last: bool, held: Vec<Held>) -> Result<(), Reject> {
        self.listed_count += held.len();
        if self.listed_count > LISTED_MAX || (held.is_empty() && !last) {
            return Err(Reject::Full);
        }
        for held in held {
            match self.listed.get_mut(&(held.incarnation, held.stream)) {
                Some(known) => *known = Some((held.frontier, held.head)),
                None => self.ahead += held.frontier.count(),
            }
        }
        if last {
            self.open();
        }
        Ok(())
    }

    /// Both lists are known: works out what the peer lacks.
    fn open(&mut self) {
        let mut listed = std::mem::take(&mut self.listed);
        let below = self.closed_below;
        let local = std::mem::take(&mut self.local);
        for chain in local.iter().filter(|c| c.info.id.incarnation.boot >= below) {
            let place = (chain.info.id.incarnation, chain.info.id.stream);
            let (theirs, head) = listed.remove(&place).flatten().unwrap_or_default();
            if !theirs.as_slice().is_empty()
                && theirs.max() == chain.info.last()
                && head != chain.info.head
            {
                let (id, seq) = (chain.info.id, chain.info.last());
                let reason =
                    format!("chain {id} ends in different entries at {seq} here and there");
                return self.refuse(RefusalCode::Fork, reason);
            }
            if chain.acked != theirs {
                self.out.push_back(Output::Acked(chain.info.no, Box::new(theirs.clone())));
            }
            let beyond = Range::new(chain.info.last() + 1, theirs.max());
            self.ahead += beyond.map_or(0, Range::count);
            if self.running != Some(chain.info.id.incarnation) {
                self.plan.add(chain, theirs);
            }
        }
        if self.config.initiator && self.ahead > 0 {
            self.out.push_back(Output::PeerAhead(self.ahead));
        }
        for (no, (id, last)) in std::mem::take(&mut self.early) {
            self.plan.advance(no, id, last);
        }
        self.phase = Phase::Open;
        if self.outbox.is_on() {
            self.outbox.gathering = true;
            self.out.push_back(Output::Begin(self.outbox.theirs));
        }
    }
}
