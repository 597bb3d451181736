//! Valid and invalid names and filters, the examples of the standard, and the tree against a
//! matcher that is written down as the standard tells it.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn topic(text: &str) -> Topic {
    text.try_into().unwrap()
}

fn filter(text: &str) -> Filter {
    text.try_into().unwrap()
}

/// The rules of the standard, level by level, by recursion.
fn naive(filter: &[&str], topic: &[&str], first: bool) -> bool {
    let reserved = first && topic.first().is_some_and(|level| level.starts_with('$'));
    match (filter, topic) {
        (["#"], _) => !reserved,
        ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => !reserved && naive(filter, topic, false),
        ([wanted, filter @ ..], [level, topic @ ..]) => {
            wanted == level && naive(filter, topic, false)
        }
        _ => false,
    }
}

fn naively(filter: &Filter, topic: &Topic) -> bool {
    let filter: Vec<&str> = filter.pattern().split('/').collect();
    let topic: Vec<&str> = topic.as_str().split('/').collect();
    naive(&filter, &topic, true)
}

#[test]
fn filters_match_as_in_the_examples_of_the_standard() {
    let cases = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("#", "a", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("+", "$SYS", false),
        ("$SYS/#", "$SYS/", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/+", "a/$b", true),
        ("a/#", "a/$b", true),
        ("ACCOUNTS", "Accounts", false),
        ("/a", "a", false),
        ("a/", "a", false),
        ("$share/g/sport/+", "sport/x", true),
        ("$share/g/#", "$SYS", false),
    ];
    for (wanted, name, expected) in cases {
        let (filter, topic) = (filter(wanted), topic(name));
        assert_eq!(filter.matches(&topic), expected, "{wanted} {name}");
        assert_eq!(naively(&filter, &topic), expected, "{wanted} {name} by the naive matcher");
        let mut filters = Tree::new();
        filters.insert_filter(&filter, ());
        let mut found = 0;
        filters.matching(&topic, |()| found += 1);
        assert_eq!(found == 1, expected, "{wanted} {name} in a tree of filters");
        let mut topics = Tree::new();
        topics.insert_topic(&topic, ());
        let mut found = 0;
        topics.matched_by(&filter, |()| found += 1);
        assert_eq!(found == 1, expected, "{wanted} {name} in a tree of topics");
    }
}

#[test]
fn names_and_filters_are_judged() {
    let deep = "/".repeat(LEVELS_MAX);
    let fault = |text: &str| Filter::try_from(text).unwrap_err();
    assert_eq!(fault(""), TopicFault::Empty);
    assert_eq!(fault("sport/tennis#"), TopicFault::Hash(12));
    assert_eq!(fault("sport/tennis/#/ranking"), TopicFault::Hash(13));
    assert_eq!(fault("##"), TopicFault::Hash(0));
    assert_eq!(fault("sport+"), TopicFault::Plus(5));
    assert_eq!(fault("+a"), TopicFault::Plus(0));
    assert_eq!(fault("a/+#"), TopicFault::Plus(2));
    assert_eq!(fault(&deep), TopicFault::TooDeep(129));
    assert_eq!(fault("$share/g"), TopicFault::Share);
    assert_eq!(fault("$share/g/"), TopicFault::Share);
    assert_eq!(fault("$share//a"), TopicFault::Share);
    assert_eq!(fault("$share/g#/a"), TopicFault::Share);
    assert_eq!(fault("$share/g/a/#/b"), TopicFault::Hash(11));
    for text in ["+", "#", "/", "+/tennis/#", "sport/+/player1", "$share", "$", " ", "$sharex/g"] {
        assert_eq!(filter(text).share(), None, "{text}");
    }
    let shared = filter("$share/consumer one//x/+");
    assert_eq!((shared.share(), shared.pattern()), (Some("consumer one"), "/x/+"));
    assert!(shared.is_wild() && !filter("$share/g/a").is_wild());
    assert_eq!(Topic::try_from("").unwrap_err(), TopicFault::Empty);
    assert_eq!(Topic::try_from("a/+").unwrap_err(), TopicFault::Wildcard(2));
    assert_eq!(Topic::try_from(deep.as_str()).unwrap_err(), TopicFault::TooDeep(129));
    assert_eq!(topic(&deep[1..]).as_str().len(), LEVELS_MAX - 1);
    let long = "x".repeat(65_536);
    let too_long = TopicFault::Text(TextFault::TooLong(65_536));
    assert_eq!(Topic::try_from(long.as_str()).unwrap_err(), too_long);
    assert_eq!(topic(&long[1..]).as_str().len(), 65_535);
}

#[test]
fn the_deepest_filters_do_not_exhaust_the_stack() {
    let deep = "/".repeat(LEVELS_MAX - 1);
    let mut topics = Tree::new();
    let mut filters = Tree::new();
    topics.insert_topic(&topic(&deep), ());
    filters.insert_filter(&filter(&"+/".repeat(LEVELS_MAX)[..2 * LEVELS_MAX - 1]), ());
    filters.insert_filter(&filter(&deep), ());
    let mut found = 0;
    filters.matching(&topic(&deep), |()| found += 1);
    topics.matched_by(&filter("#"), |()| found += 1);
    assert_eq!(found, 3);
}

#[test]
fn what_was_removed_leaves_nothing_behind() {
    let mut tree = Tree::new();
    for round in 0..3 {
        for text in ["a/b/c", "a/b", "a/+/c", "#"] {
            assert_eq!(tree.insert_filter(&filter(text), round), None);
        }
        assert_eq!(tree.insert_filter(&filter("a/b"), 7), Some(round));
        assert_eq!(tree.remove_filter(&filter("a")), None);
        assert_eq!(tree.get_filter(&filter("a/b")), Some(&7));
        for text in ["a/b", "a/b/c", "#", "a/+/c"] {
            assert!(tree.remove_filter(&filter(text)).is_some());
        }
        assert!(tree.is_empty());
        assert_eq!(tree.remove_filter(&filter("a/b")), None);
        assert_eq!(tree.allocated(), (7, 6));
    }
}

fn name() -> impl Strategy<Value = Topic> {
    let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$a"), Just("$")];
    vec(level, 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter_map("not empty", |text| Topic::try_from(text.as_str()).ok())
}

fn pattern() -> impl Strategy<Value = Filter> {
    let level = prop_oneof![Just(""), Just("a"), Just("b"), Just("$a"), Just("+"), Just("+")];
    (vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            levels.join("/")
        })
        .prop_filter_map("not empty", |text| Filter::try_from(text.as_str()).ok())
}

proptest! {
    #[test]
    fn a_filter_matches_what_the_naive_matcher_says(filter in pattern(), topic in name()) {
        prop_assert_eq!(filter.matches(&topic), naively(&filter, &topic));
    }

    #[test]
    fn a_tree_of_filters_finds_what_matches(
        filters in vec(pattern(), 0..20),
        removed in vec(any::<prop::sample::Index>(), 0..10),
        topics in vec(name(), 1..5),
    ) {
        let mut tree = Tree::new();
        let mut kept: Vec<&Filter> = Vec::new();
        for filter in &filters {
            tree.insert_filter(filter, filter);
            if !kept.contains(&filter) {
                kept.push(filter);
            }
        }
        for index in removed {
            if !kept.is_empty() {
                let gone = kept.swap_remove(index.index(kept.len()));
                prop_assert_eq!(tree.remove_filter(gone), Some(gone));
            }
        }
        prop_assert_eq!(tree.len(), kept.len());
        for topic in &topics {
            let mut found = Vec::new();
            tree.matching(topic, |filter| found.push(*filter));
            let mut wanted: Vec<&Filter> =
                kept.iter().copied().filter(|filter| naively(filter, topic)).collect();
            found.sort();
            wanted.sort();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_tree_of_topics_finds_what_is_matched(
        topics in vec(name(), 0..20),
        filters in vec(pattern(), 1..5),
    ) {
        let mut tree = Tree::new();
        for topic in &topics {
            tree.insert_topic(topic, topic);
        }
        for filter in &filters {
            let mut found = Vec::new();
            tree.matched_by(filter, |topic| found.push(*topic));
            let mut wanted: Vec<&Topic> =
                topics.iter().filter(|topic| naively(filter, topic)).collect();
            found.sort();
            wanted.sort();
            wanted.dedup();
            prop_assert_eq!(found, wanted);
        }
    }
}
