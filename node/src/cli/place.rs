//! Where a node of this machine lies, how it is made, and how its own commands reach it.

use super::Failure;
use crate::auth::Scope;
use crate::client::{self, Target};
use crate::config::{Layers, Loaded, Log};
use crate::tls::{self, Fingerprint, Source, Tls, TlsWord};
use crate::{address, api, backup, logs, machine};
use clap::Args;
use holdfast_sync::Fault;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{ADMIN_TOKEN, Options, Store, write_private, write_whole};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The node key's file in a data directory.
const KEY_FILE: &str = "node.key";

/// A service by its settings: what its command line has to know of them.
pub trait Service: Default + Serialize + DeserializeOwned {
    /// The name of its program; its configuration is called the same.
    const PROGRAM: &str;
    /// The configuration that `init` writes.
    const TEMPLATE: &str;

    /// The data directory, relative to the configuration.
    fn data(&self) -> &str;
    /// Where it serves HTTP.
    fn listen(&self) -> SocketAddr;
    /// The file with the machine's id.
    fn machine_id(&self) -> &str;
    /// Whether that is HTTPS, and the files of its certificate and key.
    fn tls(&self) -> (TlsWord, &str, &str);
    /// Whether what the configuration in `folder` names beside that can be used.
    ///
    /// # Errors
    /// A sentence about what cannot.
    fn check(&self, folder: &Path) -> Result<(), String> {
        let _ = folder;
        Ok(())
    }
    /// Its log.
    fn log(&self) -> &Log;
    /// How its store is opened.
    fn store_options(&self, dir: PathBuf, key: NodeKey) -> Options;
}

/// Which node is meant.
#[derive(Args)]
pub struct Place {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory, instead of the configured one.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    /// The configuration file, given or not.
    #[must_use]
    pub fn config<S: Service>(&self) -> PathBuf {
        let default = || Path::new(S::PROGRAM).with_extension("toml");
        self.config.clone().unwrap_or_else(default)
    }

    fn settings<S: Service>(&self) -> Result<Loaded<S>, Failure> {
        let path = self.config::<S>();
        let mut layers = Layers::default();
        if path.exists() {
            layers = layers.file(&path)?;
        } else if self.config.is_some() {
            let path = path.display();
            let text = format!("{path} does not exist: `{} init --config {path}`", S::PROGRAM);
            return Err((text + " makes it and a node with it").into());
        }
        let layers = layers.environment(std::env::vars()).flag("node.data", self.data()?);
        Ok(layers.load()?)
    }

    /// The data directory from the command line. Unlike one in a configuration file, it is meant
    /// from where the command was given.
    pub(super) fn data(&self) -> Result<Option<String>, Failure> {
        let path = self.data.as_ref().map(std::path::absolute).transpose()?;
        Ok(path.map(|path| path.display().to_string()))
    }

    fn local<S: Service>(&self, settings: S) -> Local<S> {
        let config = self.config::<S>();
        let dir = config.parent().unwrap_or(Path::new("")).join(settings.data());
        Local { settings, config, dir }
    }

    /// The node with its settings in force.
    ///
    /// # Errors
    /// A wrong setting.
    pub fn load<S: Service>(&self) -> Result<Local<S>, Failure> {
        Ok(self.local(self.settings::<S>()?.config))
    }

    /// The node that this process is about to run; its log is on from here, in `format` if that is
    /// given.
    ///
    /// # Errors
    /// A wrong setting.
    pub fn begin<S: Service>(&self, format: Option<logs::Format>) -> Result<Local<S>, Failure> {
        let loaded = self.settings::<S>()?;
        let log = loaded.config.log();
        logs::init(&log.filter, format.unwrap_or(log.format))?;
        for name in loaded.unused {
            tracing::warn!(name, "this variable sets nothing here");
        }
        let node = self.local(loaded.config);
        node.key()?;
        node.must_be_home()?;
        Ok(node)
    }

    /// Makes the beginnings of a new node: configuration, data directory and key. `flags` are the
    /// keys, such as `http.listen`, that the command line sets in the configuration.
    ///
    /// # Errors
    /// When there is one already, or it cannot be written.
    pub fn create<S: Service>(
        &self,
        flags: &[(&str, Option<String>)],
    ) -> Result<(Local<S>, NodeKey), Failure> {
        let data = ("node.data", self.data()?);
        let flags: Vec<_> = flags.iter().chain([&data]).collect();
        let checked = flags
            .iter()
            .fold(Layers::default(), |layers, (key, value)| layers.flag(key, value.as_ref()));
        checked.load::<S>()?;
        let config = self.config::<S>();
        write_config(&config, S::TEMPLATE, &flags)?;
        let made = self.load::<S>().and_then(|node| {
            new_data_dir(&node.dir)?;
            machine::bind(&node.dir, Path::new(node.settings.machine_id()))?;
            let key = NodeKey::generate(&System::env());
            key.write(&node.dir.join(KEY_FILE))?;
            Ok((node, key))
        });
        if made.is_err() {
            // It would stand in the way of the next attempt. That it cannot be removed either is
            // not what went wrong.
            let _ = std::fs::remove_file(&config);
        }
        made
    }
}

/// A node of this machine.
#[derive(Debug)]
pub struct Local<S> {
    /// Its settings in force.
    pub settings: S,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its data directory.
    pub dir: PathBuf,
}

impl<S: Service> Local<S> {
    /// Says that its configuration is valid: it was read.
    ///
    /// # Errors
    /// When it names a file that cannot be used, such as a certificate that cannot be served.
    pub fn valid(&self) -> Result<ExitCode, Failure> {
        if let Some(source) = self.tls_source()? {
            source.check()?;
        }
        self.settings.check(self.folder())?;
        println!("The configuration is valid.");
        Ok(ExitCode::SUCCESS)
    }

    fn tls_source(&self) -> Result<Option<Source>, Failure> {
        let (word, certificate, key) = self.settings.tls();
        Ok(Source::of(word, certificate, key, self.folder())?)
    }

    /// Where its configuration is, and the files that it names are meant from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new(""))
    }

    /// What it serves HTTPS with, if it does.
    ///
    /// # Errors
    /// When the configured certificate cannot be served.
    pub fn tls(&self) -> Result<Option<Tls>, Failure> {
        let source = self.tls_source()?;
        Ok(source.map(|source| Tls::load(source, &self.dir)).transpose()?)
    }

    /// Where and how its own commands reach it.
    ///
    /// # Errors
    /// When it serves HTTPS and never ran with it, so that it could not be recognised.
    pub fn target(&self) -> Result<Target, Failure> {
        let address = self.settings.listen();
        let tls = self.served_copy()?.map(|pem| tls::connector(&pem)).transpose()?;
        Ok(Target { address, tls })
    }

    /// The certificate that it serves, as it left it; `None` with plain HTTP.
    fn served_copy(&self) -> Result<Option<Vec<u8>>, Failure> {
        if self.tls_source()?.is_none() {
            return Ok(None);
        }
        let path = self.dir.join(tls::SERVED);
        let pem = std::fs::read(&path).map_err(|error| {
            let (path, program) = (path.display(), S::PROGRAM);
            format!("{path}: {error}. {program} writes it when it is started with HTTPS: start it")
        })?;
        Ok(Some(pem))
    }

    /// By which certificate its running process is recognised, if it serves HTTPS.
    ///
    /// # Errors
    /// As [`Local::target`].
    pub fn served_fingerprint(&self) -> Result<Option<Fingerprint>, Failure> {
        self.served_copy()?.map(|pem| Ok(Fingerprint::of_pem(&pem)?)).transpose()
    }

    /// Where browsers and devices reach it.
    ///
    /// # Errors
    /// None of its own; a wrong `http.tls`.
    pub fn url(&self) -> Result<String, Failure> {
        let scheme = if self.tls_source()?.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}/", address::reachable(self.settings.listen())))
    }

    /// Its key.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn key(&self) -> Result<NodeKey, Failure> {
        self.key_in(KEY_FILE)
    }

    fn must_be_home(&self) -> Result<(), Failure> {
        if machine::is_home(&self.dir, Path::new(self.settings.machine_id()))? {
            return Ok(());
        }
        let (dir, program, config) = (self.dir.display(), S::PROGRAM, self.config.display());
        let text = format!(
            "the node in {dir} belongs to another machine: two that run with one key are taken for \
             each other\n  if it has moved here for good: {program} adopt --config {config}\n  if \
             the other one goes on: make a node of its own here, with `{program} init` and other \
             directories"
        );
        Err(text.into())
    }

    /// A key of its data directory.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn key_in(&self, file: &str) -> Result<NodeKey, Failure> {
        if backup::is_unfinished(&self.dir) {
            let dir = self.dir.display();
            let text = format!("the restore into {dir} was cut off: give the same command again");
            return Err(text.into());
        }
        let path = self.dir.join(file);
        if let Some(key) = NodeKey::read(&path)? {
            return Ok(key);
        }
        let (path, program) = (path.display(), S::PROGRAM);
        let text = format!("{path} is missing: name the node's configuration with --config, or ");
        Err((text + &format!("make a node with `{program} init`")).into())
    }

    /// Asks the running node.
    ///
    /// # Errors
    /// When it does not run, or refuses.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let token = self.admin_token()?;
        Ok(client::call(&self.target()?, &token, method, path, body).await?)
    }

    /// The text of its admin token.
    ///
    /// # Errors
    /// When there is no node, or its token cannot be read.
    pub fn admin_token(&self) -> Result<String, Failure> {
        let file = self.admin_token_path();
        let token = std::fs::read_to_string(&file).map_err(|error| match self.key() {
            // There is no node at all.
            Err(missing) => missing,
            Ok(_) => Fault::file(&file, error).into(),
        })?;
        Ok(token.trim().to_owned())
    }

    /// Where its admin token lies.
    #[must_use]
    pub fn admin_token_path(&self) -> PathBuf {
        self.dir.join(ADMIN_TOKEN)
    }

    /// Makes an admin token in the store of a node that does not run, readable for its owner only.
    /// Whoever can write the data directory could do so anyway.
    ///
    /// # Errors
    /// When the node runs, or a fault of the store or the file.
    pub async fn make_admin_token(&self, key: NodeKey, note: &str) -> Result<(), Failure> {
        let options = self.settings.store_options(self.dir.clone(), key);
        let (store, _) = Store::open(options, System::env())?;
        let token = api::create_token(&store, Scope::Admin, note).await?;
        store.close().await;
        Ok(write_private(&self.admin_token_path(), format!("{token}\n").as_bytes())?)
    }
}

/// Writes a new configuration file: `template` with some of its keys set.
fn write_config(
    path: &Path,
    template: &str,
    flags: &[&(&str, Option<String>)],
) -> Result<(), Failure> {
    if path.exists() {
        let path = path.display();
        return Err(
            format!("{path} exists already; remove it or name another with --config").into()
        );
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| Fault::file(parent, error))?;
    }
    let mut text = template.to_owned();
    for (key, value) in flags {
        if let Some(value) = value {
            set_in_template(&mut text, key, value);
        }
    }
    Ok(write_whole(path, text.as_bytes())?)
}

/// Puts a value in force in the place where the template shows the key's default.
fn set_in_template(text: &mut String, path: &str, value: &str) {
    let (section, key) = path.rsplit_once('.').expect("every key is in a section");
    let section = text.find(&format!("[{section}]")).expect("the template shows every section");
    let shown = format!("\n#{key} = ");
    let at = section + text[section..].find(&shown).expect("the template shows every key") + 1;
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    text.replace_range(at..end, &format!("{key} = {}", toml::Value::from(value)));
}

/// Sets a key in a configuration in use, whether it is shown as a default there or set already.
pub(super) fn set_in_file(text: &mut String, path: &str, value: &str) {
    let (section, key) = path.rsplit_once('.').expect("every key is in a section");
    let line = format!("{key} = {}", toml::Value::from(value));
    let is_key = |line: &str| {
        let line = line.trim_start_matches('#').trim_start();
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let header = format!("[{section}]");
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| line.trim() == header) {
        Some(at) => {
            let end = lines[at + 1..].iter().position(|line| line.starts_with('['));
            let end = end.map_or(lines.len(), |end| at + 1 + end);
            match lines[at..end].iter().rposition(|line| is_key(line)) {
                Some(found) => lines[at + found] = &line,
                None => lines.insert(at + 1, &line),
            }
        }
        None => lines.extend([header.as_str(), &line]),
    }
    *text = lines.join("\n") + "\n";
}

/// Makes a new data directory that only its owner can enter.
fn new_data_dir(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty: it may hold a node already", dir.display()).into());
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    Ok(made.map_err(|error| Fault::file(dir, error))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_set_in_its_own_section() {
        let mut text = "[http]\n# Where.\n#listen = \"a\"\n\n[sync]\n#listen = \"b\"\n".to_owned();
        set_in_template(&mut text, "sync.listen", "c\"d");
        assert_eq!(text, "[http]\n# Where.\n#listen = \"a\"\n\n[sync]\nlisten = 'c\"d'\n");
        set_in_template(&mut text, "http.listen", "e");
        assert!(text.contains("\nlisten = \"e\"\n\n[sync]"), "{text}");
    }

    #[test]
    fn a_key_is_set_in_a_configuration_whatever_stands_there() {
        for (before, after) in [
            ("[node]\n#data = \"a\"\n[http]\n", "[node]\ndata = \"x\"\n[http]\n"),
            ("[node]\ndata = \"b\"\n", "[node]\ndata = \"x\"\n"),
            ("[node]\n#data = \"a\"\ndata=\"b\"\n", "[node]\n#data = \"a\"\ndata = \"x\"\n"),
            ("[node]\n[http]\ndata = 1\n", "[node]\ndata = \"x\"\n[http]\ndata = 1\n"),
            ("[http]\n", "[http]\n[node]\ndata = \"x\"\n"),
        ] {
            let mut text = before.to_owned();
            set_in_file(&mut text, "node.data", "x");
            assert_eq!(text, after);
        }
    }
}
