//! The layers, and what each says when something is wrong.

use super::*;
use serde::Deserialize;
use std::io::Write;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    listen: Listen,
    body_max: Bytes,
    timeout: Duration,
    connections: u32,
    open: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sync {
    hubs: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    http: Http,
    sync: Sync,
    people: BTreeMap<String, Person>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    age: u32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: Listen("127.0.0.1:8484".parse().unwrap()),
            body_max: Bytes(8 << 20),
            timeout: "10s".parse().unwrap(),
            connections: 100,
            open: false,
        }
    }
}

const TEMPLATE: &str = r#"# A sample.
[http]
# Where to listen.
#listen = "127.0.0.1:8484"
#body_max = "8MiB"
#timeout = "10s"
#connections = 100
#open = false

[sync]
# None: stay alone.
#hubs = []

# Any number, each with a name.
[people]
"#;

fn with_file(text: &str) -> Layers {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Layers::default().file(file.path()).unwrap()
}

fn error(layers: Layers) -> String {
    layers.load::<Sample>().unwrap_err().to_string()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn nothing_given_means_the_defaults() {
    let loaded = Layers::default().load::<Sample>().unwrap();
    assert_eq!((loaded.config, loaded.unused), (Sample::default(), vec![]));
    let loaded = with_file(TEMPLATE).load::<Sample>().unwrap();
    assert_eq!(loaded.config, Sample::default());
}

#[test]
fn a_text_arrives_as_it_is_in_the_variable() {
    let hubs = "a\"b'c, \\n#[x] = 1, \u{1}\u{7f}\u{feff}\n\"\"\"\t\r'\'', ä\u{2028}";
    let layers = Layers::default().environment(variables(&[("HOLDFAST_SYNC_HUBS", hubs)]));
    let all: Vec<_> = hubs.split(',').map(str::trim).collect();
    assert_eq!(layers.load::<Sample>().unwrap().config.sync.hubs, all);
}

#[test]
fn a_later_layer_wins() {
    let file = "[http]\nconnections = 1\nbody_max = 4096\ntimeout = \"1s\"\nopen = true";
    let loaded = with_file(file)
        .environment(variables(&[
            ("HOLDFAST_HTTP_CONNECTIONS", "2"),
            ("HOLDFAST_HTTP_TIMEOUT", "2s"),
            ("HOLDFAST_SYNC_HUBS", "a:1, b:2"),
            ("HOLDFAST_HTPP_OPEN", "false"),
            ("PATH", "/bin"),
        ]))
        .flag("http.timeout", Some("3s"))
        .flag("http.listen", None::<Listen>)
        .load::<Sample>()
        .unwrap();
    let Sample { http, sync, .. } = loaded.config;
    assert_eq!((http.connections, http.body_max, http.open), (2, Bytes(4_096), true));
    assert_eq!(http.timeout.to_string(), "3s");
    assert_eq!(sync.hubs, ["a:1", "b:2"]);
    assert_eq!(loaded.unused, ["HOLDFAST_HTPP_OPEN"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_closest_one() {
    let text = error(with_file("[http]\n\nlisten_on = \"x\""));
    assert!(
        text.ends_with(":3: unknown key `http.listen_on`; did you mean `http.listen`?"),
        "{text}"
    );
    let text = error(with_file("\n[htpp]\nopen = true"));
    assert!(text.ends_with(":2: unknown key `htpp`; did you mean `http`?"), "{text}");
    let text = error(with_file("listen = \"x\""));
    assert!(text.contains("did you mean `http.listen`?"), "{text}");
    let text = error(with_file("[http]\nzzz = 1"));
    assert!(text.ends_with(":2: unknown key `http.zzz`"), "{text}");
    let text = error(Layers::default().flag("http.opne", Some(true)));
    assert_eq!(text, "flag for http.opne: unknown key `http.opne`; did you mean `http.open`?");
}

#[test]
fn sections_with_names_of_their_own_are_read_and_judged() {
    let named = "[people.ann]\nage = 3\n[people.bob]\nage = 4";
    let loaded = with_file(named).load::<Sample>().unwrap();
    let ages = loaded.config.people.iter().map(|(name, one)| (name.as_str(), one.age));
    assert_eq!(ages.collect::<Vec<_>>(), [("ann", 3), ("bob", 4)]);
    let text = error(with_file("[http]\n[people.ann]\n\naeg = 3"));
    assert!(text.contains(":4: ") && text.contains("`aeg`"), "{text}");
    let text = error(with_file("[people.ann]\nage = \"x\""));
    assert!(text.contains(":2: ") && text.contains("`age`"), "{text}");
    let text = error(with_file("[people]\nann = 3"));
    assert!(text.contains(":2: "), "{text}");
}

#[test]
fn a_wrong_value_is_named_with_its_place() {
    for (file, words) in [
        ("[http]\nopen = 1", &[":2: ", "`open`", "expected a boolean"][..]),
        ("[http]\n\nlisten = \"here\"", &[":3: ", "`listen`", "ADDRESS:PORT", "`here`"]),
        ("[http]\nbody_max = \"lots\"", &[":2: ", "64MiB"]),
        ("[http]\nconnections = -1", &[":2: ", "`connections`"]),
        ("http = 3", &[":1: ", "`http`"]),
        ("[http]\nopen = tru", &[":2: "]),
        ("[http]\nopen = true\nopen = true", &[":3: ", "duplicate key"]),
    ] {
        let text = error(with_file(file));
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    for (name, value, words) in [
        ("HOLDFAST_HTTP_CONNECTIONS", "many", "expected a whole number, got `many`"),
        ("HOLDFAST_HTTP_OPEN", "yes", "expected true or false, got `yes`"),
        ("HOLDFAST_HTTP_TIMEOUT", "5", "`250ms`"),
    ] {
        let text = error(Layers::default().environment(variables(&[(name, value)])));
        assert!(text.starts_with(name) && text.contains(words), "{text}");
    }
    let missing = Layers::default().file(Path::new("/nowhere/x.toml")).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/x.toml: cannot be read"));
}

#[test]
fn a_template_shows_every_key_at_its_default() {
    check_template::<Sample>(TEMPLATE).unwrap();
    for (from, to, words) in [
        ("#open = false\n", "", "`http.open` is not shown"),
        ("#open = false", "#open = true", "`http.open` is shown as true"),
        ("#open = false", "open = true", "changes a default"),
        ("#open", "#opne", "uncommented"),
    ] {
        let error = check_template::<Sample>(&TEMPLATE.replace(from, to)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
