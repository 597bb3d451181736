//! Who can be told, and on which ways, in the configuration: `[mail]` and a `[notify.NAME]` each.
//!
//! All of it is judged when the node starts, with the files that it names. A secret is read from a
//! file of its own and never shown; of the URL of a webhook, which may hold one, the server is.

use super::Notices;
use super::record::CHANNEL_MAX_BYTES;
use super::smtp::Mailer;
use crate::requests::{Limits, PLACES, Place, Requests};
use crate::tls::Authorities;
use holdfast_sync::env::Env;
use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Requests to one target in a second.
const RATE_MAX: usize = 10_000;
/// Targets of a node.
const TARGETS_MAX: usize = 100;
/// Addresses of a target.
pub(super) const ADDRESSES_MAX: usize = 16;
/// Bytes of the name of a target.
const NAME_MAX_BYTES: usize = 64;

/// `[workflows]`: what all requests of workflows have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workflows {
    /// The file of authorities that are believed beside those of the machine, relative to the
    /// configuration.
    pub ca_file: String,
    /// Requests to one target at once.
    pub target_at_once: usize,
    /// Requests to one target in a second.
    pub target_rate: u32,
}

impl Default for Workflows {
    fn default() -> Self {
        Self { ca_file: String::new(), target_at_once: 8, target_rate: 50 }
    }
}

impl Workflows {
    /// What makes requests, with files in `folder`, and whom it believes.
    ///
    /// # Errors
    /// A sentence about what cannot be used, with its key.
    pub fn requests(&self, folder: &Path, env: Env) -> Result<(Requests, Authorities), String> {
        let authorities = Authorities::read(folder, &self.ca_file);
        let authorities = authorities.map_err(|why| format!("`workflows.ca_file`: {why}"))?;
        let limits = Limits { at_once: self.target_at_once, rate: self.target_rate };
        for (key, value, most) in [
            ("target_at_once", limits.at_once, PLACES),
            ("target_rate", limits.rate as usize, RATE_MAX),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("`workflows.{key}` is {value}: expected 1 to {most}"));
            }
        }
        Ok((Requests::new(&authorities, limits, env)?, authorities))
    }
}

/// What asks others for something, and who can be told by `program`, with files in `folder`.
///
/// # Errors
/// A sentence about keys or files that cannot be used.
pub fn outward(
    workflows: &Workflows,
    told: (&Mail, &Targets),
    (folder, program): (&Path, &'static str),
    env: Env,
) -> Result<(Requests, Notices), String> {
    let (requests, authorities) = workflows.requests(folder, env)?;
    let notices = Notices::of(told, folder, &authorities, (requests.clone(), program))?;
    Ok((requests, notices))
}

/// `[mail]`: the server that takes mail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// Its name or address.
    pub server: String,
    /// Its port; 0 for the usual one.
    pub port: u16,
    /// How the connection is secured.
    pub tls: MailTls,
    /// Who signs in there.
    pub user: String,
    /// The file with the password, relative to the configuration.
    pub password_file: String,
    /// From whom mail is.
    pub from: String,
}

/// How the connection to a mail server is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// It begins plain and goes on with TLS, or not at all.
    #[default]
    Starttls,
    /// With TLS from the beginning.
    Tls,
    /// Not.
    None,
}

/// `[notify.NAME]`: somebody who can be told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Addresses, each of which gets a mail.
    #[serde(default)]
    pub email: Vec<String>,
    /// A URL that is posted to.
    #[serde(default)]
    pub webhook: String,
}

/// All targets by their names.
pub type Targets = BTreeMap<String, Target>;

/// A way on which somebody is told.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// A mail to one of the addresses of a target.
    Mail(Mailbox),
    /// A request.
    Webhook(Place),
}

impl Way {
    /// By which it is known in records.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Mail(to) => format!("mail {}", to.email),
            Self::Webhook(_) => "webhook".to_owned(),
        }
    }
}

/// What is sent with, and the ways to each target.
pub(super) struct Ways {
    pub(super) mailer: Option<Mailer>,
    pub(super) requests: Requests,
    pub(super) targets: BTreeMap<String, Vec<Way>>,
}

impl Ways {
    /// Reads the configuration in `folder`.
    pub(super) fn of(
        (mail, targets): (&Mail, &Targets),
        folder: &Path,
        authorities: &Authorities,
        requests: Requests,
    ) -> Result<Self, String> {
        let mailer = mailer(mail, folder, authorities)?;
        if targets.len() > TARGETS_MAX {
            let count = targets.len();
            return Err(format!("{count} sections `notify.NAME`: expected at most {TARGETS_MAX}"));
        }
        let mut all = BTreeMap::new();
        for (name, target) in targets {
            let wrong = |why: String| format!("`notify.{name}`: {why}");
            let ways = ways(name, target).map_err(wrong)?;
            if mailer.is_none() && ways.iter().any(|way| matches!(way, Way::Mail(_))) {
                return Err(wrong("`email` needs `mail.server`".to_owned()));
            }
            all.insert(name.clone(), ways);
        }
        Ok(Self { mailer, requests, targets: all })
    }
}

fn ways(name: &str, target: &Target) -> Result<Vec<Way>, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=NAME_MAX_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(format!(
            "no name of a target: expected 1 to {NAME_MAX_BYTES} characters of A-Z a-z 0-9 . _ -"
        ));
    }
    if target.email.len() > ADDRESSES_MAX {
        return Err(format!("`email`: expected at most {ADDRESSES_MAX} addresses"));
    }
    let mut out = Vec::new();
    for address in &target.email {
        let mailbox: Mailbox = address.parse().map_err(|error| {
            format!("`email`: `{address}` is no address ({error}): expected NAME@DOMAIN")
        })?;
        let way = Way::Mail(mailbox);
        if way.name().len() > CHANNEL_MAX_BYTES {
            return Err(format!("`email`: `{address}` is longer than an address can be"));
        }
        out.push(way);
    }
    if !target.webhook.is_empty() {
        let place = Place::of(&target.webhook);
        out.push(Way::Webhook(place.map_err(|why| format!("`webhook`: {why}"))?));
    }
    let mut names: Vec<_> = out.iter().map(Way::name).collect();
    names.sort();
    names.dedup();
    match out.len() {
        0 => Err("nobody is told: expected `email`, `webhook` or both".to_owned()),
        count if count > names.len() => Err("`email`: an address stands there twice".to_owned()),
        _ => Ok(out),
    }
}

fn mailer(mail: &Mail, folder: &Path, trusted: &Authorities) -> Result<Option<Mailer>, String> {
    let Mail { server, port, tls, user, password_file, from } = mail;
    if server.is_empty() {
        let set = [("user", user), ("password_file", password_file), ("from", from)];
        return match set.iter().find(|(_, value)| !value.is_empty()) {
            Some((key, _)) => Err(format!("`mail.{key}` needs `mail.server`")),
            None => Ok(None),
        };
    }
    let sender: Mailbox = from.parse().map_err(|error| {
        format!("`mail.from`: `{from}` is no address ({error}): expected NAME@DOMAIN")
    })?;
    let password = match (user.is_empty(), password_file.is_empty()) {
        (true, true) => None,
        (false, false) if *tls == MailTls::None => {
            return Err("`mail.user` needs `mail.tls`: a password is not sent in the clear".into());
        }
        (false, false) => {
            let path = folder.join(password_file);
            let read = std::fs::read_to_string(&path);
            let read =
                read.map_err(|e| format!("`mail.password_file`: {}: {e}", path.display()))?;
            Some((user.clone(), read.trim_end_matches(['\r', '\n']).to_owned()))
        }
        _ => return Err("`mail.user` and `mail.password_file` need each other".to_owned()),
    };
    let port = match (*port, tls) {
        (0, MailTls::Starttls) => 587,
        (0, MailTls::Tls) => 465,
        (0, MailTls::None) => 25,
        (port, _) => port,
    };
    Mailer::new((server, port, *tls), sender, password, trusted).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
    use super::*;

    fn judged(text: &str) -> Result<usize, String> {
        #[derive(Deserialize)]
        struct Both {
            #[serde(default)]
            mail: Mail,
            #[serde(default)]
            notify: Targets,
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "secret\n").unwrap();
        let Both { mail, notify } = toml::from_str(text).unwrap();
        let env = holdfast_sync::env::System::env();
        let (requests, none) = Workflows::default().requests(dir.path(), env).unwrap();
        let ways = Ways::of((&mail, &notify), dir.path(), &none, requests);
        ways.map(|ways| ways.targets.values().map(Vec::len).sum())
            .map_err(|why| why.replace(&dir.path().display().to_string(), "DIR"))
    }

    const MAIL: &str = "[mail]\nserver = \"mx\"\nfrom = \"gw@site.example\"\n";

    #[test]
    fn addresses_and_a_webhook_are_ways_to_a_target() {
        let text = "[notify.on-call]\nemail = [\"a@b.c\", \"d@b.c\"]\nwebhook = \"https://h/x\"";
        assert_eq!(judged(&format!("{MAIL}{text}")), Ok(3));
        let signed_in = "user = \"gw\"\npassword_file = \"pw\"\n";
        assert_eq!(judged(&format!("{MAIL}{signed_in}{text}")), Ok(3));
        assert_eq!(judged(""), Ok(0));
    }

    #[test]
    fn what_cannot_be_told_is_said_at_the_start_with_its_key() {
        for (text, wanted) in [
            ("[notify.a]", "`notify.a`: nobody is told: expected `email`, `webhook` or both"),
            ("[notify.a]\nemail = [\"a@b.c\"]", "`notify.a`: `email` needs `mail.server`"),
            ("[notify.'a b']\nwebhook = \"http://h\"", "`notify.a b`: no name of a target"),
            ("[notify.a]\nwebhook = \"h\"", "`notify.a`: `webhook`: expected http://HOST/..."),
            ("[mail]\nfrom = \"a@b.c\"", "`mail.from` needs `mail.server`"),
            ("[mail]\nserver = \"mx\"", "`mail.from`: `` is no address"),
            ("[mail]\nserver=\"mx\"\nfrom=\"a@b.c\"\nuser=\"u\"", "`mail.password_file` need each"),
            (
                "[mail]\nserver=\"mx\"\nfrom=\"a@b.c\"\nuser=\"u\"\npassword_file=\"other\"",
                "`mail.password_file`: DIR/other: No such file",
            ),
            (
                "[mail]\nserver=\"mx\"\nfrom=\"a@b.c\"\nuser=\"u\"\npassword_file=\"pw\"\n\
                 tls=\"none\"",
                "`mail.user` needs `mail.tls`",
            ),
        ] {
            let told = judged(text).unwrap_err();
            assert!(told.contains(wanted), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        for (workflows, wanted) in [
            (Workflows { target_at_once: 0, ..Workflows::default() }, "expected 1 to 64"),
            (Workflows { target_rate: 0, ..Workflows::default() }, "expected 1 to 10000"),
            (Workflows { ca_file: "none".into(), ..Workflows::default() }, "`workflows.ca_file`"),
        ] {
            let env = holdfast_sync::env::System::env();
            let told = workflows.requests(Path::new("/nowhere"), env).err().unwrap();
            assert!(told.contains(wanted), "{told}");
        }
        let twice = format!("{MAIL}[notify.a]\nemail = [\"a@b.c\", \"a@b.c\"]");
        assert_eq!(
            judged(&twice).unwrap_err(),
            "`notify.a`: `email`: an address stands there twice"
        );
    }
}
