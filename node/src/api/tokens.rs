//! Access tokens: kept as hashes, listed, made and taken back.

mod devices;

pub use devices::{NewDevice, check_devices};

use crate::auth::{
    Admin, Auth, Grant, Kind, Scope, TokenBook, TokenHash, TokenMap, generate, hash,
};
use crate::http::{Json as Body, Path};
use crate::problem::Problem;
use crate::routes::{Created, NoContent, Routes};
use crate::time_text::Time;
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{Device, Reject, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store, Table, WriteError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const NAME_MAX: usize = 128;
const ID_BYTES: usize = 5;

/// The book of tokens with the store behind it; cheap to clone, part of a service's state.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
    map: Arc<TokenMap>,
}

fn encode(grant: &Grant) -> Vec<u8> {
    let mut out = Vec::new();
    let (kind, device) = match &grant.scope {
        Scope::Admin => (1, ""),
        Scope::Viewer => (2, ""),
        Scope::Ingest => (3, ""),
        Scope::Device(device) => (4, device.as_str()),
    };
    let mut put = || -> Result<(), Reject> {
        out.put_u8(kind)?;
        out.put_bytes(device.as_bytes())?;
        out.put_bytes(grant.id.as_bytes())?;
        out.put_bytes(grant.name.as_bytes())?;
        out.put_int(grant.expires.map_or(i64::MAX, |time| time.0))
    };
    put().expect("a growing buffer is never full");
    out
}

fn decode(value: &[u8]) -> Result<Grant, Reject> {
    let mut reader = Reader::new(value);
    let kind = reader.u8()?;
    let device = reader.str(NAME_MAX)?.to_owned();
    let scope = match kind {
        1 => Scope::Admin,
        2 => Scope::Viewer,
        3 => Scope::Ingest,
        4 => Scope::Device(device),
        _ => return Err(Reject::Malformed),
    };
    let (id, name) = (reader.str(NAME_MAX)?.to_owned(), reader.str(NAME_MAX)?.to_owned());
    let expires = Some(reader.int()?).filter(|at| *at != i64::MAX).map(Timestamp);
    reader.finish()?;
    Ok(Grant { id, scope, name, expires })
}

impl Tokens {
    /// Loads the tokens of a store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(store: Store) -> Result<Self, Fault> {
        let grants = store.read_blocking(|view: &Snapshot<'_>| {
            let mut out = Vec::new();
            for (key, value) in view.scan(Table::Token, &[], &[], usize::MAX)? {
                let hash: TokenHash = key
                    .try_into()
                    .map_err(|_| Fault::damaged("token record", "its key is no hash"))?;
                let grant = decode(&value)
                    .map_err(|reject| Fault::damaged("token record", reject.code()))?;
                out.push((hash, grant));
            }
            Ok(out)
        })?;
        let map = TokenMap::default();
        map.replace(grants);
        Ok(Self { store, map: Arc::new(map) })
    }

    /// The book.
    #[must_use]
    pub fn book(&self) -> Arc<dyn TokenBook> {
        Arc::clone(&self.map) as Arc<dyn TokenBook>
    }

    /// Whether a device has a token.
    #[must_use]
    pub fn has_device(&self, device: &str) -> bool {
        self.map.has_device(device)
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// What the store refused.
    pub async fn create(
        &self,
        scope: Scope,
        name: &str,
        expires: Option<Timestamp>,
    ) -> Result<(String, Grant), WriteError> {
        let (text, hash, grant) = new_token(&self.store, scope, name, expires);
        let value = encode(&grant);
        self.store.write(move |tx| Ok(tx.put(Table::Token, &hash, &value)?)).await?;
        self.map.insert(hash, grant.clone());
        Ok((text, grant))
    }

    async fn remove(&self, id: String) -> Result<bool, WriteError> {
        let (_, removed) = self
            .store
            .write(move |tx| {
                let all = tx.view().scan(Table::Token, &[], &[], usize::MAX)?;
                let found = all
                    .into_iter()
                    .find(|(_, value)| decode(value).is_ok_and(|grant| grant.id == id));
                let Some((key, _)) = found else { return Ok(None) };
                tx.delete(Table::Token, &key)?;
                Ok(TokenHash::try_from(key).ok())
            })
            .await?;
        if let Some(hash) = &removed {
            self.map.remove(hash);
        }
        Ok(removed.is_some())
    }
}

fn new_token(
    store: &Store,
    scope: Scope,
    name: &str,
    expires: Option<Timestamp>,
) -> (String, TokenHash, Grant) {
    let env = store.env();
    let text = generate(scope.kind(), |bytes| env.fill(bytes));
    let mut id = [0; ID_BYTES];
    env.fill(&mut id);
    let id = data_encoding::BASE32_NOPAD.encode(&id).to_ascii_lowercase();
    let name = if name.is_empty() { scope.kind().word() } else { name };
    let grant = Grant { id, scope, name: name.to_owned(), expires };
    let hash = hash(&text);
    (text, hash, grant)
}

/// Makes a token in a store that no service has open, as `init` does.
///
/// # Errors
/// What the store refused.
pub async fn create_token(store: &Store, scope: Scope, name: &str) -> Result<String, WriteError> {
    let tokens = Tokens { store: store.clone(), map: Arc::default() };
    Ok(tokens.create(scope, name, None).await?.0)
}

/// `GET` and `POST /v1/tokens`, `POST /v1/tokens/devices`, `DELETE /v1/tokens/{id}`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Tokens: FromRef<S>,
{
    let may_be_full = &[StatusCode::INSUFFICIENT_STORAGE];
    Routes::new()
        .get("/v1/tokens", "The access tokens, without their texts", list)
        .post("/v1/tokens", "Makes a token", create)
        .with(|operation| operation.may_fail(may_be_full))
        .post("/v1/tokens/devices", "Makes a token for each device of a list", devices::create)
        .with(|operation| operation.may_fail(may_be_full))
        .delete("/v1/tokens/{id}", "Takes a token back", remove)
}

/// An access token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
struct TokenShape {
    /// Its id.
    id: String,
    /// What somebody called it.
    name: String,
    /// `admin`, `viewer`, `ingest` or `device`.
    scope: &'static str,
    /// The device that a device token is of.
    device: Option<String>,
    /// When it stops working.
    expires: Option<Time>,
}

impl From<&Grant> for TokenShape {
    fn from(grant: &Grant) -> Self {
        Self {
            id: grant.id.clone(),
            name: grant.name.clone(),
            scope: grant.scope.kind().word(),
            device: grant.scope.device().map(str::to_owned),
            expires: grant.expires.map(Time),
        }
    }
}

/// The tokens there are.
#[derive(Serialize, JsonSchema)]
struct TokenList {
    tokens: Vec<TokenShape>,
}

/// A token that was just made.
#[derive(Serialize, JsonSchema)]
struct MadeToken {
    #[serde(flatten)]
    made: TokenShape,
    /// Its text, which is shown only now.
    token: String,
}

async fn list(_: Admin, State(tokens): State<Tokens>) -> Result<Json<TokenList>, Problem> {
    let records = tokens
        .store
        .read(|view| view.scan(Table::Token, &[], &[], usize::MAX))
        .await
        .map_err(|_| Problem::internal())?;
    let grants = records.iter().filter_map(|(_, value)| decode(value).ok());
    let tokens = grants.map(|grant| TokenShape::from(&grant)).collect();
    Ok(Json(TokenList { tokens }))
}

/// A token that is wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// `admin`, `viewer`, `ingest` or `device`.
    scope: String,
    /// The device that a device token is of.
    device: Option<String>,
    /// What to call it.
    #[serde(default)]
    name: String,
    /// When it is to stop working; never otherwise.
    expires: Option<Time>,
}

impl NewToken {
    fn scope(&self) -> Result<Scope, Problem> {
        let kinds = [Kind::Admin, Kind::Viewer, Kind::Ingest, Kind::Device];
        let kind = kinds.into_iter().find(|kind| kind.word() == self.scope);
        let invalid = |detail: String| Problem::invalid("invalid-token", detail);
        match (kind, &self.device) {
            (Some(Kind::Device), Some(device)) => {
                Device::new(device).map_err(|r| invalid(r.to_string()).at("/device"))?;
                Ok(Scope::Device(device.clone()))
            }
            (Some(Kind::Device), None) => {
                Err(invalid("a device token needs `device`".to_owned()).at("/device"))
            }
            (Some(_), Some(_)) => {
                Err(invalid("only a device token has `device`".to_owned()).at("/device"))
            }
            (Some(Kind::Admin), None) => Ok(Scope::Admin),
            (Some(Kind::Viewer), None) => Ok(Scope::Viewer),
            (Some(Kind::Ingest), None) => Ok(Scope::Ingest),
            (None, _) => Err(invalid(format!("`{}` is no scope", self.scope))
                .at("/scope")
                .expected("admin, viewer, ingest or device")),
        }
    }
}

async fn create(
    _: Admin,
    State(tokens): State<Tokens>,
    Body(new): Body<NewToken>,
) -> Result<Created<MadeToken>, Problem> {
    let scope = new.scope()?;
    devices::check_name(&new.name)
        .map_err(|reason| Problem::invalid("invalid-token", reason).at("/name"))?;
    let made = tokens.create(scope, &new.name, new.expires.map(|time| time.0)).await;
    let (text, grant) = made.map_err(|error| {
        tracing::error!(%error, "a token could not be stored");
        Problem::no_room("the token could not be stored")
    })?;
    Ok(Created(MadeToken { made: (&grant).into(), token: text }))
}

async fn remove(
    _: Admin,
    State(tokens): State<Tokens>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    match tokens.remove(id.clone()).await {
        Ok(true) => Ok(NoContent),
        Ok(false) => Err(Problem::not_found(format!("there is no token `{id}`"))),
        Err(error) => {
            tracing::error!(%error, "a token could not be removed");
            Err(Problem::internal())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reads_back() {
        for scope in [Scope::Admin, Scope::Viewer, Scope::Ingest, Scope::Device("d1".into())] {
            let expires = Some(Timestamp(5));
            let grant = Grant { id: "x".into(), scope, name: "n".into(), expires };
            assert_eq!(decode(&encode(&grant)).unwrap(), grant);
        }
    }
}
