//! What an image does, in words.

use super::super::{Outline, explain};
use super::*;
use holdfast_core::flow::about::About;
use holdfast_core::flow::image::Part;
use holdfast_core::flow::{Image, Op};

const DEFINITION: &str = r#"title: Pump guard
lasts: 2h
input: {device: text, limit: {type: decimal, default: 2.5}}
signals: {acknowledged: {by: text}}
output: {n: n}
steps:
  - let: {n: 0}
  - command: stop
    device: ${device}
    timeout: 30s
    retry: {attempts: 3, on: timeout}
    result: {percent: {type: int, default: 0}}
    label: stopping
    undo:
      - command: start
        device: ${device}
    catch:
      - {on: any, do: [{fail: refused}]}
  - wait_for: acknowledged
    within: 15m
  - choose:
      - {if: "reading(device, 'level') > limit", do: [{let: {n: n + percent}}]}
  - each: {in: [a, b], at_once: 2}
    do:
      - http: {method: POST, url: "http://x/${item}"}
"#;

const WORDS: &str = include_str!("explained.txt");

#[test]
fn an_image_is_told_in_words() {
    let compiled = compile(&whole(DEFINITION)).unwrap();
    let words = explain(&compiled.image).unwrap();
    assert_eq!(words, WORDS, "{words}");
}

/// The outline of a definition, and of each operation the line to which it belongs.
fn outline(definition: &str) -> (Outline, Vec<Option<usize>>) {
    let compiled = compile(&whole(definition)).unwrap();
    let image = Image::parse(&compiled.image).unwrap();
    let about = About::read(image.part(Part::About)).unwrap();
    let outline = Outline::of(&image, &about, compiled.image.len());
    let places = (0..image.counts.ops).map(|pc| outline.place(pc)).collect();
    (outline, places)
}

#[test]
fn every_operation_belongs_to_a_line_of_its_place_in_the_source() {
    for definition in [DEFINITION, "steps: [{wait: 1s}]\n"] {
        let compiled = compile(&whole(definition)).unwrap();
        let image = Image::parse(&compiled.image).unwrap();
        let (outline, places) = outline(definition);
        for (pc, place) in (0..).zip(places) {
            let told = &outline.lines[place.unwrap_or_else(|| panic!("{pc} belongs to none"))];
            let is_jump = matches!(image.op(pc), Some(Op::Jump { .. }));
            let line = image.line_of(pc).map_or(0, |(line, _)| line);
            assert!(is_jump || told.line == line, "{pc}, line {line}: {told:?}");
        }
    }
}

#[test]
fn a_line_says_with_which_one_it_goes_on() {
    let (outline, _) = outline(DEFINITION);
    let lines = &outline.lines;
    let after = |text: &str| {
        let found = lines.iter().find(|told| told.text.starts_with(text));
        let next = found.unwrap_or_else(|| panic!("{text} is not told")).next;
        next.map(|next| lines[next].text.as_str())
    };
    // Not what undoes it, and not what is done with its errors.
    let then = "waits for signal acknowledged, within 15m";
    assert_eq!(after("does command device=${device} name=stop"), Some(then));
    assert!(after(then).is_some_and(|text| text.starts_with("does reading")));
    assert_eq!(after("does http"), Some("end of the branch"));
    assert_eq!(after("waits for its branches"), Some("ends well"));
    for last in ["ends well", "end of the branch", "fails with refused"] {
        assert_eq!(after(last), None, "{last}");
    }
}

#[test]
fn what_is_no_image_is_not_told() {
    let mut image = compile(&whole("steps: [{wait: 1s}]\n")).unwrap().image;
    let last = image.len() - 1;
    image.truncate(last);
    assert_eq!(explain(&image), Err("the tables of the image do not fill it".to_owned()));
}
