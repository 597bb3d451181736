//! Names with `*`: any text, the empty one too. Every other character stands for itself.

/// Whether all of `text` is as `pattern` says.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let Some(tail) = parts.next_back() else { return rest.is_empty() };
    // What stands between two stars is best taken where it comes first.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::fits;
    use proptest::prelude::*;

    /// By definition: a star takes nothing, or one character and remains.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if naive(rest, text) => true,
            (Some((b'*', _)), Some((_, text))) => naive(pattern, text),
            (Some((a, pattern)), Some((b, text))) => a == b && naive(pattern, text),
            _ => false,
        }
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text, fit) in [
            ("*", "", true),
            ("tank-1", "tank-1", true),
            ("tank-1", "tank-10", false),
            ("tank-*", "tank-10", true),
            ("*-pump", "north-pump", true),
            ("a*a", "a", false),
            ("a*b*c", "a1b2b3c", true),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_definition_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(fits(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
