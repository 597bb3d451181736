//! The compiler of workflows: a definition that people write becomes an image that nodes run.
//!
//! Four stages, each of which tells all that is wrong in it: the text becomes a tree (`source`),
//! the tree a workflow whose keys and values are known (`definition`), the workflow operations
//! (`emit`), which the verifier of `core` accepts, as every node will that is sent the image
//! (`judge`).

mod begins;
mod definition;
mod diagnostic;
mod duration;
mod emit;
mod explain;
mod expression;
mod judge;
mod source;

pub use begins::begins;
pub use diagnostic::Diagnostic;
pub use duration::{parse as duration_ms, shown as duration_shown};
pub use explain::{Outline, explain};

use diagnostic::{Report, Told};
use holdfast_core::flow::about::Placement;

/// A workflow that was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The image.
    pub image: Vec<u8>,
    /// What the workflow is called.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What people read.
    pub title: String,
    /// Where it runs.
    pub placement: Placement,
    /// What is not wrong, and probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a definition, in YAML or JSON.
///
/// # Errors
/// Everything that is wrong with it, in the order of lines.
pub fn compile(text: &str) -> Result<Compiled, Vec<Diagnostic>> {
    let mut report = Report::default();
    match compile_with(text, &mut report) {
        Ok(compiled) => Ok(Compiled { warnings: report.into_warnings(), ..compiled }),
        Err(Told) => Err(report.into_errors()),
    }
}

fn compile_with(text: &str, report: &mut Report) -> Result<Compiled, Told> {
    let tree = source::parse(text, report)?;
    let definition = definition::read(&tree, report)?;
    let draft = emit::emit(&definition, report)?;
    let image = judge::judge(&draft, &definition, report)?;
    let definition::Definition { id, version, title, placement, .. } = definition;
    Ok(Compiled { image, id, version, title, placement, warnings: Vec::new() })
}

#[cfg(test)]
mod tests;
