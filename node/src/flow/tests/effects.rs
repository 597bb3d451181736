//! What effects are asked for with, and what their answers set.

use super::*;

/// The one effect of a step.
fn asked(step: &str) -> String {
    let run = Run::of(&format!(
        r#"input:
  n: {{type: int, default: 7}}
  level: {{type: decimal, default: 2.5}}
  on: {{type: bool, default: true}}
  name: {{type: text, default: 'a"b'}}
steps:
{step}"#
    ));
    run.asked().remove(0)
}

#[test]
fn every_effect_is_asked_for_with_its_arguments() {
    for (step, wanted) in [
        (
            r#"  - publish: site/${n}
    payload: {v: "${level}"}
    qos: 1
    retain: true
"#,
            "1 publish topic=site/7 payload={\"v\":2.5} qos=1 retain=true",
        ),
        (
            "  - set: {device: d, path: mode, value: auto}\n",
            "1 set device=d path=mode value=\"auto\"",
        ),
        (
            r#"  - command: stop
    device: d
    args: {why: dry}
    lasts: 90s
"#,
            "1 command device=d name=stop args={\"why\":\"dry\"} lasts=90",
        ),
        (
            "  - http: {method: POST, url: \"http://x/${n}\", body: a b, \
             content_type: text/plain}\n",
            "1 http method=POST url=http://x/7 body=a b contenttype=text/plain",
        ),
        (
            r#"  - raise: dry
    severity: critical
    text: at ${level}
    device: d
"#,
            "1 raise device=d name=dry severity=critical text=at 2.5",
        ),
        ("  - clear: dry\n", "1 clear name=dry"),
        (
            r#"  - notify: ops
    text: hello
    device: d
"#,
            "1 notify device=d text=hello target=ops",
        ),
        (
            r#"  - emit: rounds
    value: "${n}"
    unit: "1"
"#,
            "1 emit value=7 metric=rounds unit=1",
        ),
        (
            r#"  - forward: report
    args: [1, 2.50]
"#,
            "1 forward name=report args=[1,2.50]",
        ),
        (
            r#"  - run: other
    args: {a: "${on}"}
"#,
            "1 run name=other args={\"a\":true}",
        ),
        (
            r#"  - actuate: relay
    value: false
"#,
            "1 actuate value=false name=relay",
        ),
    ] {
        assert_eq!(asked(step), wanted);
    }
}

#[test]
fn values_stand_in_texts_and_in_json_as_they_should() {
    for (payload, wanted) in [
        ("ON", "ON"),
        ("\"${name}\"", "a\"b"),
        ("\"n=${n} l=${level} ${on}\"", "n=7 l=2.5 true"),
        ("[\"${name}\", \"x${name}y\", \"${n}\", \"n=${n}\"]", r#"["a\"b","xa\"by",7,"n=7"]"#),
        (
            "{a: \"${'q\\\"' + name}\", b: \"${'c'}\", c: \"${1.50}\"}",
            r#"{"a":"q\"a\"b","b":"c","c":1.5}"#,
        ),
        ("{k: \"$${n}\", \"a\\nb\": 'c\\d'}", r#"{"k":"${n}","a\nb":"c\\d"}"#),
        (
            "{a: null, b: true, c: \"true\", d: 1e3, e: 007, f: +1, g: ~}",
            r#"{"a":null,"b":true,"c":"true","d":1e3,"e":7,"f":1,"g":null}"#,
        ),
        ("{a: [], b: {}, c: [[1], {x: 2}]}", r#"{"a":[],"b":{},"c":[[1],{"x":2}]}"#),
        ("\"${n > 5 ? 'hot' : 'cold'}\"", "hot"),
        ("\"${ {'}': 1}\"", ""),
    ] {
        if wanted.is_empty() {
            assert!(
                wrong(&format!(
                    r#"steps:
  - publish: t
    payload: {payload}
"#
                ))
                .contains("`map`")
            );
            continue;
        }
        let step = format!(
            r#"  - publish: t
    payload: {payload}
"#
        );
        assert_eq!(asked(&step), format!("1 publish topic=t payload={wanted}"));
    }
}

#[test]
fn an_answer_sets_variables() {
    let mut run = Run::of(
        r#"steps:
  - let: {percent: 0}
  - command: open
    device: v
    result:
      percent: {path: state/percent, type: int}
      note: {type: text, default: none}
      ok: bool
  - publish: t
    payload: "${percent} ${note} ${ok}"
"#,
    );
    let image = run.image();
    let names: Vec<_> = image.effect(0).unwrap().answers.map(|field| field.name).collect();
    assert_eq!(names, ["state/percent", "note", "ok"]);
    run.answer(1, &[Some(Given::Number(40)), None, Some(Given::Number(1))]);
    assert_eq!(run.asked(), ["2 publish topic=t payload=40 none true"]);
    // What is not there and has no default is an error.
    let mut run = Run::of(
        r#"steps:
  - command: c
    device: v
    result: {a: int}
"#,
    );
    run.done(1);
    assert_eq!(run.end(), (Phase::Failed, "missing".to_owned()));
}

#[test]
fn an_effect_is_repeated_by_the_rule_for_its_error() {
    let mut run = Run::of(
        r#"steps:
  - command: open
    device: v
    timeout: 30s
    retry:
      - {attempts: 2, first: 5s, jitter: 0, on: [timeout, busy]}
      - {attempts: 3, first: 1s, factor: 3, at_most: 2s, jitter: 0%, on: any}
"#,
    );
    assert_eq!(view::next_deadline(run.memory()), BEGIN + 30_000);
    run.pass(30_000);
    assert_eq!(view::next_deadline(run.memory()), BEGIN + 35_000);
    run.pass(5_000);
    run.failed(1, Code::REFUSED);
    assert_eq!(view::next_deadline(run.memory()), BEGIN + 37_000, "three times, two at most");
    run.pass(2_000);
    assert_eq!(run.asked(), ["1 command device=v name=open"]);
    run.failed(1, Code::REFUSED);
    assert_eq!(run.end(), (Phase::Failed, "refused".to_owned()));
}

#[test]
fn what_may_not_be_done_twice_is_left_to_somebody() {
    let flags = |step: &str| {
        let run = Run::of(&format!("steps:\n{step}"));
        run.image().effect(0).unwrap().is_idempotent()
    };
    assert!(flags(
        r#"  - command: c
    device: d
"#
    ));
    assert!(flags("  - http: {method: GET, url: u}\n"));
    assert!(flags("  - http: {method: PUT, url: u}\n"));
    assert!(!flags("  - http: {method: POST, url: u}\n"));
    assert!(!flags("  - http: {method: PATCH, url: u}\n"));
    assert!(flags(
        r#"  - http: {method: POST, url: u}
    idempotent: true
"#
    ));
    assert!(!flags("  - forward: f\n"));
    assert!(!flags(
        r#"  - notify: n
    text: t
    idempotent: false
"#
    ));
}

#[test]
fn an_error_that_is_caught_goes_on_behind_the_step() {
    let mut run = Run::of(
        r#"steps:
  - command: open
    device: v
    catch:
      - {on: [timeout, unreachable], do: [{publish: a}]}
      - {on: busy, do: []}
  - publish: b
    payload: x
"#
        .replace("{publish: a}", "{publish: a, payload: x}")
        .as_str(),
    );
    run.failed(1, Code::UNREACHABLE);
    assert_eq!(run.asked(), ["2 publish topic=a payload=x"]);
    run.done(2);
    assert_eq!(run.asked(), ["3 publish topic=b payload=x"]);
}
