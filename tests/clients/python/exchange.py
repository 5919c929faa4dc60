"""Connects two paho clients over WebSockets and lets one send to the other.

Reads `{"port", "version", "room", "sender", "receiver"}` as JSON from its standard input, sends at
every QoS, plain, retained and as a will, and prints what was received as JSON.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

DEADLINE_S = 10


class Client:
    """A paho client whose events are waited for one by one."""

    def __init__(self, settings, user, will=None):
        self.events = queue.Queue()
        protocol = MQTTProtocolVersion.MQTTv5 if settings["version"] == 5 else MQTTProtocolVersion.MQTTv311
        clean = {} if settings["version"] == 5 else {"clean_session": True}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=user["clientId"], protocol=protocol, transport="websockets", **clean
        )
        self.client.ws_set_options(path="/mqtt")
        self.client.username_pw_set(user["username"], user["password"])
        if will:
            self.client.will_set(will, "gone", qos=1)
        self.client.on_connect = lambda c, u, flags, reason, props: self.events.put(("connected", str(reason)))
        self.client.on_subscribe = lambda c, u, mid, reasons, props: self.events.put(("granted", reasons[0].value))
        self.client.on_publish = lambda c, u, mid, reason, props: self.events.put(("published", mid))
        self.client.on_message = lambda c, u, m: self.events.put(
            ("message", {"topic": m.topic, "payload": m.payload.decode(), "qos": m.qos, "retain": m.retain})
        )
        self.client.connect("localhost", settings["port"], keepalive=60)
        self.client.loop_start()
        self.expect("connected", "Success")

    def take(self, kind):
        """The next event, which must be of this kind."""
        got, value = self.events.get(timeout=DEADLINE_S)
        if got != kind:
            raise SystemExit(f"waited for {kind}, got {got} {value}")
        return value

    def expect(self, kind, wanted):
        """The next event must be exactly this one."""
        value = self.take(kind)
        if value != wanted:
            raise SystemExit(f"waited for {kind} {wanted}, got {value}")

    def publish(self, topic, payload, qos, retain=False):
        """Publishes and waits for the end of the flow."""
        info = self.client.publish(topic, payload, qos=qos, retain=retain)
        self.expect("published", info.mid)


def main():
    """Runs the exchange."""
    settings = json.load(sys.stdin)
    room = settings["room"]
    sender = Client(settings, settings["sender"], will=f"{room}/will")
    receiver = Client(settings, settings["receiver"])
    got = {"messages": []}

    sender.publish(f"{room}/retained", "kept", qos=1, retain=True)
    receiver.client.subscribe(f"{room}/#", qos=2)
    got["granted"] = receiver.take("granted")
    got["retained"] = receiver.take("message")
    for qos in (0, 1, 2):
        sender.publish(f"{room}/qos", f"at {qos}", qos=qos)
        got["messages"].append(receiver.take("message"))

    # Cut without DISCONNECT, so that the will is due.
    sender.client.loop_stop()
    sender.client.socket().close()
    got["will"] = receiver.take("message")
    receiver.client.disconnect()
    json.dump(got, sys.stdout)


main()
