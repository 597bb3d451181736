//! `init --listen` and `--tls`: who can reach a new node, and what that means for them.

use super::{Failure, Local, Service};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::Path;

/// The word for all interfaces.
const LAN: &str = "lan";

/// Who can reach a new node.
#[derive(Args)]
pub struct Reach {
    /// Who reaches its pages and endpoints: `lan` for everybody on the networks of this machine,
    /// or an address such as 192.168.1.5:8484; this machine only otherwise.
    #[arg(long, value_name = "lan|ADDRESS:PORT")]
    listen: Option<String>,
    /// Whether by HTTPS, with a certificate made here [default: self with `lan`, else off].
    #[arg(long, value_parser = PossibleValuesParser::new(["self", "off"]))]
    tls: Option<String>,
}

impl Reach {
    /// The keys of the configuration that follow from it.
    #[must_use]
    pub fn keys<S: Service>(&self) -> [(&'static str, Option<String>); 2] {
        let is_lan = self.listen.as_deref() == Some(LAN);
        let listen = match &self.listen {
            Some(_) if is_lan => Some(format!("0.0.0.0:{}", S::default().listen().port())),
            listen => listen.clone(),
        };
        let tls = self.tls.clone().or(is_lan.then(|| "self".to_owned()));
        [("http.listen", listen), ("http.tls", tls)]
    }
}

impl<S: Service> Local<S> {
    /// Says where `who` will reach a node that was just made, and what that exposes; `clients` are
    /// those among them that are no browsers.
    ///
    /// # Errors
    /// When its certificate cannot be made.
    pub fn print_reach(&self, who: &str, clients: &str) -> Result<(), Failure> {
        let (listen, tls) = (self.settings.listen(), self.tls()?);
        println!("{who} will reach it at {}", self.url()?);
        let is_alone = listen.ip().is_loopback();
        if is_alone {
            println!("  (from this machine only; `init --listen lan` opens it to the site)");
        } else {
            println!(
                "  Open to everybody on the networks of this machine: TCP port {}.",
                listen.port()
            );
            println!("  Without a token they see that it lives, and its sign-in page; no more.");
        }
        if let Some(tls) = &tls {
            println!(
                "  HTTPS, with a certificate made here. Browsers warn of it once; compare its"
            );
            println!("  SHA-256 fingerprint: {}", tls.fingerprint());
            let file = self.dir.join(crate::tls::SERVED);
            println!("  {clients} trust it by the file {} (curl --cacert).", file.display());
            println!("  If they speak no HTTPS, set `http.tls = \"off\"` in the configuration;");
            println!("  then whoever listens on the network can read and use their tokens.");
        } else if !is_alone {
            println!(
                "  Without HTTPS whoever listens on the network can read and use the tokens that"
            );
            println!(
                "  are sent. `http.tls = \"self\"` in {} ends that.",
                Path::display(&self.config)
            );
        }
        Ok(())
    }
}
