//! Telling somebody: mail servers and webhooks that take what they are told, or do not.

use super::runs::{HOUR_MS, Hand, hand, until};
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::effect::Kind;
use holdfast_core::flow::{Code, Phase};
use holdfast_core::log::runs::RunId;
use holdfast_core::state::Role;
use holdfast_node::flow;
use holdfast_node::notify::{
    self, Channel, Mail, Notice, NoticeId, Notices, State, Targets, Workflows,
};
use holdfast_node::runs::{Abilities, Asked, Desk, Failure, Local, Outside, Run, Runs, Start};
use holdfast_sync::Fault;
use holdfast_sync::env::Source;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{self, Overflow, Store, Table, WriteTx};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::sync::CancellationToken;

/// Tells somebody, and nothing else.
struct Teller(Notices);

impl Local for Teller {
    fn kinds(&self) -> u32 {
        Kind::Notify.bit()
    }

    fn has_tag(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn apply(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        self.0.say(tx, asked)
    }

    fn settled(&self) {
        self.0.settled();
    }

    fn tells(&self, target: &str) -> bool {
        self.0.knows(target)
    }
}

impl Outside for Teller {
    fn kinds(&self) -> u32 {
        0
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        async move { Err(Failure::new(Code::INCAPABLE, asked.kind.name())) }.boxed()
    }
}

/// A node that tells somebody.
struct Node {
    store: Store,
    runs: Runs,
    notices: Notices,
    stop: CancellationToken,
    engine: JoinHandle<()>,
    task: JoinHandle<Result<(), String>>,
}

/// What a configuration says of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    mail: Mail,
    notify: Targets,
}

impl Node {
    fn open(dir: &Path, hand: &Arc<Hand>, settings: &str) -> Self {
        let options = store::Options {
            dir: dir.join("data"),
            key: NodeKey::generate(&(Arc::<Hand>::default() as Arc<dyn Source>)),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 1_000,
            seal_after: store::SEAL_AFTER,
            version: "test",
            scrub_every: Duration::ZERO,
            unsafe_normal_sync: false,
        };
        std::fs::create_dir_all(&options.dir).unwrap();
        let env: Arc<dyn Source> = Arc::<Hand>::clone(hand);
        let (store, _) = Store::open(options, env).unwrap();
        let Settings { mail, notify } = toml::from_str(settings).unwrap();
        let file = if dir.join("ca.pem").exists() { "ca.pem" } else { "" };
        let workflows = Workflows { ca_file: file.to_owned(), ..Workflows::default() };
        let (requests, authorities) = workflows.requests(dir, Arc::<Hand>::clone(hand)).unwrap();
        let notices = Notices::of((&mail, &notify), dir, &authorities, (requests, "holdfast-hub"));
        let notices = notices.unwrap();
        let abilities = Abilities {
            local: Arc::new(Teller(notices.clone())),
            outside: Arc::new(Teller(notices.clone())),
            zone: jiff::tz::TimeZone::UTC,
        };
        let desk = Desk::load(&store, Role::Edge).unwrap();
        let (runs, engine) = Runs::load(store.clone(), desk, abilities).unwrap();
        let stop = CancellationToken::new();
        let engine = tokio::spawn(engine.run(stop.clone()));
        let task = tokio::spawn(notices.clone().run(store.clone(), stop.clone()));
        Self { store, runs, notices, stop, engine, task }
    }

    async fn close(self) {
        self.stop.cancel();
        self.engine.await.unwrap();
        // A test may have killed it.
        let _ = self.task.await;
        drop(self.runs);
        self.store.close().await;
    }

    async fn install(&self, definition: &str) {
        let image = flow::compile(definition).unwrap().image;
        self.runs.install(self.runs.accept(image, "test", 1).unwrap()).await.unwrap();
    }

    async fn begin(&self, workflow: &str, device: &str) -> RunId {
        let input = json!({ "device": device }).as_object().unwrap().clone();
        let start = Start { workflow: workflow.to_owned(), input, ..Start::default() };
        self.runs.start(start).await.unwrap().run
    }

    fn phase(&self, id: RunId) -> Phase {
        let found = |table| self.store.read_blocking(|view| view.get(table, &id.0)).unwrap();
        let value = found(Table::Run).or_else(|| found(Table::RunOver)).expect("there is a run");
        Run::decode(&value).unwrap().phase().unwrap()
    }

    fn notices(&self) -> Vec<(NoticeId, Notice)> {
        self.store.read_blocking(|view| notify::list(view, false, 100)).unwrap()
    }

    /// The one channel of the one notice that there is.
    fn channel(&self) -> Channel {
        let (_, notice) = self.notices().remove(0);
        notice.channels.first().cloned().unwrap_or_default()
    }
}

/// Says that something is dry and waits until somebody knows.
const DRY: &str = "workflow: dry\nversion: \"1\"\nruns: {at_once: 100}\ninput: {device: text}\n\
    signals: {acknowledged: {by: text}}\noutput: {who: acknowledged.by}\nsteps:\n  \
    - notify: on-call\n    text: ${device} is dry\n    device: ${device}\n  \
    - wait_for: acknowledged\n";

/// Somebody's webhook: answers each request with the next of these, then with 200, and keeps what
/// it got. An empty answer is none.
struct Hook {
    settings: String,
    got: Arc<Mutex<Vec<(String, Json)>>>,
}

impl Hook {
    async fn open(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got = Arc::<Mutex<Vec<(String, Json)>>>::default();
        let keeps = Arc::clone(&got);
        tokio::spawn(async move {
            let mut answers = answers.iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let value = |name: &str| {
                    let line = head.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap().trim().to_owned()
                };
                let mut body = vec![0; value("content-length:").parse().unwrap()];
                stream.read_exact(&mut body).await.unwrap();
                let told = (value("idempotency-key:"), serde_json::from_slice(&body).unwrap());
                keeps.lock().unwrap().push(told);
                let answer = answers.next().unwrap_or(&"200 OK");
                if answer.is_empty() {
                    tokio::spawn(async move {
                        let _ = stream.read_u8().await;
                    });
                } else {
                    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { settings: format!("[notify.on-call]\nwebhook = \"{url}\"\n"), got }
    }

    fn got(&self) -> Vec<(String, Json)> {
        self.got.lock().unwrap().clone()
    }

    fn texts(&self) -> Vec<String> {
        self.got().iter().map(|(_, body)| body["text"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_told_at_once_and_every_hour_until_they_say_that_they_know() {
    let (dir, hand, hook) = (tempfile::tempdir().unwrap(), hand(), Hook::open(&[]).await);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.install(DRY).await;
    let first = node.begin("dry", "ps-1").await;
    until("they are told", || hook.got().len() == 1 && node.channel().sent == 1).await;
    let (key, body) = hook.got().remove(0);
    let id = body["notice"].as_str().unwrap().to_owned();
    assert_eq!(key, format!("{id}-1-1"));
    assert_eq!(body["run"], first.to_string());
    let of = ["workflow", "target", "device", "text"].map(|name| body[name].as_str().unwrap());
    assert_eq!(of, ["dry", "on-call", "ps-1", "ps-1 is dry"]);
    // What is said of it again joins it; another device is told of at once.
    hand.pass_ms(HOUR_MS - 1);
    let second = node.begin("dry", "ps-1").await;
    until("it counts", || node.notices()[0].1.count == 2).await;
    node.begin("dry", "ps-2").await;
    until("the other is told of", || hook.got().len() == 2).await;
    assert_eq!(hook.texts(), ["ps-1 is dry", "ps-2 is dry"]);
    hand.pass_ms(1);
    until("the hour is over", || hook.got().len() == 3).await;
    let (key, body) = hook.got().remove(2);
    assert_eq!((key, &body["count"]), (format!("{id}-2-2"), &json!(2)));
    // Both runs hear that somebody knows, and who; the other notice goes on.
    let of = NoticeId::parse(&id).unwrap();
    let known = node.notices.acknowledge(&node.store, &node.runs, of, "ann").await.unwrap();
    let known = known.unwrap();
    assert_eq!((known.state, known.by.as_str()), (State::Acknowledged, "ann"));
    for run in [first, second] {
        until("it goes on", || node.phase(run) == Phase::Succeeded).await;
    }
    hand.pass_ms(HOUR_MS);
    until("only the other is repeated", || hook.got().len() == 4).await;
    assert_eq!(hook.texts()[3], "ps-2 is dry");
    // Who says so later changes nothing; what is dry again is told of anew.
    let later = node.notices.acknowledge(&node.store, &node.runs, of, "bob").await.unwrap();
    assert_eq!(later.unwrap().by, "ann");
    node.begin("dry", "ps-1").await;
    until("it is told of anew", || hook.got().len() == 5).await;
    assert_ne!(hook.got()[4].1["notice"], id);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_asked_again_under_the_same_key() {
    let answers = &["500 Internal Server Error", "503 Service Unavailable"];
    let (dir, hand, hook) = (tempfile::tempdir().unwrap(), hand(), Hook::open(answers).await);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.install(DRY).await;
    node.begin("dry", "ps-1").await;
    until("it fails", || hook.got().len() == 1 && node.channel().failures == 1).await;
    let error = node.channel().error;
    assert!(error.starts_with("failed: ") && error.contains("answered 500"), "{error}");
    hand.pass_ms(30_000);
    until("it fails again", || hook.got().len() == 2 && node.channel().failures == 2).await;
    hand.pass_ms(59_999);
    // Another one shows that the task has looked.
    node.begin("dry", "ps-2").await;
    until("the other is told of", || hook.got().len() == 3).await;
    assert_eq!(hook.texts()[2], "ps-2 is dry");
    hand.pass_ms(1);
    until("it is told", || hook.got().len() == 4).await;
    let keys: Vec<_> = hook.got().into_iter().map(|(key, _)| key).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[3], "{keys:?}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_sending_and_noting_it_repeats_the_key_and_loses_nothing() {
    // The first one is never answered: the node is killed while it waits.
    let (dir, hand, hook) = (tempfile::tempdir().unwrap(), hand(), Hook::open(&[""]).await);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.install(DRY).await;
    let run = node.begin("dry", "ps-1").await;
    until("it is sent", || hook.got().len() == 1).await;
    node.task.abort();
    node.close().await;
    let node = Node::open(dir.path(), &hand, &hook.settings);
    until("it is sent again", || hook.got().len() == 2 && node.channel().sent == 1).await;
    assert_eq!(hook.got()[0], hook.got()[1]);
    node.close().await;
    // What was noted is not sent by a start; the hour goes on over it.
    hand.pass_ms(HOUR_MS / 2);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.begin("dry", "ps-2").await;
    until("the other is told of", || hook.got().len() == 3).await;
    assert_eq!(hook.texts()[2], "ps-2 is dry");
    hand.pass_ms(HOUR_MS / 2);
    until("the hour is over", || hook.got().len() == 4).await;
    assert_eq!(hook.texts()[3], "ps-1 is dry");
    assert_eq!(node.phase(run), Phase::Running);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_sends_nothing_twice_and_keeps_nothing_back() {
    let (dir, hand, hook) = (tempfile::tempdir().unwrap(), hand(), Hook::open(&[]).await);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.install(DRY).await;
    node.begin("dry", "ps-1").await;
    until("they are told", || node.notices().len() == 1 && node.channel().sent == 1).await;
    let years = 10 * 365 * 24 * HOUR_MS as i64;
    hand.wall_ms.fetch_add(years, Ordering::SeqCst);
    node.begin("dry", "ps-2").await;
    until("the other is told of", || hook.got().len() == 2).await;
    assert_eq!(hook.texts(), ["ps-1 is dry", "ps-2 is dry"]);
    hand.pass_ms(HOUR_MS);
    until("both are repeated", || hook.got().len() == 4).await;
    until("that is noted", || node.notices().iter().all(|(_, n)| n.channels[0].sent == 2)).await;
    // What is due in ten years by the clock at the next start is so in an hour.
    node.close().await;
    hand.wall_ms.fetch_sub(years, Ordering::SeqCst);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.begin("dry", "ps-3").await;
    until("the third is told of", || hook.got().len() == 5).await;
    assert_eq!(hook.texts()[4], "ps-3 is dry");
    hand.pass_ms(HOUR_MS);
    until("all are repeated", || hook.got().len() == 8).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_acknowledges_for_a_week_is_given_up_and_said_anew_later() {
    let (dir, hand, hook) = (tempfile::tempdir().unwrap(), hand(), Hook::open(&[]).await);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    node.install(DRY).await;
    node.begin("dry", "ps-1").await;
    until("they are told", || node.notices().len() == 1 && node.channel().sent == 1).await;
    // As the row is before the last hour of the week.
    let (id, mut notice) = node.notices().remove(0);
    notice.channels[0].waited_ms = (7 * 24 - 1) * HOUR_MS;
    let key = [&[0][..], &id.0].concat();
    let put = move |tx: &mut WriteTx<'_>| Ok(tx.put(Table::Notice, &key, &notice.encode())?);
    node.store.write(put).await.unwrap();
    hand.pass_ms(HOUR_MS);
    until("it is given up", || node.notices()[0].1.state == State::GivenUp).await;
    assert_eq!(hook.got().len(), 2);
    // Nobody is told of it any more, and what is said from now on is another one.
    hand.pass_ms(HOUR_MS);
    node.begin("dry", "ps-1").await;
    until("it is told of anew", || hook.got().len() == 3).await;
    assert_ne!(hook.got()[2].1["notice"], hook.got()[1].1["notice"]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_nobody_knows_is_an_error_of_the_step_and_refused_where_it_is_plain() {
    let (dir, hand, hook) = (tempfile::tempdir().unwrap(), hand(), Hook::open(&[]).await);
    let node = Node::open(dir.path(), &hand, &hook.settings);
    let image = flow::compile(&DRY.replace("on-call", "nobody")).unwrap().image;
    let told = node.runs.accept(image, "test", 1).unwrap_err().to_string();
    assert_eq!(told, "it tells `nobody`, and the configuration has no section `notify.nobody`");
    node.install(&DRY.replace("on-call", "${device}")).await;
    let run = node.begin("dry", "nobody").await;
    until("it fails", || node.phase(run) == Phase::Failed).await;
    assert_eq!((node.notices().len(), hook.got().len()), (0, 0));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_are_kept_and_open_at_once_and_what_is_open_never_goes() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let hook = Hook::open(&[]).await;
    let node = Node::open(dir.path(), &hand, &hook.settings);
    let many = "workflow: many\nversion: \"1\"\nruns: {at_once: 3000}\ninput: {device: text}\n\
        steps:\n  - notify: on-call\n    text: x\n    device: ${device}\n";
    node.install(many).await;
    let mut runs = Vec::new();
    for number in 0..1_001 {
        runs.push(node.begin("many", &format!("d{number}")).await);
    }
    until("the last one fails", || node.phase(runs[1_000]) == Phase::Failed).await;
    let listed = |is_open| node.store.read_blocking(|v| notify::list(v, is_open, 9_999)).unwrap();
    assert_eq!(listed(true).len(), 1_000);
    // One stays open; all others are acknowledged and told of anew, twice.
    let oldest = listed(true).last().unwrap().0;
    for round in 0..2 {
        for (id, _) in listed(true).into_iter().filter(|(id, _)| *id != oldest) {
            node.notices.acknowledge(&node.store, &node.runs, id, "ann").await.unwrap();
        }
        hand.pass_ms(1);
        for number in 0..999 {
            node.begin("many", &format!("e{round}-{number}")).await;
        }
    }
    until("all are said", || listed(true).len() == 1_000).await;
    assert_eq!(listed(false).len(), 2_000);
    assert!(listed(true).iter().any(|(id, _)| *id == oldest));
    node.close().await;
}

/// A certificate for this machine, and the authority that has signed it.
fn authority() -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = own.signed_by(&own_key, &ca, &key).unwrap();
    let private = PrivateKeyDer::try_from(own_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A mail server that refuses `bob`: what it got, an entry for each connection.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<String>>>);

impl Server {
    /// Opens one, with STARTTLS if it has a certificate; gives its port.
    async fn open(&self, tls: Option<TlsAcceptor>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let got = this.clone().talk(Box::new(stream), tls.clone()).await;
                this.0.lock().unwrap().push(got);
            }
        });
        port
    }

    async fn talk(self, stream: Box<dyn Stream>, tls: Option<TlsAcceptor>) -> String {
        let (mut stream, mut got) = (BufReader::new(stream), String::new());
        let (mut is_secure, mut is_data) = (false, false);
        stream.write_all(b"220 mx ESMTP\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return got;
            }
            got.push_str(&line);
            let word = line.split_whitespace().next().unwrap_or_default().to_uppercase();
            let answer = match word.as_str() {
                _ if is_data && line != ".\r\n" => continue,
                "." => "250 taken",
                "EHLO" if tls.is_some() && !is_secure => "250-mx\r\n250 STARTTLS",
                "EHLO" => "250-mx\r\n250 AUTH PLAIN",
                "AUTH" => "235 in",
                "DATA" => "354 go on",
                "RCPT" if line.contains("bob") => "550 no bob here",
                "QUIT" => "221 bye",
                "STARTTLS" => "220 go on",
                _ => "250 fine",
            };
            is_data = word == "DATA";
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            if let ("STARTTLS", Some(tls)) = (word.as_str(), &tls) {
                let Ok(secured) = tls.accept(stream.into_inner()).await else { return got };
                stream = BufReader::new(Box::new(secured));
                is_secure = true;
            }
        }
    }

    fn got(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn mail(port: u16, more: &str, to: &str) -> String {
    format!(
        "[mail]\nserver = \"127.0.0.1\"\nport = {port}\nfrom = \"gw@site.example\"\n{more}\n\
         [notify.on-call]\nemail = [{to}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_gets_its_mail_whatever_becomes_of_another() {
    let (dir, hand, server) = (tempfile::tempdir().unwrap(), hand(), Server::default());
    let port = server.open(None).await;
    let settings = mail(port, "tls = \"none\"", "\"bob@b.example\", \"ann@a.example\"");
    let node = Node::open(dir.path(), &hand, &settings);
    let definition = DRY.replace("${device} is dry", "\"Dry: ${device}\\nX-Evil: yes. ÄÖ\"");
    node.install(&definition).await;
    node.begin("dry", "ps-1").await;
    let channels = || node.notices().first().map(|(_, n)| n.channels.clone()).unwrap_or_default();
    until("both were tried", || {
        server.got().len() == 2 && channels().iter().map(|c| c.sent + c.failures).sum::<u32>() == 2
    })
    .await;
    let channels = channels();
    let of = |name: &str| channels.iter().find(|channel| channel.name == name).unwrap();
    let (ann, bob) = (of("mail ann@a.example"), of("mail bob@b.example"));
    assert_eq!((ann.sent, ann.failures), (1, 0));
    assert_eq!((bob.sent, bob.failures), (0, 1));
    assert!(bob.error.contains("no bob here"), "{}", bob.error);
    let got = server.got().into_iter().find(|got| got.contains("DATA")).unwrap();
    let (id, _) = node.notices().remove(0);
    for line in [
        "MAIL FROM:<gw@site.example>",
        "RCPT TO:<ann@a.example>",
        &format!("Message-ID: <{id}-1-1@site.example>"),
        "To: bob@b.example, ann@a.example",
        "Subject: dry: Dry: ps-1",
    ] {
        assert!(got.contains(line), "{line}: {got}");
    }
    // In the text, not in the head.
    let (head, text) = got.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("X-Evil") && text.contains("X-Evil: yes."), "{got}");
    assert!(text.contains(&format!("\nholdfast-hub workflow acknowledge {id}")), "{got}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_over_tls_to_the_server_that_is_meant_and_nowhere_else() {
    let (dir, hand, server) = (tempfile::tempdir().unwrap(), hand(), Server::default());
    let (pem, acceptor) = authority();
    std::fs::write(dir.path().join("pw"), "secret\n").unwrap();
    let port = server.open(Some(acceptor)).await;
    let settings = mail(port, "user = \"gw\"\npassword_file = \"pw\"", "\"ann@a.example\"");
    // Without the authority of the site nobody is believed.
    let node = Node::open(dir.path(), &hand, &settings);
    node.install(DRY).await;
    node.begin("dry", "ps-1").await;
    until("it fails", || node.notices().len() == 1 && node.channel().failures == 1).await;
    let error = node.channel().error;
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert!(server.got().iter().all(|got| !got.contains("AUTH")), "{:?}", server.got());
    node.close().await;
    std::fs::write(dir.path().join("ca.pem"), pem).unwrap();
    hand.pass_ms(30_000);
    let node = Node::open(dir.path(), &hand, &settings);
    until("it is sent", || node.channel().sent == 1).await;
    until("the server has it", || server.got().iter().any(|got| got.contains("DATA"))).await;
    let got = server.got().into_iter().find(|got| got.contains("DATA")).unwrap();
    // RFC 4616: NUL, user, NUL, password.
    let word = data_encoding::BASE64.encode(b"\0gw\0secret");
    let (before, after) = got.split_once("STARTTLS").unwrap();
    assert!(after.contains(&format!("AUTH PLAIN {word}")) && !before.contains("AUTH"), "{got}");
    node.close().await;
}
