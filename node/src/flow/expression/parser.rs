//! The tree of an expression, by the strength with which signs bind (Pratt, 1973).

use super::super::diagnostic::Place;
use super::lexer::{Word, words};
use super::{Binary, DEPTH_MAX, Expr, Fault, Node, TEXT_MAX_BYTES};

/// Words that mean something of their own.
const RESERVED: [&str; 4] = ["true", "false", "in", "null"];

/// Reads an expression; `place_at` gives the place of a byte of it.
pub(in super::super) fn parse(
    text: &str,
    place_at: impl Fn(usize) -> Place,
) -> Result<Expr, Fault> {
    if text.len() > TEXT_MAX_BYTES {
        let message = format!("the expression has {} bytes: at most {TEXT_MAX_BYTES}", text.len());
        return Err(Fault::advised(0, message, "divide it with `let`"));
    }
    let words = words(text)?;
    let mut parser = Parser { words: &words, at: 0, depth: 0, place_at: &place_at };
    if let Word::End = parser.peek() {
        return Err(Fault::new(0, "an expression is expected here"));
    }
    let expr = parser.choice()?;
    match parser.peek() {
        Word::End => Ok(expr),
        _ => Err(parser.unexpected("the end of the expression or an operator")),
    }
}

struct Parser<'w> {
    words: &'w [(usize, Word)],
    at: usize,
    depth: usize,
    place_at: &'w dyn Fn(usize) -> Place,
}

impl Parser<'_> {
    fn peek(&self) -> &Word {
        self.words.get(self.at).map_or(&Word::End, |(_, word)| word)
    }

    /// The byte at which the next word begins.
    fn offset(&self) -> usize {
        self.words.get(self.at).or(self.words.last()).map_or(0, |(offset, _)| *offset)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Word::Sign(next) if *next == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let at = self.offset();
        let found = match self.peek() {
            Word::End => "the end".to_owned(),
            Word::Text(_) => "a text".to_owned(),
            Word::Int(_) | Word::Decimal(_) => "a number".to_owned(),
            Word::Name(name) => format!("`{name}`"),
            Word::Sign(sign) => format!("`{sign}`"),
        };
        let message = format!("{wanted} is expected here, not {found}");
        let advice = match self.peek() {
            Word::Sign("=") => "two values are compared with `==`",
            Word::Sign("&") => "both is written `&&`",
            Word::Sign("|") => "either is written `||`",
            Word::Name(name) if name == "and" => "both is written `&&`",
            Word::Name(name) if name == "or" => "either is written `||`",
            Word::Name(name) if name == "not" => "the opposite is written `!`",
            Word::Name(name) if name == "in" => {
                return Fault::advised(at, "`in` is not supported", "compare with `==` and `||`");
            }
            Word::Sign("[") => {
                let advice = "`each` goes through a list";
                return Fault::advised(at, "an index (`a[0]`) is not supported", advice);
            }
            _ => return Fault::new(at, message),
        };
        Fault::advised(at, message, advice)
    }

    fn made(&self, at: usize, node: Node) -> Result<Expr, Fault> {
        let depth = node.depth();
        let expr = Expr { place: (self.place_at)(at), node, depth };
        if depth > DEPTH_MAX { Err(self.too_deep()) } else { Ok(expr) }
    }

    fn too_deep(&self) -> Fault {
        let message = format!("more than {DEPTH_MAX} parts lie in each other here");
        Fault::advised(self.offset(), message, "divide it with `let`")
    }

    /// One more round of reading within another; parentheses make no part of the tree.
    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > 2 * DEPTH_MAX { Err(self.too_deep()) } else { Ok(()) }
    }

    fn choice(&mut self) -> Result<Expr, Fault> {
        let (at, depth) = (self.offset(), self.depth);
        self.deeper()?;
        let condition = self.binary(0)?;
        let expr = if self.takes("?") {
            let yes = self.choice()?;
            self.expect(":")?;
            let no = self.choice()?;
            self.made(at, Node::Choice(Box::new(condition), Box::new(yes), Box::new(no)))?
        } else {
            condition
        };
        self.depth = depth;
        Ok(expr)
    }

    fn binary(&mut self, above: u8) -> Result<Expr, Fault> {
        let mut left = self.unary()?;
        while let Word::Sign(sign) = *self.peek() {
            let Some(binary) = Binary::of(sign).filter(|it| it.power() > above) else { break };
            let at = self.offset();
            self.at += 1;
            let right = self.binary(binary.power())?;
            left = self.made(at, Node::Binary(binary, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let (at, depth) = (self.offset(), self.depth);
        self.deeper()?;
        let expr = if self.takes("!") {
            let of = self.unary()?;
            self.made(at, Node::Not(Box::new(of)))?
        } else if self.takes("-") {
            let of = self.unary()?;
            self.made(at, Node::Negative(Box::new(of)))?
        } else {
            self.behind()?
        };
        self.depth = depth;
        Ok(expr)
    }

    /// A value and what stands behind it: `.name` and `.name(...)`.
    fn behind(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.value()?;
        while self.is(".") {
            let at = self.offset();
            self.at += 1;
            let Word::Name(name) = self.peek().clone() else {
                return Err(self.unexpected("a name"));
            };
            self.at += 1;
            if self.takes("(") {
                let arguments = self.arguments()?;
                expr = self.made(at, Node::Method(Box::new(expr), name, arguments))?;
            } else if let Node::Name(of) = &mut expr.node {
                *of = format!("{of}.{name}");
            } else {
                let message = format!("`.{name}` is only there behind a name");
                return Err(Fault::new(at, message));
            }
        }
        Ok(expr)
    }

    fn value(&mut self) -> Result<Expr, Fault> {
        let at = self.offset();
        let node = match self.peek().clone() {
            Word::Int(value) => Node::Int(value),
            Word::Decimal(value) => Node::Decimal(value),
            Word::Text(text) => Node::Text(text),
            Word::Name(name) => return self.name(at, name),
            Word::Sign("(") => {
                self.at += 1;
                let expr = self.choice()?;
                self.expect(")")?;
                return Ok(expr);
            }
            Word::Sign("[") => {
                let advice = "`each` goes through a list";
                return Err(Fault::advised(at, "lists (`[...]`) are not supported", advice));
            }
            Word::Sign("{") => {
                let advice = "a value for each name: one `let` for each";
                let message = "`map` literals are not supported: `{` begins one";
                return Err(Fault::advised(at, message, advice));
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        self.made(at, node)
    }

    fn name(&mut self, at: usize, name: String) -> Result<Expr, Fault> {
        let node = match name.as_str() {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "null" => {
                let advice = "what can be missing has a `default` where it comes in";
                return Err(Fault::advised(at, "`null` is not supported", advice));
            }
            "in" | "and" | "or" | "not" => return Err(self.unexpected("a value")),
            _ => {
                self.at += 1;
                let node = if self.takes("(") {
                    Node::Call(name, self.arguments()?)
                } else {
                    Node::Name(name)
                };
                return self.made(at, node);
            }
        };
        self.at += 1;
        self.made(at, node)
    }

    /// What stands between parentheses, the closing one included.
    fn arguments(&mut self) -> Result<Vec<Expr>, Fault> {
        let mut out = Vec::new();
        if self.takes(")") {
            return Ok(out);
        }
        loop {
            out.push(self.choice()?);
            if self.takes(")") {
                return Ok(out);
            }
            if !self.takes(",") {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
    }
}

/// Whether a variable can be called so.
pub(in super::super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.len() <= super::NAME_BYTES
        && chars.all(super::lexer::is_of_name)
        && !RESERVED.contains(&text)
}
