//! Workflows and runs as they are kept. Byte-exact page: `docs/formats/runs.md`.

use holdfast_core::Reject;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::flow::image::IMAGE_MAX_BYTES;
use holdfast_core::flow::memory::Phase;
use holdfast_core::limits::{DEVICE_MAX_BYTES, NOTE_MAX_BYTES};
pub use holdfast_core::log::runs::{BY_MAX_BYTES, INPUT_MAX_BYTES};
use holdfast_core::log::runs::{RunId, What};

/// Bytes of the id of a workflow, and of a version.
pub const NAME_MAX_BYTES: usize = 64;
/// Bytes of the memory of a run.
const MEMORY_MAX_BYTES: usize = 16 << 10;
const FORMAT: u8 = 1;

/// A run that waits for another one, and the number of the effect at which it does.
pub type Parent = (RunId, u32);

/// Tags by which a site restricts a workflow.
pub const ONLY_MAX: usize = 8;
/// Bytes of the name of a tag, and of its value.
pub const TAG_MAX_BYTES: usize = 64;

/// The artefact that a workflow came as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which one.
    pub artefact: ArtefactId,
    /// Tags that a device must have for what is found of it to begin a run.
    pub only: Vec<(String, String)>,
    /// Whether no site uses it any more: it goes when its last run is over.
    pub is_given_up: bool,
}

/// A workflow that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// When, Unix milliseconds.
    pub added_ms: i64,
    /// By whom.
    pub by: String,
    /// Whether new runs may begin.
    pub is_enabled: bool,
    /// The artefact, where its site has it used; otherwise somebody installed it here.
    pub origin: Option<Origin>,
    /// The image.
    pub image: Vec<u8>,
}

impl Installed {
    /// The key of a version of a workflow.
    #[must_use]
    pub fn key(id: &str, version: &str) -> Vec<u8> {
        [id.as_bytes(), &[0], version.as_bytes()].concat()
    }

    /// Whether a site has it used.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| !origin.is_given_up)
    }

    /// Its value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = started();
        let put = |out: &mut Vec<u8>| {
            out.put_int(self.added_ms)?;
            out.put_bytes(self.by.as_bytes())?;
            out.put_u8(u8::from(self.is_enabled))?;
            put_origin(out, self.origin.as_ref())?;
            out.put_bytes(&self.image)
        };
        put(&mut out).expect("a vector has room");
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let added_ms = reader.int()?;
        let by = reader.str(BY_MAX_BYTES)?.to_owned();
        let is_enabled = flag(&mut reader)?;
        let origin = read_origin(&mut reader)?;
        let image = reader.bytes(IMAGE_MAX_BYTES)?.to_vec();
        reader.finish()?;
        Ok(Self { added_ms, by, is_enabled, origin, image })
    }
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its workflow.
    pub workflow: String,
    /// The version to which it is pinned.
    pub version: String,
    /// Who or what began it.
    pub by: String,
    /// When it did its last step, Unix milliseconds.
    pub stepped_ms: i64,
    /// Lines of its history so far.
    pub lines: u32,
    /// The run that waits for it, and the number of the effect there.
    pub parent: Option<Parent>,
    /// Why a fiber is parked or repeats an effect, in words.
    pub reasons: Vec<(u8, String)>,
    /// The run itself.
    pub memory: Vec<u8>,
    /// The device that runs it, where it is not this node.
    pub device: Option<String>,
}

impl Run {
    /// Its value, of one that this node runs or that is over.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = started();
        let put = |out: &mut Vec<u8>| {
            self.put(out)?;
            self.device.iter().try_for_each(|device| out.put_bytes(device.as_bytes()))
        };
        put(&mut out).expect("a vector has room");
        out
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        for text in [&self.workflow, &self.version, &self.by] {
            out.put_bytes(text.as_bytes())?;
        }
        out.put_int(self.stepped_ms)?;
        out.put_uint(u64::from(self.lines))?;
        put_parent(out, self.parent)?;
        out.put_uint(self.reasons.len() as u64)?;
        for (fiber, text) in &self.reasons {
            out.put_u8(*fiber)?;
            out.put_bytes(text.as_bytes())?;
        }
        out.put_bytes(&self.memory)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let mut run = Self::read(&mut reader)?;
        if !reader.rest().is_empty() {
            run.device = Some(reader.str(DEVICE_MAX_BYTES)?.to_owned());
        }
        reader.finish()?;
        Ok(run)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let mut name = || Ok(reader.str(NAME_MAX_BYTES)?.to_owned());
        let (workflow, version) = (name()?, name()?);
        let by = reader.str(BY_MAX_BYTES)?.to_owned();
        let stepped_ms = reader.int()?;
        let lines = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        let parent = read_parent(reader)?;
        let mut reasons = Vec::new();
        for _ in 0..reader.uint()? {
            let fiber = reader.u8()?;
            reasons.push((fiber, reader.str(NOTE_MAX_BYTES)?.to_owned()));
        }
        let memory = reader.bytes(MEMORY_MAX_BYTES)?.to_vec();
        let of_nobody = Self { workflow, version, by, stepped_ms, lines, ..Self::default() };
        Ok(Self { parent, reasons, memory, ..of_nobody })
    }

    /// How far it is, from its memory; `None` for bytes that no run has.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Phase::from_u8(*self.memory.get(1)?)
    }
}

/// A run on a device that is under way, as far as its steps have come here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Afar {
    /// The run, with its device.
    pub run: Run,
    /// The number of the last step that was taken.
    pub count: u32,
}

impl Afar {
    /// Its value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = started();
        let device = self.run.device.as_deref().unwrap_or_default();
        let put = |out: &mut Vec<u8>| {
            out.put_bytes(device.as_bytes())?;
            out.put_uint(u64::from(self.count))?;
            out.put_u8(FORMAT)?;
            self.run.put(out)
        };
        put(&mut out).expect("a vector has room");
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let device = reader.str(DEVICE_MAX_BYTES)?.to_owned();
        let count = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        if reader.u8()? != FORMAT {
            return Err(Reject::Version);
        }
        let run = Run { device: Some(device), ..Run::read(&mut reader)? };
        reader.finish()?;
        Ok(Self { run, count })
    }
}

/// A run that is to begin when there is room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The version to which it is pinned.
    pub version: String,
    /// Who or what wants it.
    pub by: String,
    /// The run that waits for it, and the number of the effect there.
    pub parent: Option<Parent>,
    /// What it is given, as JSON.
    pub input: String,
}

impl Waiting {
    /// The key of a run of a workflow: in the order in which they were wanted.
    #[must_use]
    pub fn key(workflow: &str, run: RunId) -> Vec<u8> {
        [workflow.as_bytes(), &[0], &run.0].concat()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`Reject::Malformed`]
    pub fn of_key(key: &[u8]) -> Result<(&str, RunId), Reject> {
        let (workflow, run) = key.split_last_chunk::<16>().ok_or(Reject::Malformed)?;
        let workflow = workflow.strip_suffix(&[0]).ok_or(Reject::Malformed)?;
        let workflow = std::str::from_utf8(workflow).map_err(|_| Reject::Malformed)?;
        Ok((workflow, RunId(*run)))
    }

    /// Its value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = started();
        let put = |out: &mut Vec<u8>| {
            out.put_bytes(self.version.as_bytes())?;
            out.put_bytes(self.by.as_bytes())?;
            put_parent(out, self.parent)?;
            out.put_bytes(self.input.as_bytes())
        };
        put(&mut out).expect("a vector has room");
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let version = reader.str(NAME_MAX_BYTES)?.to_owned();
        let by = reader.str(BY_MAX_BYTES)?.to_owned();
        let parent = read_parent(&mut reader)?;
        let input = reader.str(INPUT_MAX_BYTES)?.to_owned();
        reader.finish()?;
        Ok(Self { version, by, parent, input })
    }
}

/// A line of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What happened.
    pub what: What,
    /// The line of the source.
    pub line: u32,
    /// What people read.
    pub text: String,
}

impl Line {
    /// Reads a record: when, and what.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(value: &[u8]) -> Result<(i64, Self), Reject> {
        let mut reader = open(value)?;
        let at_ms = reader.int()?;
        let what = What::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let line = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        let text = reader.str(NOTE_MAX_BYTES)?.to_owned();
        reader.finish()?;
        Ok((at_ms, Self { what, line, text }))
    }

    /// Its value, of a line that was written at `at_ms`.
    #[must_use]
    pub fn encode(&self, at_ms: i64) -> Vec<u8> {
        let mut out = started();
        let put = |out: &mut Vec<u8>| {
            out.put_int(at_ms)?;
            out.put_u8(self.what as u8)?;
            out.put_uint(u64::from(self.line))?;
            out.put_bytes(self.text.as_bytes())
        };
        put(&mut out).expect("a vector has room");
        out
    }
}

/// The beginning of a record.
pub(crate) fn started() -> Vec<u8> {
    vec![FORMAT]
}

/// Reads the beginning of a record.
pub(crate) fn open(value: &[u8]) -> Result<Reader<'_>, Reject> {
    let mut reader = Reader::new(value);
    if reader.u8()? == FORMAT { Ok(reader) } else { Err(Reject::Version) }
}

fn put_origin(out: &mut Vec<u8>, origin: Option<&Origin>) -> Result<(), Reject> {
    let Some(Origin { artefact, only, is_given_up }) = origin else { return out.put_u8(0) };
    out.put_u8(1)?;
    out.put(&artefact.0)?;
    out.put_u8(u8::from(*is_given_up))?;
    out.put_uint(only.len() as u64)?;
    for (name, value) in only {
        out.put_bytes(name.as_bytes())?;
        out.put_bytes(value.as_bytes())?;
    }
    Ok(())
}

fn read_origin(reader: &mut Reader<'_>) -> Result<Option<Origin>, Reject> {
    if !flag(reader)? {
        return Ok(None);
    }
    let artefact = ArtefactId(reader.array()?);
    let is_given_up = flag(reader)?;
    let count = reader.uint()?;
    if count > ONLY_MAX as u64 {
        return Err(Reject::Full);
    }
    let mut text = || Ok(reader.str(TAG_MAX_BYTES)?.to_owned());
    let only = (0..count).map(|_| Ok((text()?, text()?))).collect::<Result<_, Reject>>()?;
    Ok(Some(Origin { artefact, only, is_given_up }))
}

fn put_parent(out: &mut Vec<u8>, parent: Option<Parent>) -> Result<(), Reject> {
    let Some((run, serial)) = parent else { return out.put_u8(0) };
    out.put_u8(1)?;
    out.put(&run.0)?;
    out.put_uint(u64::from(serial))
}

fn read_parent(reader: &mut Reader<'_>) -> Result<Option<Parent>, Reject> {
    if !flag(reader)? {
        return Ok(None);
    }
    let run = RunId(reader.array()?);
    let serial = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
    Ok(Some((run, serial)))
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, Reject> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reject::Malformed),
    }
}
