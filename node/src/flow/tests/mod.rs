//! Workflows compiled, verified and run: what they ask for, wait for and come to.

mod bad;
mod branches;
mod devices;
mod effects;
mod explained;
mod expressions;
mod migrate;
mod reference;
mod schema;
mod spoiled;
mod steps;
mod undoing;

use super::compile;
use holdfast_core::flow::image::{Named, Type};
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::view::{self, Wait};
use holdfast_core::flow::{
    Code, Given, Image, Input, Memory, Moment, Outcome, Phase, Refusal, Resolution, Slot, signal,
    start, step,
};

/// What a run begins at: Unix milliseconds.
const BEGIN: i64 = 1_000_000;

/// A run of a workflow.
struct Run {
    image: Vec<u8>,
    memory: Vec<u8>,
    now_ms: i64,
}

/// The definition with these lines, and a head that it does not have itself.
fn whole(lines: &str) -> String {
    format!("workflow: test\nversion: \"1\"\n{lines}")
}

impl Run {
    /// Begins a run of steps that stand there without a head.
    fn of(lines: &str) -> Self {
        Self::with(lines, &[])
    }

    fn with(lines: &str, inputs: &[Option<Given<'_>>]) -> Self {
        let image = match compile(&whole(lines)) {
            Ok(compiled) => compiled.image,
            Err(wrong) => panic!("{}", wrong[0]),
        };
        let parsed = Image::parse(&image).unwrap();
        let mut memory = vec![0; bytes_of(parsed.sizes)];
        let moment = Moment { now_ms: BEGIN, entropy: 0 };
        let more = start(&parsed, &mut memory, inputs, moment).unwrap();
        let mut run = Self { image, memory, now_ms: BEGIN };
        if more {
            run.settle();
        }
        run
    }

    fn image(&self) -> Image<'_> {
        Image::parse(&self.image).unwrap()
    }

    fn memory(&self) -> Memory<'_> {
        Memory::new(&self.memory, self.image().sizes).unwrap()
    }

    fn put(&mut self, input: Input<'_>) {
        let image = Image::parse(&self.image).unwrap();
        let moment = Moment { now_ms: self.now_ms, entropy: 0 };
        let more = step(&image, &mut self.memory, &input, moment).unwrap();
        view::check(&image, &self.memory).unwrap();
        if more {
            self.settle();
        }
    }

    fn settle(&mut self) {
        while !self.phase().is_over() && view::next_deadline(self.memory()) == i64::MIN {
            self.put(Input::Tick);
        }
    }

    /// So many milliseconds pass.
    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.put(Input::Tick);
    }

    /// The effects that are asked for: number, kind and arguments.
    fn asked(&self) -> Vec<String> {
        let (image, memory) = (self.image(), self.memory());
        let all = view::pending(&image, memory).map(|pending| {
            let effect = image.effect(pending.effect).unwrap();
            let mut out = format!("{} {}", pending.serial, effect.kind.name());
            for (argument, template) in effect.arguments() {
                let mut bytes = Vec::new();
                template.render(&image, &memory, &mut bytes).unwrap();
                let text = String::from_utf8(bytes).unwrap();
                out.push_str(&format!(" {}={text}", format!("{argument:?}").to_lowercase()));
            }
            out
        });
        all.collect()
    }

    fn answer(&mut self, serial: u32, values: &[Option<Given<'_>>]) {
        self.put(Input::Result { serial, outcome: Outcome::Done(values) });
    }

    fn done(&mut self, serial: u32) {
        self.answer(serial, &[]);
    }

    fn failed(&mut self, serial: u32, error: Code) {
        self.put(Input::Result { serial, outcome: Outcome::Failed(error) });
    }

    /// Somebody decides that a branch goes on behind what it failed with.
    fn skip(&mut self, fiber: u8) -> Result<bool, Refusal> {
        let image = Image::parse(&self.image).unwrap();
        let moment = Moment { now_ms: self.now_ms, entropy: 0 };
        let input = Input::Resolve { fiber, how: Resolution::Skip };
        step(&image, &mut self.memory, &input, moment)
    }

    fn signal(&mut self, name: &str, values: &[Option<Given<'_>>]) {
        let image = self.image();
        let all = 0..image.sizes.signals;
        let found =
            all.into_iter().find(|index| signal::signal(&image, *index).unwrap().name == name);
        let signal = found.unwrap_or_else(|| panic!("no signal `{name}`"));
        self.put(Input::Signal { signal, values });
    }

    fn waits(&self) -> Vec<Wait> {
        view::waits(&self.image(), self.memory()).map(|waiting| waiting.wait).collect()
    }

    fn phase(&self) -> Phase {
        self.memory().phase().unwrap()
    }

    /// How it ended: the phase, and the name of the error.
    fn end(&self) -> (Phase, String) {
        let cause = self.memory().cause();
        (self.phase(), self.image().error_name(cause).unwrap_or_default().to_owned())
    }

    fn slot(&self, name: &str) -> Slot {
        let image = self.image();
        let found = image.names().find_map(|(named, known)| match named {
            Named::Slot(slot) if known == name => Some(slot),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no variable `{name}`"))
    }

    /// A variable, as people write it.
    fn value(&self, name: &str) -> String {
        match self.slot(name) {
            Slot::Text(reg) => self.memory().text(reg).to_owned(),
            Slot::Number(reg) => {
                let of = self.image().type_of(reg).unwrap_or(Type::Int);
                let mut bytes = Vec::new();
                let number = self.memory().number(reg);
                holdfast_core::flow::effect::put_number(&mut bytes, of, number).unwrap();
                String::from_utf8(bytes).unwrap()
            }
        }
    }
}

/// The first thing that is wrong with steps that stand there without a head.
fn wrong(lines: &str) -> String {
    match compile(&whole(lines)) {
        Ok(_) => panic!("it is accepted:\n{lines}"),
        Err(wrong) => wrong[0].to_string(),
    }
}
