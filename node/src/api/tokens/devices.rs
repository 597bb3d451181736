//! Tokens for many devices at once: all of them or, when one line is wrong, none.
//!
//! A device that has a token already keeps it and gets no other, so a list may be given again after
//! devices were added to it.

use super::{MadeToken, NAME_MAX, TokenShape, Tokens, decode, encode, new_token};
use crate::auth::{Admin, Grant, Scope};
use crate::http::Json as Body;
use crate::problem::Problem;
use crate::routes::Created;
use axum::extract::State;
use holdfast_core::Device;
use holdfast_sync::Fault;
use holdfast_sync::store::{Table, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Devices of one request. Their tokens are written in one transaction.
const MOST: usize = 10_000;

/// A device that is to have a token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its id.
    pub device: String,
    /// What people call the token.
    #[serde(default)]
    pub name: String,
}

/// Finds what is wrong in a list, as places in it and sentences.
#[must_use]
pub fn check_devices(devices: &[NewDevice]) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (at, new) in devices.iter().enumerate() {
        if let Err(reject) = Device::new(&new.device) {
            wrong.push((at, format!("`{}` is no device: {reject}", new.device)));
        }
        if let Err(reason) = check_name(&new.name) {
            wrong.push((at, reason));
        }
        if first.insert(&new.device, at).is_some() {
            wrong.push((at, format!("device `{}` is there twice", new.device)));
        }
    }
    if devices.len() > MOST {
        wrong.push((MOST, format!("{} devices, at most {MOST} at a time", devices.len())));
    }
    wrong
}

/// Whether a token may be called so.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(format!("a name has at most {NAME_MAX} bytes of printable text"));
    }
    Ok(())
}

/// Devices that are to have tokens.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Devices {
    devices: Vec<NewDevice>,
}

/// What became of a list of devices.
#[derive(Serialize, JsonSchema)]
pub(super) struct DeviceTokens {
    /// Tokens that were made, in the order of the list.
    made: Vec<MadeToken>,
    /// Tokens that devices of the list had already.
    known: Vec<TokenShape>,
}

pub(in crate::api) async fn create(
    _: Admin,
    State(tokens): State<Tokens>,
    Body(Devices { devices }): Body<Devices>,
) -> Result<Created<DeviceTokens>, Problem> {
    if let Some((at, reason)) = check_devices(&devices).into_iter().next() {
        return Err(Problem::invalid("invalid-token", reason).at(format!("/devices/{at}")));
    }
    let (made, known) = tokens.create_for(devices).await.map_err(|error| {
        tracing::error!(%error, "tokens could not be stored");
        Problem::no_room("no token was stored")
    })?;
    let made = made.into_iter().map(|(token, grant)| MadeToken { made: (&grant).into(), token });
    let known = known.iter().map(TokenShape::from).collect();
    Ok(Created(DeviceTokens { made: made.collect(), known }))
}

impl Tokens {
    /// Makes a token for each device that has none; gives those made and those that were there.
    async fn create_for(
        &self,
        devices: Vec<NewDevice>,
    ) -> Result<(Vec<(String, Grant)>, Vec<Grant>), holdfast_sync::store::WriteError> {
        let store = self.store.clone();
        let write = move |tx: &mut WriteTx<'_>| {
            let mut held = device_tokens(tx)?;
            let (mut made, mut known) = (Vec::new(), Vec::new());
            for NewDevice { device, name } in devices {
                if let Some(grant) = held.remove(&device) {
                    known.push(grant);
                    continue;
                }
                let (text, hash, grant) = new_token(&store, Scope::Device(device), &name, None);
                tx.put(Table::Token, &hash, &encode(&grant))?;
                made.push((text, hash, grant));
            }
            Ok((made, known))
        };
        let (_committed, (made, known)) = self.store.write(write).await?;
        for (_, hash, grant) in &made {
            self.map.insert(*hash, grant.clone());
        }
        Ok((made.into_iter().map(|(text, _, grant)| (text, grant)).collect(), known))
    }
}

/// A valid token of each device that has one.
fn device_tokens(tx: &WriteTx<'_>) -> Result<BTreeMap<String, Grant>, Fault> {
    let now = tx.now();
    let records = tx.view().scan(Table::Token, &[], &[], usize::MAX)?;
    let grants = records.iter().filter_map(|(_, value)| decode(value).ok());
    let valid = grants.filter(|grant| grant.expires.is_none_or(|end| end > now));
    Ok(valid.filter_map(|grant| Some((grant.scope.device()?.to_owned(), grant))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(device: &str, name: &str) -> NewDevice {
        NewDevice { device: device.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn each_wrong_device_is_named_with_its_place() {
        assert_eq!(check_devices(&[new("a", ""), new("b", "the pump")]), []);
        let list = [new("a", ""), new("b c", ""), new("a", ""), new("d", "\u{7}"), new("", "")];
        let wrong = check_devices(&list);
        let places: Vec<_> = wrong.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [1, 2, 3, 4], "{wrong:?}");
        assert!(wrong[0].1.starts_with("`b c` is no device"), "{wrong:?}");
        assert!(wrong[1].1.contains("is there twice"), "{wrong:?}");
        let many: Vec<_> = (0..=MOST).map(|number| new(&number.to_string(), "")).collect();
        assert_eq!(check_devices(&many).len(), 1);
    }
}
