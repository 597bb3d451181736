//! What an older connection still delivers beside a newer one.

use super::pair::{Link, device, exchange, pair};

/// A gateway was put back to a copy and came again; the two had compared all they have when its
/// old connection, which the hub still read from, brought what it had written before. The hub took
/// it for known to the gateway, because it came from there, and never sent it back.
#[test]
fn what_an_old_connection_brings_of_a_node_that_was_put_back_comes_back_to_it() {
    let mut nodes = pair();
    nodes[0].put(&device(0), "level", 1);
    exchange(&mut nodes);
    let copy = nodes[1].records.clone();
    let mut old = Link::new(&mut nodes, 1);
    nodes[1].put(&device(0), "level", 2);
    nodes[1].put(&device(1), "level", 3);
    old.gather(&mut nodes, 1);
    nodes[1].records = copy;
    nodes[1].restart();
    let mut new = Link::new(&mut nodes, 2);
    for _ in 0..20 {
        for at in 0..2 {
            new.gather(&mut nodes, at);
            new.deliver(&mut nodes, at);
        }
    }
    while old.deliver(&mut nodes, 1) {}
    assert_eq!(nodes[0].contents().len(), 2, "the hub has what was lost at the gateway");
    new.settle(&mut nodes);
    assert_eq!(nodes[0].contents(), nodes[1].contents());
}
