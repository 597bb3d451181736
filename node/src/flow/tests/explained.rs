//! What an image does, in words.

use super::super::explain;
use super::*;

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

#[test]
fn what_is_no_image_is_not_told() {
    let mut image = compile(&whole("steps: [{wait: 1s}]\n")).unwrap().image;
    let last = image.len() - 1;
    image.truncate(last);
    assert_eq!(explain(&image), Err("the tables of the image do not fill it".to_owned()));
}
