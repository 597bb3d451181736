"""Paho 1.6 against a gateway: python3 paho.py PORT TOKEN [TRANSPORT [CA]], where the transport is
`tcp` or `websockets`, and with the file of an authority it is TLS. Ends with `all well` or an assertion."""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, TOKEN = int(sys.argv[1]), sys.argv[2]
TRANSPORT, CA = (sys.argv[3:] + ["tcp", None][len(sys.argv[3:]) :])[:2]
LIMIT = 20
V311, V5 = mqtt.MQTTv311, mqtt.MQTTv5


class Client:
    """A client whose packets arrive in queues."""

    def __init__(self, name, version, clean=True, will=None, expiry=0):
        self.connected, self.messages, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        arguments = {"client_id": name, "protocol": version, "transport": TRANSPORT}
        if version == V311:
            arguments["clean_session"] = clean
        self.paho = mqtt.Client(**arguments)
        self.paho.username_pw_set("user", TOKEN)
        if CA:
            self.paho.tls_set(CA)
        self.paho.on_connect = lambda c, u, flags, *rest: self.connected.put((flags, rest[0]))
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda c, u, mid, granted, *rest: self.subscribed.put(granted)
        if will:
            self.paho.will_set(*will)
        more = {}
        if version == V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
            more = {"clean_start": clean, "properties": properties}
        self.paho.connect("127.0.0.1", PORT, **more)
        self.paho.loop_start()
        flags, code = self.connected.get(timeout=LIMIT)
        assert code == 0, f"{name}: not let in: {code}"
        self.session_present = flags["session present"]

    def subscribe(self, topic, qos):
        self.paho.subscribe(topic, qos)
        granted = self.subscribed.get(timeout=LIMIT)[0]
        assert getattr(granted, "value", granted) == qos, f"{topic}: granted {granted}"

    def publish(self, topic, payload, qos, retain=False):
        info = self.paho.publish(topic, payload, qos, retain)
        info.wait_for_publish(LIMIT)
        assert info.is_published(), f"{topic}: not acknowledged"

    def next(self):
        message = self.messages.get(timeout=LIMIT)
        return message.topic, message.payload.decode(), message.qos, message.retain

    def leave(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self):
        """Without a word."""
        self.paho.loop_stop()
        self.paho._sock_close()


for version in (V311, V5):
    base = f"v{version}"
    publisher = Client(f"{base}-pub", version)
    kept = Client(f"{base}-kept", version, clean=False, expiry=3600)
    assert not kept.session_present
    kept.subscribe(f"{base}/kept/#", 2)
    kept.leave()
    for number in range(50):
        publisher.publish(f"{base}/kept/{number % 3}", str(number), number % 3)
    kept = Client(f"{base}-kept", version, clean=False, expiry=3600)
    assert kept.session_present, "the session is gone"
    expected = [n for n in range(50) if n % 3]
    got = [kept.next() for _ in expected]
    for qos in (1, 2):
        # One of QoS 2 is handed on when it is released, so the order holds for each QoS by itself.
        own = [int(payload) for _, payload, of, _ in got if of == qos]
        assert own == [n for n in expected if n % 3 == qos], got
    kept.leave()
    kept = Client(f"{base}-kept", version, clean=True)
    assert not kept.session_present, "a clean start finds nothing"
    kept.leave()

    watcher = Client(f"{base}-watcher", version)
    watcher.subscribe(f"{base}/wills", 1)
    Client(f"{base}-lost", version, will=(f"{base}/wills", "lost", 1, False)).vanish()
    assert watcher.next() == (f"{base}/wills", "lost", 1, False)
    watcher.subscribe(f"{base}/big", 2)
    big = "x" * 200_000
    publisher.publish(f"{base}/big", big, 2)
    assert watcher.next()[1] == big
    watcher.leave()
    publisher.leave()

members = [Client(f"member-{n}", V5) for n in range(2)]
for member in members:
    member.subscribe("$share/group/shared", 1)
publisher = Client("sharer", V5)
for number in range(20):
    publisher.publish("shared", str(number), 1)
got = [[], []]
for _ in range(20):
    for member, texts in zip(members, got):
        try:
            texts.append(member.messages.get(timeout=0.2).payload.decode())
        except queue.Empty:
            pass
assert sorted(map(int, got[0] + got[1])) == list(range(20)), got
assert got[0] and got[1], "one of them got all"
for client in [*members, publisher]:
    client.leave()
print("all well")
