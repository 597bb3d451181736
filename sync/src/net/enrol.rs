//! The enrolment exchange: four messages on a stream of their own.
//!
//! The node names the secret it holds, the hub shows who it is, the node proves the secret, the hub
//! answers with a membership or a reason. Neither stores anything before the other is proven.
//! Byte-exact page: `docs/formats/session.md`.

use super::transport::{ENROL, Net, NetError};
use crate::env::Env;
use crate::identity::{Invitation, Membership, Proof, Role};
use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{NodeId, Reject};
use std::sync::Arc;
use std::time::Duration;

const FORMAT: u8 = 1;
const MESSAGE_MAX: usize = 2048;
const REASON_MAX: usize = 512;
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a node that wants to join has shown.
#[derive(Debug)]
pub struct Joined {
    /// The node, proven by the transport.
    pub node: NodeId,
    /// Which secret it names.
    pub secret_id: [u8; 16],
    /// The node's nonce and the hub's.
    pub nonces: [[u8; 16]; 2],
    /// Its proof of the secret.
    pub proof: Proof,
}

/// Why a node may not join.
#[derive(Clone, Debug)]
pub struct Refusal(pub String);

/// The hub's side of enrolment.
pub trait Enroller: Send + Sync {
    /// The hub's own membership.
    fn membership(&self) -> Vec<u8>;
    /// Judges a request; a membership is returned only when it is on disk that the secret is used.
    fn enrol(&self, request: Joined) -> BoxFuture<'static, Result<Membership, Refusal>>;
}

/// Why joining did not work.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The link broke in the middle.
    #[error("the link broke: {0}")]
    Link(#[from] std::io::Error),
    /// The other side does not follow the protocol.
    #[error("the answer is not valid: {0}")]
    Protocol(#[from] Reject),
    /// Whoever answered is not the hub of the inviting fleet.
    #[error("whoever answered is not the inviting hub: {0}")]
    NotTheHub(String),
    /// The hub refuses.
    #[error("the hub refuses: {0}")]
    Refused(String),
    /// It took too long.
    #[error("the exchange took too long")]
    Timeout,
}

async fn send<W: AsyncWrite + Unpin>(output: &mut W, message: &[u8]) -> Result<(), EnrolError> {
    let length = (message.len() as u16).to_be_bytes();
    output.write_all(&[&length, message].concat()).await?;
    Ok(output.flush().await?)
}

async fn receive<R: AsyncRead + Unpin>(input: &mut R) -> Result<Vec<u8>, EnrolError> {
    let mut length = [0; 2];
    input.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MESSAGE_MAX {
        return Err(Reject::Malformed.into());
    }
    let mut message = vec![0; length];
    input.read_exact(&mut message).await?;
    Ok(message)
}

/// Joins the fleet of `invitation` at a connected hub.
pub(super) async fn join(
    net: &Net,
    node: NodeId,
    hub: NodeId,
    invitation: &Invitation,
    env: &Env,
) -> Result<Membership, EnrolError> {
    let mut stream = net.open(&hub, ENROL).await?;
    let exchange = ask(&mut stream, node, hub, invitation, env);
    tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await.map_err(|_| EnrolError::Timeout)?
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    node: NodeId,
    hub: NodeId,
    invitation: &Invitation,
    env: &Env,
) -> Result<Membership, EnrolError> {
    let mut nonce = [0; 16];
    env.fill(&mut nonce);
    let mut request = vec![FORMAT];
    request.put(&invitation.secret_id())?;
    request.put(&nonce)?;
    send(stream, &request).await?;

    let answer = receive(stream).await?;
    let mut reader = Reader::new(&answer);
    if reader.u8()? != FORMAT {
        return Err(Reject::Version.into());
    }
    let hub_nonce = reader.array()?;
    let not_hub = |why: String| EnrolError::NotTheHub(why);
    let shown = Membership::decode(reader.rest()).map_err(|error| not_hub(error.to_string()))?;
    let checked = shown.check(invitation.fleet, hub, Role::Hub);
    checked.map_err(|error| not_hub(error.to_string()))?;

    let proof = Proof::new(&invitation.proof_key(), &node, &hub, &[nonce, hub_nonce]);
    send(stream, &proof.0).await?;

    let verdict = receive(stream).await?;
    let mut reader = Reader::new(&verdict);
    match reader.u8()? {
        0 => {
            let granted = Membership::decode(reader.rest());
            let granted = granted.map_err(|error| not_hub(error.to_string()))?;
            let checked = granted.check(invitation.fleet, node, Role::Edge);
            checked.map_err(|error| not_hub(error.to_string()))?;
            Ok(granted)
        }
        _ => Err(EnrolError::Refused(reader.str(REASON_MAX)?.to_owned())),
    }
}

/// Answers one node that wants to join.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    node: NodeId,
    enroller: Arc<dyn Enroller>,
    env: Env,
) {
    let exchange = serve(&mut stream, node, enroller.as_ref(), &env);
    let result = match tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await {
        Ok(result) => result,
        Err(_) => Err(EnrolError::Timeout),
    };
    match result {
        Ok(Ok(membership)) => tracing::info!(peer = %node.short(), %membership, "a node joined"),
        Ok(Err(Refusal(reason))) => {
            tracing::warn!(peer = %node.short(), reason, "a node may not join");
        }
        Err(error) => tracing::info!(peer = %node.short(), %error, "an enrolment was not finished"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    node: NodeId,
    enroller: &dyn Enroller,
    env: &Env,
) -> Result<Result<Membership, Refusal>, EnrolError> {
    let request = receive(stream).await?;
    let mut reader = Reader::new(&request);
    if reader.u8()? != FORMAT {
        return Err(Reject::Version.into());
    }
    let (secret_id, nonce) = (reader.array()?, reader.array()?);
    let mut hub_nonce = [0; 16];
    env.fill(&mut hub_nonce);
    let mut shown = vec![FORMAT];
    shown.put(&hub_nonce)?;
    shown.put(&enroller.membership())?;
    send(stream, &shown).await?;

    let proof = receive(stream).await?;
    let proof = Proof(proof.as_slice().try_into().map_err(|_| Reject::Malformed)?);
    let request = Joined { node, secret_id, nonces: [nonce, hub_nonce], proof };
    let verdict = enroller.enrol(request).await;
    let mut message = Vec::new();
    match &verdict {
        Ok(membership) => {
            message.put_u8(0)?;
            message.put(&membership.encode())?;
        }
        Err(Refusal(reason)) => {
            message.put_u8(1)?;
            let end = reason.floor_char_boundary(REASON_MAX);
            message.put_bytes(&reason.as_bytes()[..end])?;
        }
    }
    send(stream, &message).await?;
    // The node closes when it has read the answer.
    let mut end = [0; 1];
    let _ = stream.read(&mut end).await;
    Ok(verdict)
}
