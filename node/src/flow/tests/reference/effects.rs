//! Effects of a drawn definition: what is said with them, how they are repeated, what undoes them.

use super::expressions;
use super::generate::{Around, ERRORS, KINDS, LENGTHS, Whose, Writer, quoted};

impl Writer {
    /// A text with values in it, in quotes.
    fn template(&mut self, begin: &str, around: Around) -> String {
        let mut text = begin.to_owned();
        while self.random.often(45) {
            let kind = self.random.pick(&KINDS);
            let expr = expressions::draw(self, kind, 1, around);
            text.push_str(&format!("{}${{{expr}}}", self.random.pick(&["/", "", "$", "\"é"])));
        }
        quoted(&text)
    }

    /// Something of JSON, with values in it.
    fn json(&mut self, around: Around) -> String {
        let kind = self.random.pick(&KINDS);
        let value = quoted(&format!("${{{}}}", expressions::draw(self, kind, 1, around)));
        match self.random.below(3) {
            0 => value,
            1 => format!("{{v: {value}, w: [1, null, {}]}}", self.template("x", around)),
            _ => format!("[{value}, {value}, 2.50]"),
        }
    }

    pub(super) fn effect(&mut self, around: Around) -> bool {
        let (pad, start) = (around.pad, self.flags());
        let (name, json) = (self.template("n", around), self.json(around));
        let device = self.template("d", around);
        let method = self.random.pick(&["GET", "POST", "PUT", "PATCH"]);
        let inner = pad + 2;
        match self.random.below(11) {
            0 => self.lines(pad, &[("- publish", &name), ("payload", &json), ("qos", "1")]),
            1 => self.line(pad, &format!("- set: {{device: {device}, path: p, value: {json}}}")),
            2 | 3 => self.lines(pad, &[("- command", &name), ("device", &device), ("args", &json)]),
            4 => {
                self.line(pad, &format!("- http: {{method: {method}, url: {name}, body: {json}}}"));
            }
            5 => self.lines(pad, &[("- raise", &name), ("severity", "info"), ("text", &device)]),
            6 => self.lines(pad, &[("- clear", &name), ("device", &device)]),
            7 => self.lines(pad, &[("- notify", &name), ("text", &device)]),
            8 => self.lines(pad, &[("- emit", &name), ("value", &json), ("unit", &device)]),
            9 => self.lines(pad, &[("- forward", &name), ("args", &json)]),
            _ => self.lines(pad, &[("- run", "other"), ("args", &json)]),
        }
        if self.random.often(50) {
            let timeout = self.random.pick(&LENGTHS);
            self.line(inner, &format!("timeout: {timeout}"));
        }
        if self.random.often(25) {
            let truth = self.random.often(40);
            self.line(inner, &format!("idempotent: {truth}"));
        }
        self.retry(inner);
        self.results(inner);
        self.label(around);
        let undone = around.whose != Whose::Undo && !around.repeated;
        if undone && self.random.often(50) {
            self.line(inner, "undo:");
            let around = Around { whose: Whose::Undo, caught: false, ..around.deeper(4) };
            self.scope(&[], |writer| writer.steps(around));
        }
        self.catches(40, &start, true, around)
    }

    /// The first line of a step, and those of its keys.
    fn lines(&mut self, pad: usize, keys: &[(&str, &str)]) {
        for (index, (key, value)) in keys.iter().enumerate() {
            self.line(if index == 0 { pad } else { pad + 2 }, &format!("{key}: {value}"));
        }
    }

    pub(super) fn label(&mut self, around: Around) {
        if !around.copied && self.random.often(10) {
            self.labels += 1;
            let label = self.labels;
            self.line(around.pad + 2, &format!("label: l{label}"));
        }
    }

    fn retry(&mut self, pad: usize) {
        let count = self.random.pick(&[0, 0, 0, 1, 1, 2]);
        let mut rules = Vec::new();
        for _ in 0..count {
            let attempts = 1 + self.random.below(4);
            let first = self.random.pick(&LENGTHS[..6]);
            let factor = self.random.pick(&["1", "1.5", "2", "10"]);
            let jitter = self.random.pick(&["0", "20%", "100%", "50"]);
            let on = self.errors();
            rules.push(format!(
                "{{attempts: {attempts}, first: {first}, factor: {factor}, at_most: 1m, \
                 jitter: {jitter}, on: {on}}}"
            ));
        }
        match rules.as_slice() {
            [] => {}
            [rule] => self.line(pad, &format!("retry: {rule}")),
            rules => self.line(pad, &format!("retry: [{}]", rules.join(", "))),
        }
    }

    /// Names of errors.
    pub(super) fn errors(&mut self) -> String {
        match self.random.below(5) {
            0 | 1 => "any".to_owned(),
            2 => self.random.pick(&ERRORS).to_owned(),
            _ => format!("[{}, {}]", self.random.pick(&ERRORS), self.random.pick(&ERRORS)),
        }
    }

    fn results(&mut self, pad: usize) {
        if !self.random.often(35) {
            return;
        }
        let mut written = Vec::new();
        self.line(pad, "result:");
        for _ in 0..1 + self.random.below(2) {
            let kind = self.random.pick(&KINDS);
            let (at, kind) = self.target(kind);
            if written.contains(&at) {
                continue;
            }
            let (name, field) = (self.vars[at].name.clone(), self.field(kind));
            self.line(pad + 2, &format!("{name}: {field}"));
            self.vars[at].set = true;
            written.push(at);
        }
    }
}
