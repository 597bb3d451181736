//! The broker in numbers, for Prometheus.

use super::counts::MqttCounts;
use holdfast_node::metrics::Exposition;

/// Tells all counters.
pub fn tell(out: &mut Exposition, counts: &MqttCounts) {
    out.gauge("holdfast_mqtt_connections", "Connections over MQTT.").is(counts.open());
    out.gauge("holdfast_mqtt_watchers", "Those who watch messages on pages.").is(counts.watchers());
    let mut one = |name: &str, help: &str, value: u64| out.counter(name, help).is(value);
    one("holdfast_mqtt_connections_total", "Connections taken.", counts.connections.get());
    one("holdfast_mqtt_refused_total", "Clients not let in.", counts.refused.get());
    let help = "Connections ended for what a client must not do.";
    one("holdfast_mqtt_violations_total", help, counts.violations.get());
    one("holdfast_mqtt_rejected_messages_total", "Messages not taken.", counts.rejected.get());
    let help = "Messages that a mapping takes and cannot read.";
    one("holdfast_mqtt_unread_messages_total", help, counts.unread.get());
    let help = "Answers of devices to commands that are not known.";
    one("holdfast_mqtt_unknown_replies_total", help, counts.unasked.get());
    let help = "Messages of QoS 0 with readings that came too fast to be stored.";
    one("holdfast_mqtt_shed_messages_total", help, counts.shed.get());
    let help = "Times that a client was slowed down because it published too fast.";
    one("holdfast_mqtt_slowed_total", help, counts.slowed.get());
    let help = "Messages whose readings had been stored before, by packet identifier.";
    one("holdfast_mqtt_repeated_messages_total", help, counts.repeated.get());
    one("holdfast_mqtt_lost_messages_total", "Messages damaged on disk.", counts.lost.get());
    let help = "Messages that who watches did not take.";
    one("holdfast_mqtt_unseen_messages_total", help, counts.unseen.get());
    one("holdfast_mqtt_received_bytes_total", "Bytes read.", counts.bytes_in.get());
    one("holdfast_mqtt_sent_bytes_total", "Bytes written.", counts.bytes_out.get());
    for (name, help, counters) in [
        ("holdfast_mqtt_received_messages_total", "Messages from clients.", &counts.received),
        ("holdfast_mqtt_sent_messages_total", "Messages to clients.", &counts.sent),
    ] {
        let mut family = out.counter(name, help);
        for (qos, counter) in ["0", "1", "2"].iter().zip(counters) {
            family.with(&[("qos", qos)], counter.get());
        }
    }
    let help = "Messages for clients that were not sent, by reason.";
    let mut dropped = out.counter("holdfast_mqtt_dropped_messages_total", help);
    dropped.with(&[("reason", "full")], counts.dropped.get());
    dropped.with(&[("reason", "expired")], counts.expired.get());
    dropped.with(&[("reason", "too-large")], counts.too_large.get());
}
