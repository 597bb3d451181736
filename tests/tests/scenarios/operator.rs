//! What somebody who runs a node does on its first day, and what must not leak while they do.

use holdfast_tests::scenarios::{devices, https, secrets};

#[test]
fn a_certificate_is_made_or_renewed_under_a_running_node() {
    https::https();
}

#[test]
fn a_node_that_is_opened_to_its_site_says_what_that_exposes() {
    https::open_to_the_site();
}

#[test]
fn no_secret_is_in_a_log_and_a_cause_is_one_line() {
    secrets::logs();
}

#[test]
fn a_list_of_devices_gets_its_tokens_whole_or_not_at_all() {
    devices::lists();
}

#[test]
fn labels_stay_with_what_they_name() {
    devices::labels();
}
