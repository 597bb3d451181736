//! When a channel is due, whatever comes of its sendings and whatever the clock shows.

use super::*;
use proptest::prelude::*;

#[test]
fn what_was_sent_is_repeated_every_hour_for_a_week() {
    let mut channel = Channel::default();
    let mut now_ms = 1_000;
    for sent in 1..=7 * 24 {
        assert!(channel.wait_ms(now_ms).is_some());
        let wait_ms = channel.note(&Ok(()), now_ms);
        assert_eq!((wait_ms, channel.sent), (REPEAT_MS, sent));
        assert_eq!(channel.due_ms, now_ms + REPEAT_MS as i64);
        now_ms = channel.due_ms;
    }
    assert_eq!(channel.wait_ms(now_ms), None);
}

#[test]
fn what_failed_is_tried_again_ever_more_rarely_and_for_a_week_too() {
    let mut channel = Channel::default();
    let failed = Err("é".repeat(ERROR_MAX_BYTES));
    let waits: Vec<_> = (0..8).map(|_| channel.note(&failed, 0) / 1_000).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!((channel.sent, channel.failures), (0, 8));
    assert_eq!(channel.error.len(), ERROR_MAX_BYTES);
    assert_eq!(channel.note(&Ok(()), 0), REPEAT_MS);
    assert_eq!((channel.failures, channel.error.as_str()), (0, ""));
    let mut never = Channel::default();
    let tries = (0..).take_while(|_| never.wait_ms(0).is_some() && never.note(&failed, 0) > 0);
    assert_eq!(tries.count(), 676);
}

proptest! {
    #[test]
    fn no_clock_keeps_a_sending_back_for_more_than_an_hour(
        due_ms in any::<i64>(),
        now_ms in any::<i64>(),
        outcomes in prop::collection::vec(any::<bool>(), 0..300),
    ) {
        let mut channel = Channel { due_ms, ..Channel::default() };
        for is_sent in outcomes {
            let outcome = if is_sent { Ok(()) } else { Err("no".to_owned()) };
            let wait_ms = channel.note(&outcome, now_ms);
            prop_assert!((AGAIN_MS..=REPEAT_MS).contains(&wait_ms));
            prop_assert!(channel.wait_ms(now_ms).is_none_or(|left| left <= REPEAT_MS));
        }
        prop_assert!(channel.waited_ms <= LONGEST_MS || channel.wait_ms(due_ms).is_none());
    }
}
