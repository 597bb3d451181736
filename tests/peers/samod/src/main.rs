//! What samod takes for the work of `cargo xtask bench docs`: two repositories in this process, a
//! connection over TCP between them, and every byte that either side writes to it counted.
//!
//! Both keep their documents in files, which samod does not sync. A step is over when the one that
//! wrote knows that the other has everything; its bytes are counted once nothing was written for a
//! second. Prints a line for each figure: its name, a blank, the number.

mod counted;

use automerge::transaction::Transactable;
use automerge::{Automerge, AutomergeError, ROOT};
use counted::{Counted, Meter};
use futures::future::{BoxFuture, join_all};
use samod::storage::TokioFilesystemStorage;
use samod::{AcceptorHandle, BackoffConfig, DialError, Dialer, DocHandle, Repo, Transport};
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

const DOCUMENTS: u64 = 1_000;
const KEYS: u64 = 20;
const CHANGED: u64 = 100;
/// After this long without a byte nothing more follows.
const QUIET: Duration = Duration::from_secs(1);

type Failure = Box<dyn Error + Send + Sync>;

/// What stands under a key of a document; the same in every peer.
fn value(document: u64, key: u64) -> i64 {
    ((document * 7_919 + key * 104_729) % 1_000_003) as i64
}

/// The side that has the documents.
struct Server {
    repo: Repo,
    acceptor: AcceptorHandle,
    documents: Vec<DocHandle>,
}

/// Dials with every byte counted.
struct Dial {
    to: SocketAddr,
    meter: Meter,
}

impl Dialer for Dial {
    type Error = Infallible;

    fn url(&self) -> Url {
        Url::parse(&format!("tcp://{}", self.to)).expect("an address makes a URL")
    }

    fn connect(&self) -> BoxFuture<'static, Result<Transport, DialError<Infallible>>> {
        let (to, meter) = (self.to, self.meter.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(to).await.map_err(DialError::transient)?;
            stream.set_nodelay(true).map_err(DialError::transient)?;
            Ok(Transport::from_tokio_io(Counted::new(stream, meter)))
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let server = Server::filled(&dir.path().join("server")).await?;
    let client = repo(&dir.path().join("client")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (to, meter) = (listener.local_addr()?, Meter::default());
    let (acceptor, counted) = (server.acceptor.clone(), meter.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let transport = Transport::from_tokio_io(Counted::new(stream, counted.clone()));
            if acceptor.accept(transport).is_err() {
                return;
            }
        }
    });
    let dial =
        || client.dial(BackoffConfig::default(), Arc::new(Dial { to, meter: meter.clone() }));

    let started = Instant::now();
    let link = dial()?;
    server.until_there().await;
    println!("first_sync_s {:.3}", started.elapsed().as_secs_f64());
    println!("first_sync_bytes {}", meter.quiet(QUIET).await);
    link.close();
    server.until_gone().await;

    let _ = meter.take();
    let link = dial()?;
    server.until_there().await;
    println!("idle_bytes {}", meter.quiet(QUIET).await);
    link.close();
    server.until_gone().await;

    server.change(0, 1)?;
    let _ = meter.take();
    let _link = dial()?;
    server.until_there().await;
    println!("offline_change_bytes {}", meter.quiet(QUIET).await);

    server.change(1, 2)?;
    server.until_there().await;
    println!("live_change_bytes {}", meter.quiet(QUIET).await);

    for number in 0..CHANGED {
        server.change(number, 3)?;
    }
    server.until_there().await;
    println!("changed_100_bytes {}", meter.quiet(QUIET).await);
    client.stop().await;
    server.repo.stop().await;
    Ok(())
}

async fn repo(dir: &Path) -> Repo {
    Repo::build_tokio().with_storage(TokioFilesystemStorage::new(dir)).load().await
}

impl Server {
    async fn filled(dir: &Path) -> Result<Self, Failure> {
        let repo = repo(dir).await;
        let mut documents = Vec::new();
        for number in 0..DOCUMENTS {
            let mut document = Automerge::new();
            let put = |tx: &mut automerge::transaction::Transaction<'_>| {
                (0..KEYS).try_for_each(|key| tx.put(ROOT, format!("k{key:02}"), value(number, key)))
            };
            document.transact::<_, _, AutomergeError>(put).map_err(|failed| failed.error)?;
            documents.push(repo.create(document).await?);
        }
        let acceptor = repo.make_acceptor(Url::parse("tcp://server")?)?;
        Ok(Self { repo, acceptor, documents })
    }

    /// Sets one key of a document.
    fn change(&self, number: u64, to: i64) -> Result<(), Failure> {
        let put = |tx: &mut automerge::transaction::Transaction<'_>| tx.put(ROOT, "k07", to);
        let document = &self.documents[number as usize];
        let put = document.with_document(|am| am.transact::<_, _, AutomergeError>(put));
        put.map(|_| ()).map_err(|failed| failed.error.into())
    }

    /// Waits until the peer is known to have all documents.
    async fn until_there(&self) {
        let peer = loop {
            let (peers, mut changed) = self.repo.connected_peers();
            if let Some(peer) = peers.first() {
                break peer.id;
            }
            let _ = futures::StreamExt::next(&mut changed).await;
        };
        join_all(self.documents.iter().map(|document| document.they_have_our_changes(peer))).await;
    }

    /// Waits until nobody is connected.
    async fn until_gone(&self) {
        loop {
            let (peers, mut changed) = self.repo.connected_peers();
            if peers.is_empty() {
                return;
            }
            let _ = futures::StreamExt::next(&mut changed).await;
        }
    }
}
