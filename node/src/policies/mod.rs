//! How concurrent writes are resolved at each site.
//!
//! The document `site/<site>` has the lines of its site's policy: `policies/<name>` is a text of
//! three words, which documents, which paths, and the rule. Lines are taken by their names, and the
//! first that matches counts. So a policy is state like any other: written at the hub or at the
//! site, with or without a link, and the same wherever the document is the same. A text that is no
//! line is passed over, everywhere alike.
//!
//! Sites are asked for with each document that arrives, so what their documents say is kept here as
//! the bytes of a [`Policy`].

use holdfast_core::state::{Line, Path, Pattern, Policy, Rule, Shown, Value};
use holdfast_sync::Fault;
use holdfast_sync::docs::{Class, Contents, DocumentName, Documents};
use holdfast_sync::store::ReadRecords;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Where the lines are in a site's document.
const FOLDER: &str = "policies/";

/// The policies of all sites that have one.
#[derive(Default)]
pub struct Policies {
    sites: RwLock<HashMap<String, Arc<[u8]>>>,
}

impl Policies {
    /// Reads what the stored documents say.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn load(records: &(impl ReadRecords + ?Sized)) -> Result<Self, Fault> {
        let out = Self::default();
        for document in Documents::list(records, "site/")? {
            out.learn(records, &document)?;
        }
        Ok(out)
    }

    /// Takes notice of a document that changed.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn learn(
        &self,
        records: &(impl ReadRecords + ?Sized),
        document: &DocumentName,
    ) -> Result<(), Fault> {
        let Some(site) = document.as_str().strip_prefix("site/") else { return Ok(()) };
        let bytes = compile(&lines(&Contents::read(records, document)?, document));
        let mut sites = self.sites.write().unwrap_or_else(PoisonError::into_inner);
        sites.insert(site.to_owned(), bytes.into());
        Ok(())
    }

    /// How the cells of `document` are resolved at `site`. Of the document that says so itself the
    /// last writer wins.
    #[must_use]
    pub fn of(&self, site: Option<&str>, document: &DocumentName) -> Arc<[u8]> {
        let sites = self.sites.read().unwrap_or_else(PoisonError::into_inner);
        let site = site.filter(|_| document.class() != Class::Site);
        let known = site.and_then(|site| sites.get(site)).cloned();
        known.unwrap_or_else(|| Policy::LWW.as_bytes().into())
    }
}

/// A line of a site's policy, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name, by which lines are ordered.
    pub name: String,
    /// Which documents.
    pub documents: String,
    /// Which paths.
    pub paths: String,
    /// How they are resolved.
    pub rule: Rule,
}

impl Written {
    /// Reads the text of a line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [documents, paths, rule] = words.as_slice() else {
            return Err(format!("`{text}` has not three words: documents, paths, rule"));
        };
        for pattern in [documents, paths] {
            Pattern::new(pattern).map_err(|_| {
                format!("`{pattern}` is no pattern: names, `*` for one, `**` at the end for all")
            })?;
        }
        let rule = Rule::from_name(rule).ok_or_else(|| {
            let names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
            format!("`{rule}` is no rule: one of {}", names.join(", "))
        })?;
        let (documents, paths) = ((*documents).to_owned(), (*paths).to_owned());
        Ok(Self { name: name.to_owned(), documents, paths, rule })
    }

    /// The text of the line.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {}", self.documents, self.paths, self.rule.name())
    }

    /// The path at which the line called `name` is.
    #[must_use]
    pub fn path(name: &str) -> String {
        format!("{FOLDER}{name}")
    }
}

/// The lines of a site's document, in their order.
#[must_use]
pub fn lines(contents: &Contents, document: &DocumentName) -> Vec<Written> {
    contents.view(document, &Policy::LWW, |view| {
        let line = |path: Path<'_>, shown: Shown<'_>| {
            let name = path.as_str().strip_prefix(FOLDER)?;
            let Shown::Value(Value::Text(text)) = shown else { return None };
            Written::parse(name, text.as_str()).ok()
        };
        let live = view.filter(|resolved| !resolved.is_hidden);
        live.filter_map(|resolved| line(resolved.path, resolved.outcome.shown())).collect()
    })
}

/// The lines as the bytes of a [`Policy`]; beyond its bound the last ones are left out.
#[must_use]
pub fn compile(lines: &[Written]) -> Vec<u8> {
    let line = |line| {
        let Written { documents, paths, rule, .. }: &Written = line;
        let (document, path) = (Pattern::new(documents).ok()?, Pattern::new(paths).ok()?);
        Some(Line { document, path, rule: *rule })
    };
    let max = holdfast_core::limits::POLICY_MAX_LINES;
    let lines: Vec<_> = lines.iter().filter_map(line).take(max).collect();
    let mut out = Vec::new();
    Policy::encode(&lines, &mut out).expect("no more lines than a policy has, and room for them");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_three_words() {
        let line = Written::parse("10", "device/*/desired limits/**  min").unwrap();
        assert_eq!(line.text(), "device/*/desired limits/** min");
        assert_eq!(line.rule, Rule::Min);
        for (wrong, says) in [
            ("", "has not three words"),
            ("device/*/desired min", "has not three words"),
            ("** ** best", "`best` is no rule: one of lww, max"),
            ("device/**/x ** lww", "`device/**/x` is no pattern"),
        ] {
            let said = Written::parse("x", wrong).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }

    #[test]
    fn the_first_line_by_name_counts() {
        let line = |name, text| Written::parse(name, text).unwrap();
        let bytes = compile(&[line("a", "** limits/** min"), line("b", "** ** keep-all")]);
        let policy = Policy::from_bytes(&bytes).unwrap();
        let rule =
            |path| policy.rule(Path::new("device/p/desired").unwrap(), Path::new(path).unwrap());
        assert_eq!((rule("limits/low"), rule("speed")), (Rule::Min, Rule::KeepAll));
    }
}
