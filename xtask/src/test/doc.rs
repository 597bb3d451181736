//! Examples in the documentation, run by rustdoc, where there are any.

use super::{Lane, Run};
use crate::report::{Record, Verdict};
use crate::workspace::{Package, Problem};
use crate::{child, tidy, workspace};
use std::path::Path;

/// Runs the examples of every library that has one.
pub fn run(run: &mut Run<'_>, logs: &Path) -> Result<(), Problem> {
    let sources = tidy::read_sources(&run.root);
    let with_examples = run.metadata.packages.iter().filter(|package| {
        let dir = package.manifest_path.parent().and_then(Path::file_name);
        let dir = dir.map(|dir| format!("{}/src/", dir.to_string_lossy())).unwrap_or_default();
        let mut own = sources.iter().filter(|source| source.path.starts_with(&dir));
        is_library(package) && own.any(|source| has_example(&source.text))
    });
    let names: Vec<&str> = with_examples.map(|package| package.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let log = logs.join("doc.log");
    let file = std::fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--doc"]).args(names.iter().flat_map(|name| ["-p", *name])).stdout(file);
    cargo.arg("--").args(&run.options.filter);
    let end = child::run(&mut cargo, None).map_err(|e| format!("cannot run cargo: {e}"))?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let records = results(&text);
    if !end.success() && !records.iter().any(|record| record.verdict == Verdict::Failed) {
        return Err(format!("cargo test --doc failed\n{text}"));
    }
    if !end.success() {
        eprintln!("{text}");
    }
    run.records.extend(records.into_iter().map(|r| Record { log: Some(log.clone()), ..r }));
    Ok(())
}

fn is_library(package: &Package) -> bool {
    package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "lib"))
}

fn has_example(source: &str) -> bool {
    let lines = source.lines().map(str::trim_start);
    let mut docs = lines.filter_map(|l| l.strip_prefix("/// ").or_else(|| l.strip_prefix("//! ")));
    docs.any(|line| line.starts_with("```") && !line.starts_with("```text"))
}

fn results(text: &str) -> Vec<Record> {
    let result = |line: &str| {
        let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let verdict = match outcome {
            "ok" => Verdict::Passed,
            "ignored" => Verdict::Skipped,
            _ => Verdict::Failed,
        };
        Some(Record::new(Lane::Unit, format!("example {name}"), verdict))
    };
    text.lines().filter_map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_a_fence_in_a_doc_comment_that_holds_code() {
        assert!(has_example("/// ```\n/// let a = 1;\n/// ```\n"));
        assert!(!has_example("/// ```text\n"));
        assert!(!has_example("let a = \"```\";\n"));
    }

    #[test]
    fn each_line_of_rustdoc_is_one_result() {
        let text = "test core/src/a.rs - a (line 3) ... ok\ntest b - c (line 1) ... FAILED\n";
        let verdicts: Vec<Verdict> = results(text).iter().map(|r| r.verdict).collect();
        assert_eq!(verdicts, vec![Verdict::Passed, Verdict::Failed]);
    }
}
