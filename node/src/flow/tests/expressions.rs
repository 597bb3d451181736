//! What expressions come to.

use super::*;

/// The value of an expression, or the error of the run.
fn value(expr: &str) -> String {
    let quoted = serde_json::Value::from(expr).to_string();
    let run = Run::of(&format!(
        r#"input:
  n: {{type: int, default: 7}}
  level: {{type: decimal, default: 2.5}}
  on: {{type: bool, default: true}}
  name: {{type: text, default: pump-7}}
  pause: {{type: duration, default: 90s}}
steps:
  - let: {{x: {quoted}}}
"#
    ));
    match run.phase() {
        Phase::Succeeded => run.value("x"),
        _ => run.end().1,
    }
}

#[test]
fn numbers_are_computed_as_people_do() {
    for (expr, wanted) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("-7 % 3", "-1"),
        ("n / 2.0", "3.5"),
        ("0.1 + 0.2", "0.3"),
        ("level * 3", "7.5"),
        ("1 / 3.0", "0.333333"),
        ("-n", "-7"),
        ("--n", "7"),
        ("-level + 1", "-1.5"),
        ("abs(-2.5)", "2.5"),
        ("abs(n - 10)", "3"),
        ("min(n, 3)", "3"),
        ("max(n, 7.5)", "7.5"),
        ("round(2.5)", "3"),
        ("int(2.9)", "2"),
        ("decimal(n) / 2", "3.5"),
        ("9223372036854775807", "9223372036854775807"),
        ("3000000000", "3000000000"),
        ("n / 0", "division-by-zero"),
        ("9223372036854775807 + n", "overflow"),
        ("n > 5 ? 1.5 : 2", "1.5"),
        ("n > 9 ? 1.5 : 2", "2"),
        ("n > 9 ? 1 : n > 5 ? 2 : 3", "2"),
    ] {
        assert_eq!(value(expr), wanted, "{expr}");
    }
}

#[test]
fn truths_are_decided_by_as_little_as_need_be() {
    for (expr, wanted) in [
        ("n == 7", "true"),
        ("n == 7.0", "true"),
        ("n != 7", "false"),
        ("n < 8 && level >= 2.5", "true"),
        ("n <= 6 || level > 2", "true"),
        ("!(n > 6)", "false"),
        ("!on || n > 6 && !(level < 1)", "true"),
        ("on == false", "false"),
        ("on ? n > 6 : n > 9", "true"),
        ("true || n / 0 == 1", "true"),
        ("false && n / 0 == 1", "false"),
        ("false || n / 0 == 1", "division-by-zero"),
        ("(on && n < 9) == true", "true"),
        ("1 < 2 == true", "true"),
    ] {
        assert_eq!(value(expr), wanted, "{expr}");
    }
}

#[test]
fn texts_are_joined_compared_and_searched() {
    for (expr, wanted) in [
        ("'level ' + text(level)", "level 2.5"),
        (r#""a\"b" + 'c\'d'"#, "a\"bc'd"),
        ("name == 'pump-7'", "true"),
        ("name < 'q'", "true"),
        ("name > 'q'", "false"),
        ("name.startsWith('pump')", "true"),
        ("name.endsWith('8')", "false"),
        ("name.contains('p-')", "true"),
        ("size(name)", "6"),
        ("size('ä')", "2"),
        ("text(on)", "true"),
        ("text(n) + '%'", "7%"),
        ("on ? name : 'none'", "pump-7"),
        (
            "name + name + name + name + name + name + name + name + name + name + name",
            "text-too-long",
        ),
    ] {
        assert_eq!(value(expr), wanted, "{expr}");
    }
}

#[test]
fn times_and_durations_keep_their_meaning() {
    for (expr, wanted) in [
        ("now()", "1000000"),
        ("now() + duration('1m')", "1060000"),
        ("duration('1m') + now()", "1060000"),
        ("now() - duration('1s')", "999000"),
        ("now() + pause - now()", "90000"),
        ("pause + duration('1h30m')", "5490000"),
        ("pause * 2", "180000"),
        ("2 * pause", "180000"),
        ("pause / 9", "10000"),
        ("pause > duration('1m')", "true"),
        ("int(pause) / 1000", "90"),
        ("max(pause, duration('2m'))", "120000"),
        ("-pause", "-90000"),
    ] {
        assert_eq!(value(expr), wanted, "{expr}");
    }
}

#[test]
fn a_value_that_cannot_be_computed_leaves_the_variable_as_it_was() {
    let run = Run::of(
        r#"steps:
  - let: {n: 1, zero: 0}
  - try:
      - let: {n: "(n + 5) / zero"}
    catch:
      - {on: division-by-zero, do: []}
"#,
    );
    assert_eq!((run.phase(), run.value("n")), (Phase::Succeeded, "1".to_owned()));
}

#[test]
fn the_node_is_asked_when_the_value_is_needed() {
    let mut run = Run::of(
        r#"input: {device: {type: text, default: ps-1}}
steps:
  - let: {dry: "reading(device, 'level') < 0.5 && twin_bool(device, 'on')"}
  - let: {late: hour() * 60 + minute() > 100}
"#,
    );
    assert_eq!(run.asked(), ["1 reading device=ps-1 metric=level"]);
    run.answer(1, &[Some(Given::Number(400_000))]);
    assert_eq!(run.asked(), ["2 twin device=ps-1 path=on"]);
    run.answer(2, &[Some(Given::Number(1))]);
    assert_eq!(run.asked(), ["3 clock"]);
    run.answer(3, &[Some(Given::Number(2))]);
    assert_eq!(run.asked(), ["4 clock"]);
    run.answer(4, &[Some(Given::Number(5))]);
    assert_eq!((run.value("dry"), run.value("late")), ("true".into(), "true".into()));
    // What is decided without it is not asked for.
    let mut run = Run::of(
        r#"steps:
  - let: {a: "reading('p', 'm') > 1 && hour() > 3"}
"#,
    );
    run.answer(1, &[Some(Given::Number(0))]);
    assert_eq!((run.phase(), run.value("a")), (Phase::Succeeded, "false".into()));
}

#[test]
fn what_stands_first_is_computed_first() {
    // `a > b` was compiled as `b < a` with `b` computed first, so its error came first, and the
    // node was asked for it before it was asked for `a`.
    for sign in ["<", "<=", ">", ">=", "==", "!="] {
        let expr = format!("n / 0 {sign} 9223372036854775807 + n");
        assert_eq!(value(&expr), "division-by-zero", "{expr}");
    }
    let run = Run::of("steps: [{let: {a: \"reading('p', 'x') > reading('q', 'x')\"}}]\n");
    assert_eq!(run.asked(), ["1 reading device=p metric=x"]);
    for (expr, wanted) in [("n > 7", "false"), ("n >= 7", "true"), ("name > 'a'", "true")] {
        assert_eq!(value(expr), wanted, "{expr}");
    }
}
