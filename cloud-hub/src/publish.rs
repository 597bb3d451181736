//! Publishers and what they publish: `publisher` and `artefact` on the command line.
//!
//! The root key names a publisher once; from then on the publisher's own key signs, wherever it
//! lies. The hub that runs never sees that key: a manifest is signed here, and the hub checks it
//! as every gateway will.

use crate::service::ROOT_FILE;
use crate::settings::Settings;
use clap::{Subcommand, value_parser};
use data_encoding::BASE64;
use holdfast_core::Timestamp;
use holdfast_core::artefact::Publisher;
use holdfast_core::artefact::limits::{BLOCK_BYTES, CONTENT_BYTES};
use holdfast_core::device::firmware;
use holdfast_core::flow::Image;
use holdfast_core::flow::about::About;
use holdfast_core::flow::image::{FORMAT, Part};
use holdfast_node::cli::{ArtefactAction, Failure, Local, find_artefact, short_artefact};
use holdfast_node::flow::compile;
use holdfast_node::runs::assigned::KIND;
use holdfast_node::time_text::format;
use holdfast_sync::Fault;
use holdfast_sync::artefact::{Grant, Publishing};
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::write_whole;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Blocks that one request carries: 2 MiB, which a link of 100 kB/s takes in the time there is for
/// a body.
const BLOCKS: usize = 128;
const DAY_S: i64 = 86_400;

/// What is done with publishers.
#[derive(Subcommand)]
pub enum PublisherAction {
    /// Makes a publisher's key, and has the fleet's root key name it.
    #[command(after_help = "Writes NAME.key, which is the publisher's secret, and NAME.cert \
        beside it. Needs the fleet key, so it\nruns where the hub's data directory is; the two \
        files may go elsewhere.\n\nExample:\n  \
        holdfast-hub publisher new works --kind flow --kind bundle\n")]
    New {
        /// The publisher's name.
        name: String,
        /// A kind of artefacts that it may publish; without one it may publish any.
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// How long it may publish.
        #[arg(long, default_value_t = 3_650, value_parser = value_parser!(i64).range(1..=36_500))]
        days: i64,
        /// Where the files go.
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
}

/// What is done with artefacts on the hub.
#[derive(Subcommand)]
pub enum HubArtefactAction {
    #[command(flatten)]
    Either(ArtefactAction),
    /// Signs a file and publishes it. What was cut off goes on where it was.
    #[command(
        after_help = "A workflow may be a definition, which is compiled first, or its image; \
        name and version\nare those that stand in it.\n\n\
        An image of firmware is named after the board that it is for, as its devices report it at\n\
        device/board. It was made when its file was last changed, and a device takes none that\n\
        was made before the one that it runs.\n\n\
        Examples:\n  \
        holdfast-hub artefact publish guard.yaml --kind flow --key works.key\n  \
        holdfast-hub artefact publish pump.bin --kind firmware --name mps2-an385 --version 1.2.0 \
        --key works.key\n\n\
        `holdfast-hub artefact assign` then has sites use it."
    )]
    Publish {
        /// The file.
        file: PathBuf,
        /// What it is for: `flow`, `firmware`, `bundle`.
        #[arg(long)]
        kind: String,
        /// Its name; of firmware the board [default: that of the file, without its ending].
        #[arg(long)]
        name: Option<String>,
        /// Its version; a workflow has one of its own.
        #[arg(long)]
        version: Option<String>,
        /// The publisher's key; its certificate lies beside it.
        #[arg(long)]
        key: PathBuf,
    },
    /// Removes an artefact that no site uses.
    #[command(after_help = "Example:\n  holdfast-hub artefact remove e67a962bacae\n")]
    Remove {
        /// Its id, or the first digits of it.
        id: String,
    },
}

/// Makes a publisher.
///
/// # Errors
/// When there is no fleet key, a name is not one, or a file is there already.
pub fn publisher(hub: &Local<Settings>, action: PublisherAction) -> Result<(), Failure> {
    let PublisherAction::New { name, kinds, days, out } = action;
    let path = hub.dir.join(ROOT_FILE);
    let root = NodeKey::read(&path)?;
    let root =
        root.ok_or_else(|| format!("{} is not there: it names publishers", path.display()))?;
    let (key_file, certificate_file) = files(&out.join(format!("{name}.key")));
    for file in [&key_file, &certificate_file] {
        if file.exists() {
            return Err(format!("{} is there already", file.display()).into());
        }
    }
    let env = System::env();
    let (key, now_s) = (NodeKey::generate(&env), env.now().seconds());
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    let grant = Grant {
        key_id: 1,
        serial: now_s.unsigned_abs(),
        key: key.id(),
        name: &name,
        kinds: &kinds,
        not_after_s: now_s + days * DAY_S,
    };
    let certificate = Publishing::certify(&root, &grant).map_err(|reject| {
        format!(
            "{reject}: a name has 1 to 64 of A-Z a-z 0-9 . _ -, a kind 1 to 16 of a-z 0-9 -, and \
             there are at most 4 kinds"
        )
    })?;
    key.write(&key_file)?;
    write_whole(&certificate_file, &certificate)?;
    println!("Publisher {name} may publish {} for {days} days.", words(&kinds));
    println!("  key          {} (keep it secret: it signs)", key_file.display());
    println!("  certificate  {}", certificate_file.display());
    println!(
        "Publish with: holdfast-hub artefact publish FILE --kind KIND --version VERSION --key {}",
        key_file.display()
    );
    Ok(())
}

fn words(kinds: &[&str]) -> String {
    if kinds.is_empty() { "anything".to_owned() } else { kinds.join(", ") }
}

/// A publisher's key and its certificate.
fn files(key: &Path) -> (PathBuf, PathBuf) {
    (key.to_owned(), key.with_extension("cert"))
}

/// Does something with artefacts.
///
/// # Errors
/// What is wrong with the files, or what the hub answers.
pub async fn artefact(hub: &Local<Settings>, action: HubArtefactAction) -> Result<(), Failure> {
    match action {
        HubArtefactAction::Either(action) => action.run(hub).await,
        HubArtefactAction::Publish { file, kind, name, version, key } => {
            let content = content(&file)?;
            if kind == KIND {
                let flow = workflow(&file, content)?;
                let (own, given) = ((flow.id, flow.version), (name, version));
                let differs = |given: &Option<String>, own: &str| {
                    given.as_ref().is_some_and(|given| given != own)
                };
                if differs(&given.0, &own.0) || differs(&given.1, &own.1) {
                    let (id, version) = own;
                    let text = format!("{} is `{id}` version {version}", file.display());
                    return Err(text.into());
                }
                return publish(hub, &file, (&kind, &own.0, &own.1), &flow.image, &key).await;
            }
            if kind == firmware::KIND && name.is_none() {
                let text = "an image of firmware is named after the board that it is for, as its \
                            devices report it at device/board: --name mps2-an385";
                return Err(text.to_owned().into());
            }
            let named = file.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            let name = name.or(named).unwrap_or_default();
            let version = version.ok_or("which version is it? --version 1.2.0")?;
            publish(hub, &file, (&kind, &name, &version), &content, &key).await
        }
        HubArtefactAction::Remove { id } => {
            let id = find_artefact(hub, &id).await?;
            hub.call("DELETE", &format!("/v1/artefacts/{id}"), None).await?;
            println!("Artefact {} is removed.", short_artefact(&id));
            Ok(())
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).map_err(|source| Fault::file(path, source))?)
}

/// The publisher whose key lies at `path`, if it may publish `kind`.
fn publishing(path: &Path, kind: &str) -> Result<Publishing, Failure> {
    let (key_file, certificate_file) = files(path);
    let key = NodeKey::read(&key_file)?.ok_or_else(|| {
        let name = key_file.display();
        format!("{name} is not there: `holdfast-hub publisher new NAME` makes a publisher")
    })?;
    let certificate = read(&certificate_file)?;
    let known = Publisher::decode(&certificate);
    let known = known.map_err(|reject| format!("{}: {reject}", certificate_file.display()))?;
    if !known.kinds.has(kind) {
        let may = words(known.kinds.as_slice());
        return Err(format!("{} may publish {may}, not {kind}", known.name).into());
    }
    if known.expired(System::env().now().seconds()) {
        return Err(format!("the certificate of {} has ended", known.name).into());
    }
    Publishing::new(key, certificate.clone()).map_err(|_| {
        let (key, certificate) = (key_file.display(), certificate_file.display());
        format!("{certificate} is the certificate of another key than {key}").into()
    })
}

/// What is to be published, if it is not too long.
fn content(file: &Path) -> Result<Vec<u8>, Failure> {
    let meta = fs::metadata(file).map_err(|source| Fault::file(file, source))?;
    if meta.len() == 0 || meta.len() > CONTENT_BYTES {
        let name = file.display();
        return Err(format!("{name} has {} bytes, not 1 to {CONTENT_BYTES}", meta.len()).into());
    }
    read(file)
}

/// A workflow that is to be published.
struct Workflow {
    id: String,
    version: String,
    image: Vec<u8>,
}

/// The workflow of a file, which is its image or its definition.
fn workflow(file: &Path, content: Vec<u8>) -> Result<Workflow, Failure> {
    let name = file.display();
    if content.first() == Some(&FORMAT) {
        let image = Image::parse(&content).map_err(|why| format!("{name} is no image: {why}"))?;
        let about = About::read(image.part(Part::About));
        let about = about.map_err(|why| format!("{name} is no image: {why}"))?;
        let (id, version) = (about.id.to_owned(), about.version.to_owned());
        return Ok(Workflow { id, version, image: content });
    }
    let text = String::from_utf8(content).map_err(|_| format!("{name} is no text"))?;
    let compiled = compile(&text).map_err(|wrong| {
        let lines: Vec<_> = wrong.iter().map(|one| format!("{name}:{one}")).collect();
        lines.join("\n")
    })?;
    Ok(Workflow { id: compiled.id, version: compiled.version, image: compiled.image })
}

async fn publish(
    hub: &Local<Settings>,
    file: &Path,
    named: (&str, &str, &str),
    content: &[u8],
    key: &Path,
) -> Result<(), Failure> {
    let publishing = publishing(key, named.0)?;
    let meta = fs::metadata(file).map_err(|source| Fault::file(file, source))?;
    // The file's own time and not the clock's: published again, it is the same artefact.
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let made_s = modified.map_or(0, |since| since.as_secs() as i64);
    let (id, manifest) = publishing.sign(named, made_s, content).map_err(|reject| {
        let (kind, name, version) = named;
        format!(
            "{reject}: kind `{kind}` has 1 to 16 of a-z 0-9 -, name `{name}` 1 to 64 and version \
             `{version}` 1 to 32 of A-Z a-z 0-9 . _ -"
        )
    })?;
    let first = json!({
        "manifest": BASE64.encode(&manifest),
        "outline": BASE64.encode(&holdfast_sync::artefact::outline(content)),
    });
    let mut here = hub.call("POST", "/v1/artefacts", Some(&first)).await?;
    let path = format!("/v1/artefacts/{id}/blocks");
    while let Some(from) = lacking(&here) {
        let rest = &content[from as usize * BLOCK_BYTES..];
        let some = &rest[..rest.len().min(BLOCKS * BLOCK_BYTES)];
        let body = json!({"from": from, "bytes": BASE64.encode(some)});
        here = hub.call("POST", &path, Some(&body)).await?;
        if rest.len() > some.len() {
            let sent = content.len() - rest.len() + some.len();
            eprintln!("{} of {} bytes", sent, content.len());
        }
    }
    let (_, name, version) = named;
    println!("Published {name} {version}: {id}");
    if named.0 == firmware::KIND {
        let made = Timestamp::from_millis(made_s.saturating_mul(1_000)).map(format);
        println!(
            "It is for boards `{name}`, and was made {}, when its file was changed last: devices \
             that run what was made later refuse it.",
            made.unwrap_or_default()
        );
    }
    let id = id.to_string();
    let short = short_artefact(&id);
    println!("Have a site use it: holdfast-hub artefact assign SITE {name} {short}");
    Ok(())
}

/// The first block that the hub lacks.
fn lacking(artefact: &Value) -> Option<u64> {
    let number = |key: &str| artefact[key].as_u64().unwrap_or_default();
    (number("held") < number("blocks")).then(|| number("held"))
}
