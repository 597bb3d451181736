//! The mappings that come with the program, with payloads as the devices send them.

use super::*;

fn all() -> Rules {
    rules(r#"mappings = ["zigbee2mqtt", "tasmota", "shelly"]"#)
}

fn taker(name: &str) -> String {
    match all().purpose(&topic(name)) {
        Ok(Purpose::Mapped(mapping)) => mapping.name().to_owned(),
        other => format!("{:?}", other.map(|_| "ordinary")),
    }
}

#[test]
fn nothing_is_taken_unless_the_configuration_says_so() {
    for name in ["zigbee2mqtt/hall", "tele/boiler/SENSOR", "shellies/shelly1-98F4AB/relay/0"] {
        let none = Rules::default();
        assert!(matches!(none.purpose(&topic(name)), Ok(Purpose::Ordinary)), "{name}");
        assert!(matches!(Rules::shipped().purpose(&topic(name)), Ok(Purpose::Mapped(_))), "{name}");
    }
}

#[test]
fn zigbee2mqtt_sends_one_object_per_device() {
    // An Aqara weather sensor, a plug, and a bulb in a folder.
    let weather = r#"{"battery":97,"humidity":55.43,"linkquality":97,"power_outage_count":12,
        "pressure":1000.6,"temperature":22.75,"voltage":2995,
        "last_seen":"2026-11-20T17:37:59.500+01:00"}"#;
    let time = "2026-11-20T16:37:59.500Z";
    assert_eq!(
        lines(&all(), "zigbee2mqtt/Living room", weather),
        [
            format!("Living_room battery 97 % {time}"),
            format!("Living_room humidity 55.43 % {time}"),
            format!("Living_room linkquality 97 - {time}"),
            format!("Living_room power_outage_count 12 - {time}"),
            format!("Living_room pressure 1000.6 hPa {time}"),
            format!("Living_room temperature 22.75 Cel {time}"),
            format!("Living_room voltage 2995 - {time}"),
        ]
    );
    let plug = r#"{"child_lock":"UNLOCK","current":0.28,"energy":12.34,"linkquality":180,"power":61,
        "state":"ON","update":{"installed_version":192,"latest_version":192,"state":"idle"},
        "update_available":false,"voltage":232,"last_seen":1795192679500}"#;
    assert_eq!(
        lines(&all(), "zigbee2mqtt/0x00158d00036c1821", plug),
        [
            format!("0x00158d00036c1821 current 0.28 A {time}"),
            format!("0x00158d00036c1821 energy 12.34 kW.h {time}"),
            format!("0x00158d00036c1821 linkquality 180 - {time}"),
            format!("0x00158d00036c1821 power 61 W {time}"),
            format!("0x00158d00036c1821 state true - {time}"),
            format!("0x00158d00036c1821 voltage 232 - {time}"),
        ]
    );
    let bulb = r#"{"brightness":215,"color":{"x":0.31,"y":0.33},"color_mode":"xy","color_temp":325,
        "state":"OFF"}"#;
    assert_eq!(
        lines(&all(), "zigbee2mqtt/kitchen/floor_light", bulb),
        [
            "kitchen.floor_light brightness 215 - -",
            "kitchen.floor_light color.x 0.31 - -",
            "kitchen.floor_light color.y 0.33 - -",
            "kitchen.floor_light color_temp 325 - -",
            "kitchen.floor_light state false - -",
        ]
    );
    assert_eq!(lines(&all(), "zigbee2mqtt/remote", r#"{"action":"single"}"#), [""; 0]);
}

#[test]
fn what_zigbee2mqtt_says_of_itself_and_is_told_is_ordinary() {
    for name in [
        "zigbee2mqtt/bridge/state",
        "zigbee2mqtt/bridge/devices",
        "zigbee2mqtt/bridge/request/permit_join",
        "zigbee2mqtt/hall/set",
        "zigbee2mqtt/hall/get",
        "zigbee2mqtt/hall/availability",
        "zigbee2mqtt/kitchen/floor_light/set",
    ] {
        assert_eq!(taker(name), "Ok(\"ordinary\")", "{name}");
    }
}

#[test]
fn tasmota_sends_telemetry_by_sensor() {
    let plug = r#"{"Time":"2021-06-13T06:59:52","ENERGY":{"TotalStartTime":"2020-08-01T20:07:29",
        "Total":284.509,"Yesterday":0.086,"Today":0.132,"Period":1,"Power":[2,3],
        "ApparentPower":6,"ReactivePower":6,"Factor":0.36,"Voltage":122,"Current":0.052}}"#;
    assert_eq!(
        lines(&all(), "tele/tasmota_C59B5E/SENSOR", plug),
        [
            "tasmota_C59B5E energy.total 284.509 kW.h -",
            "tasmota_C59B5E energy.yesterday 0.086 kW.h -",
            "tasmota_C59B5E energy.today 0.132 kW.h -",
            "tasmota_C59B5E energy.period 1 - -",
            "tasmota_C59B5E energy.power.0 2 W -",
            "tasmota_C59B5E energy.power.1 3 W -",
            "tasmota_C59B5E energy.apparentpower 6 V.A -",
            "tasmota_C59B5E energy.reactivepower 6 V.A{reactive} -",
            "tasmota_C59B5E energy.factor 0.36 - -",
            "tasmota_C59B5E energy.voltage 122 V -",
            "tasmota_C59B5E energy.current 0.052 A -",
        ]
    );
    let climate = r#"{"Time":"2026-11-20T17:38:00+01:00","Switch1":"ON",
        "BME280":{"Temperature":80.6,"Humidity":47.0,"DewPoint":15.0,"Pressure":29.92},
        "DS18B20-1":{"Id":"000008BD38BF","Temperature":79},
        "PressureUnit":"inHg","TempUnit":"F"}"#;
    let time = "2026-11-20T16:38:00Z";
    assert_eq!(
        lines(&all(), "tele/attic/SENSOR", climate),
        [
            format!("attic switch1 true - {time}"),
            format!("attic bme280.temperature 80.6 [degF] {time}"),
            format!("attic bme280.humidity 47 % {time}"),
            format!("attic bme280.dewpoint 15 [degF] {time}"),
            format!("attic bme280.pressure 29.92 [in_i'Hg] {time}"),
            format!("attic ds18b20-1.temperature 79 [degF] {time}"),
        ]
    );
    let state = r#"{"Time":"2021-06-13T06:59:52","Uptime":"0T00:00:11","UptimeSec":11,"Heap":28,
        "SleepMode":"Dynamic","Sleep":50,"LoadAvg":19,"MqttCount":1,"POWER":"ON","Wifi":{"AP":1,
        "SSId":"leela","BSSId":"F4:92:BF:7F:35:4B","Channel":3,"RSSI":30,"Signal":-85,
        "LinkCount":1,"Downtime":"0T00:00:05"}}"#;
    assert_eq!(
        lines(&all(), "tele/tasmota_C59B5E/STATE", state),
        [
            "tasmota_C59B5E uptimesec 11 s -",
            "tasmota_C59B5E heap 28 - -",
            "tasmota_C59B5E loadavg 19 - -",
            "tasmota_C59B5E power true - -",
            "tasmota_C59B5E wifi.channel 3 - -",
            "tasmota_C59B5E wifi.rssi 30 % -",
            "tasmota_C59B5E wifi.signal -85 dBm -",
        ]
    );
    for name in ["tele/attic/LWT", "stat/attic/RESULT", "cmnd/attic/POWER", "tele/a/b/SENSOR"] {
        assert_eq!(taker(name), "Ok(\"ordinary\")", "{name}");
    }
}

#[test]
fn a_shelly_of_the_second_generation_notifies_and_shows_its_state() {
    let status = r#"{"id":0, "source":"WS_in", "output":false, "apower":8.9, "voltage":237.5,
        "freq":50.0, "current":0.052, "pf":0.72, "aenergy":{"total":6.532,"by_minute":[45.199,
        47.141,88.397],"minute_ts":1680536525},"temperature":{"tC":44.4, "tF":112.0}}"#;
    let id = "shellyplus1pm-a8032abe54dc";
    assert_eq!(
        lines(&all(), &format!("{id}/status/switch:0"), status),
        [
            format!("{id} switch:0.output false - -"),
            format!("{id} switch:0.apower 8.9 W -"),
            format!("{id} switch:0.voltage 237.5 V -"),
            format!("{id} switch:0.freq 50 Hz -"),
            format!("{id} switch:0.current 0.052 A -"),
            format!("{id} switch:0.pf 0.72 - -"),
            format!("{id} switch:0.aenergy.total 6.532 W.h -"),
            format!("{id} switch:0.temperature.tC 44.4 Cel -"),
        ]
    );
    let notified = r#"{"src":"shellyplus1pm-a8032abe54dc","dst":"shellyplus1pm-a8032abe54dc/events",
        "method":"NotifyStatus","params":{"ts":1795192680.43,"switch:0":{"id":0,"apower":8.9,
        "output":true,"source":"HTTP_in"},"sys":{"uptime":3}}}"#;
    let time = "2026-11-20T16:38:00.430Z";
    assert_eq!(
        lines(&all(), &format!("{id}/events/rpc"), notified),
        [
            format!("{id} switch:0.apower 8.9 W {time}"),
            format!("{id} switch:0.output true - {time}"),
        ]
    );
    let event = r#"{"src":"s","dst":"s/events","method":"NotifyEvent","params":{"ts":1795192680.43,
        "events":[{"component":"input:0","id":0,"event":"single_push","ts":1795192680.43}]}}"#;
    assert_eq!(lines(&all(), &format!("{id}/events/rpc"), event), [""; 0]);
    assert_eq!(lines(&all(), &format!("{id}/online"), "false"), [format!("{id} online false - -")]);
}

#[test]
fn a_sleeping_shelly_sends_all_its_state_at_once() {
    let awake = r#"{"src":"shellyhtg3-543204539b34","dst":"shellyhtg3-543204539b34/events",
        "method":"NotifyFullStatus","params":{"ts":1795192680.91,"ble":{},
        "cloud":{"connected":false},"devicepower:0":{"id": 0,"battery":{"V":6.13, "percent":100},
        "external":{"present":false}},"ht_ui":{},"humidity:0":{"id": 0,"rh":50.8},
        "mqtt":{"connected":true},"sys":{"mac":"543204539B34","unixtime":1751638859,"uptime":2},
        "temperature:0":{"id": 0,"tC":20.1, "tF":68.3},"wifi":{"sta_ip":"192.0.2.7",
        "status":"got ip","ssid":"n","rssi":-47},"ws":{"connected":false}}}"#;
    let (id, time) = ("shellyhtg3-543204539b34", "2026-11-20T16:38:00.910Z");
    assert_eq!(
        lines(&all(), &format!("{id}/events/rpc"), awake),
        [
            format!("{id} devicepower:0.battery.V 6.13 V {time}"),
            format!("{id} devicepower:0.battery.percent 100 % {time}"),
            format!("{id} devicepower:0.external.present false - {time}"),
            format!("{id} humidity:0.rh 50.8 % {time}"),
            format!("{id} temperature:0.tC 20.1 Cel {time}"),
            format!("{id} wifi.rssi -47 dBm {time}"),
        ]
    );
    for name in [
        "shellyhtg3-543204539b34/status/sys",
        "shellyhtg3-543204539b34/rpc",
        "house/status/lamp",
        "house/events/rpc",
        "house/online",
    ] {
        assert_eq!(taker(name), "Ok(\"ordinary\")", "{name}");
    }
}

#[test]
fn a_shelly_of_the_first_generation_has_a_topic_per_value() {
    let rules = all();
    let id = "shelly1pm-98F4ABF298AD";
    for (topic, payload, line) in [
        ("relay/0", "on", "relay.0 true - -"),
        ("relay/0/power", "61.25", "relay.0.power 61.25 W -"),
        ("relay/0/energy", "1234", "relay.0.energy 1234 W.min -"),
        ("temperature", "45.53", "temperature 45.53 Cel -"),
        ("overtemperature", "0", "overtemperature 0 - -"),
        ("input/0", "1", "input.0 1 - -"),
        ("online", "true", "online true - -"),
        ("ext_temperature/1", "21.5", "ext_temperature.1 21.5 Cel -"),
        ("ext_humidity/0", "50", "ext_humidity.0 50 % -"),
        ("emeter/0/power", "-300.5", "emeter.0.power -300.5 W -"),
        ("emeter/0/total", "5000.1", "emeter.0.total 5000.1 W.h -"),
        ("emeter/0/returned_energy", "17", "emeter.0.returned_energy 17 W.min -"),
        ("sensor/temperature", "70.2", "sensor.temperature 70.2 - -"),
        ("sensor/battery", "88", "sensor.battery 88 % -"),
        ("sensor/flood", "true", "sensor.flood true - -"),
        ("roller/0/pos", "40", "roller.0.pos 40 % -"),
        ("input_event/0", r#"{"event":"S","event_cnt":2}"#, "input_event.0.event_cnt 2 - -"),
    ] {
        let found = lines(&rules, &format!("shellies/{id}/{topic}"), payload);
        assert_eq!(found, [format!("{id} {line}")], "{topic}");
    }
    for (topic, payload) in [
        ("ext_temperature/1", "999"),
        ("relay/0", "overpower"),
        ("temperature_status", "Normal"),
        ("roller/0", "open"),
    ] {
        let found = lines(&rules, &format!("shellies/{id}/{topic}"), payload);
        assert_eq!(found, [""; 0], "{topic}");
    }
    for name in [
        "shellies/announce",
        "shellies/command",
        "shellies/shelly1-98F4AB/command",
        "shellies/shelly1-98F4AB/info",
        "shellies/shelly1-98F4AB/temperature_f",
        "shellies/shelly1-98F4AB/relay/0/command",
        "shellies/shelly1-98F4AB/roller/0/command/pos",
        "shellies/shelly1-98F4AB/color/0/set",
        "shellies/shelly1-98F4AB/ext_temperatures",
    ] {
        assert_eq!(taker(name), "Ok(\"ordinary\")", "{name}");
    }
}

/// Units that the program ships are those it documents, and each is a unit.
#[test]
fn names_of_shipped_mappings_are_unique_and_begin_with_a_family() {
    let mut names: Vec<_> = all().mappings.iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names.len(), Rules::shipped().mappings.len());
    for name in &names {
        let family = name.split_once('/').unwrap().0;
        assert!(["zigbee2mqtt", "tasmota", "shelly"].contains(&family), "{name}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), Rules::shipped().mappings.len());
}
