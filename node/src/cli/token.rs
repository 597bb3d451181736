//! `token`: what both services do with access tokens.

use super::{Failure, Local, Service};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// What is done with tokens that exist.
#[derive(Subcommand)]
pub enum TokenBook {
    /// Prints an address that signs a browser in, once, within ten minutes.
    #[command(after_help = "The address is the last line; whoever opens it has the rights of the \
        admin token of this data directory.")]
    Login,
    /// Lists tokens, without their texts.
    List,
    /// Makes a new admin token for commands on this machine; the node must not run.
    Renew,
    /// Takes a token back.
    Remove {
        /// Its id, from `token list`.
        id: String,
    },
}

impl TokenBook {
    /// Does it.
    ///
    /// # Errors
    /// What the node answers, or the store of one that does not run.
    pub async fn run<S: Service>(self, node: &Local<S>) -> Result<(), Failure> {
        match self {
            Self::Login => login(node).await?,
            Self::List => print_tokens(&node.call("GET", "/v1/tokens", None).await?),
            Self::Renew => {
                let key = node.key()?;
                node.make_admin_token(key, "made by token renew").await?;
                println!("There is a new admin token in {}.", node.admin_token_path().display());
            }
            Self::Remove { id } => {
                node.call("DELETE", &format!("/v1/tokens/{id}"), None).await?;
                println!("Token {id} is no longer valid.");
            }
        }
        Ok(())
    }
}

async fn login<S: Service>(node: &Local<S>) -> Result<(), Failure> {
    let made = node.call("POST", "/v1/session/codes", Some(&json!({}))).await?;
    let minutes = made["valid_s"].as_u64().unwrap_or(0) / 60;
    if let Some(tls) = node.served_fingerprint()? {
        println!("The browser warns of a certificate that it does not know, unless an authority");
        println!("gave it to you. Its SHA-256 fingerprint has to be: {tls}");
    }
    println!("This address signs a browser in, once, within the next {minutes} minutes:");
    println!("{}#login={}", node.url()?, made["code"].as_str().unwrap_or_default());
    Ok(())
}

/// What a new token is for.
#[derive(Args)]
pub struct TokenKind {
    /// Readings of this device.
    #[arg(long, value_name = "ID", group = "kind")]
    device: Option<String>,
    /// Readings of any device.
    #[arg(long, group = "kind")]
    ingest: bool,
    /// Reading only, for pages and programs.
    #[arg(long, group = "kind")]
    viewer: bool,
    /// Everything.
    #[arg(long, group = "kind")]
    admin: bool,
    /// What people call it.
    #[arg(long, default_value = "")]
    name: String,
    /// When it ends, such as 2027-01-01T00:00:00Z.
    #[arg(long)]
    expires: Option<String>,
}

impl TokenKind {
    /// The request for such a token; without a kind it is an ingest token.
    #[must_use]
    pub fn request(&self) -> Value {
        let scope = match self {
            Self { device: Some(_), .. } => "device",
            Self { viewer: true, .. } => "viewer",
            Self { admin: true, .. } => "admin",
            _ => "ingest",
        };
        let mut request = json!({ "scope": scope, "name": self.name });
        if let Some(device) = &self.device {
            request["device"] = device.as_str().into();
        }
        if let Some(expires) = &self.expires {
            request["expires"] = expires.as_str().into();
        }
        request
    }
}

/// Shows a new token; its text is the last line.
pub fn print_new_token(made: &Value) {
    let text = |key: &str| made[key].as_str().unwrap_or("-").to_owned();
    println!("Token {} ({}), valid from now on; it is shown only here:", text("id"), text("scope"));
    println!("{}", text("token"));
}

fn print_tokens(listed: &Value) {
    println!("{:<10} {:<8} {:<20} {:<26} NAME", "ID", "SCOPE", "DEVICE", "EXPIRES");
    for token in listed["tokens"].as_array().into_iter().flatten() {
        let text = |key: &str| token[key].as_str().unwrap_or("-").to_owned();
        let (id, scope, device) = (text("id"), text("scope"), text("device"));
        println!("{id:<10} {scope:<8} {device:<20} {:<26} {}", text("expires"), text("name"));
    }
}
