#!/usr/bin/env python3
"""Writes first inputs for the fuzz targets from the project's own test data.

    fuzz/seeds.py DIRECTORY

makes DIRECTORY/<target>/<hash>. `make fuzz-corpus` minimises them, with what fuzzing found, into
fuzz/corpus.
"""

import hashlib
import itertools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG, APPLY = b"\0", b"\1"  # the first byte of an input of `files`
VERSIONS = {"3.1": 0, "3.1.1": 1, "5": 2}


def table():
    for line in (ROOT / "tests/data/packets.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version, when, digits, expected = line.split("\t")
            yield version, when, bytes.fromhex(digits), expected


def packets():
    for version, when, packet, _ in table():
        yield "packets", bytes([0 if when == "first" else 1 + VERSIONS[version]]) + packet


def answers():
    """What a server says, one of each kind, as tests/wire/answers.rs has them."""
    for version, answer in itertools.product(range(3), [
        "20020000", "20020100", "20020005", "2003000000", "200300870000",
        "2012000f11000000012100092200102700100000", "200b000008120005 61757430",
        "40020102", "5003010292", "62020102", "70020102", "90030102 00", "9004010200 01",
        "b0020102", "b00401020000", "d000", "e000", "e0018e", "e0078e051f00026162",
        "f00918071500045343524d", "3003000161", "3205000161000168", "3d1b0003612f620102110200000004230003"
        "0bac02080001720101 6869",
    ]):
        yield "packets", bytes([4 + version]) + bytes.fromhex(answer)


def frame(opcode, payload, fin=True, mask=b"\1\2\3\4"):
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    else:
        head += bytes([0xFE]) + len(payload).to_bytes(2, "big")
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def websocket():
    request = (
        "GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n{}\r\n"
    )
    extra = ["", "Origin: https://a.example\r\n", "Origin: https://b.example\r\n",
             "X-Forwarded-For: 192.0.2.1\r\n", "Content-Length: 1\r\n", "Host: b\r\n",
             "Sec-WebSocket-Extensions: permessage-deflate\r\n"]
    requests = [request.format(field).encode() for field in extra]
    requests += [b"\x10\x0c\0\4MQTT", b"\x16\x03\x01", b"get / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\n\n",
                 b"POST / HTTP/1.1\r\n\r\n", b"GET /x HTTP/1.1\r\n\r\n", b"G" + b"A" * 9000]
    frames = [frame(2, b"\xc0\0"), frame(2, b"x" * 300), frame(2, b"ab", fin=False) + frame(9, b"ping")
              + frame(0, b"cd"), frame(8, b"\x03\xe8bye"), frame(8, b""), frame(8, b"\x03\xed"),
              frame(1, b"text"), frame(0, b"alone"), frame(10, b"pong"), frame(9, b"x" * 125),
              frame(9, b"x" * 126), frame(3, b""), b"\x82\x01x", b"\xc2\x80", frame(8, b"\x03\xe8\xff"),
              b"\x82\xff\0\0\0\0\0\1\0\0\1\2\3\4", b"\x82\xfe\0\1\1\2\3\4x"]
    for how, frames_ in itertools.product([0x90, 0x70], frames):
        yield "websocket", bytes([how, 0, 7]) + frames_
        yield "websocket", bytes([how, 0, 9]) + frame(2, b"\xc0\0") + frames_
    for request_ in requests:
        yield "websocket", bytes([0xA1, 1, 2]) + request_ + frame(2, b"\xc0\0") + frame(9, b"p")


def topics():
    filters = ["a", "+", "#", "/", "a/#", "a/+", "+/b", "a/+/#", "+/#", "/#", "$SYS/#", "$SYS/a", "a//b",
               "$share/g/a/+", "$share//a", "$share/g", "$share", "a+", "a/#/b", "sport/tennis/#"]
    for place, (one, other) in enumerate(itertools.product(filters, filters)):
        name = ["a", "a/b", "/", "$SYS/a", "a/b/c", "sport/tennis"][place % 6]
        yield "topics", bytes([0, [0, 0, 20, 35][place % 4]]) + "\n".join([one, other, name]).encode()


def trie():
    for prefix in range(3):
        yield "topics", bytes([1, prefix]) + bytes(
            [0, 0x80, 4, 0, 0x81, 8, 3, 0x80, 12, 4, 3, 0x80, 3, 0, 0x81, 2, 0x80, 6, 0, 0x81, 10, 3, 0x80]
        )
        yield "topics", bytes([1, prefix]) + bytes(range(256))


def documents():
    policy = (ROOT / "config/policy/flowfuse.toml").read_text()
    yield "policy", policy.encode()
    roles = re.split(r"(?m)^(?=\[role\.[a-z_-]+\]$)", policy)
    for role in roles[1:]:
        yield "policy", (roles[0] + role).encode()
    for text in re.findall(r'"((?:\\\n|[^"])*\[namespace\](?:\\"|[^"])*)"',
                           (ROOT / "src/policy/tests/loading.rs").read_text()):
        yield "policy", text.replace('\\"', '"').replace("\\n", "\n").encode()
    defaults = (ROOT / "config/cofferdam.toml").read_text()
    yield "files", CONFIG + defaults.encode()
    yield "files", CONFIG + re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", defaults).encode()
    bare = "\n".join(line for line in defaults.splitlines() if line and not line.startswith("#"))
    yield "files", CONFIG + (bare + "\0COFFERDAM__LISTENER__WSS__BIND=127.0.0.1:1\n"
                              "COFFERDAM__LIMITS__MAX_PACKET_SIZE=2 MiB\nCOFFERDAM__LISTENER__1__PATHS=/,/x").encode()
    listener = '[[listener]]\nname = "a"\ntransport = "{}"\nbind = "{}"\n{}'
    for transport, bind, more in [
        ("tcp", "127.0.0.1:1883", 'anonymous_team = "dev"\n'),
        ("ws", "0.0.0.0:80", 'paths = ["/x"]\nallowed_origins = ["https://a.example"]\n'),
        ("tls", "[::1]:0", 'max_frame_size = "1 MiB"\n'),
        ("wss", "nowhere", "allow_anonymous_remote = true\n"),
    ]:
        yield "files", CONFIG + listener.format(transport, bind, more).encode()
    yield "files", CONFIG + (listener.format("tcp", "127.0.0.1:0", "")
                              + '[database]\nurl = "postgres://u:p@h/d?password=x"\n[log]\nfilter = "info,a=debug"\n'
                              + '[policy]\nfile = "p.toml"\n[limits]\nmax_keep_alive = "10 min"\n').encode()
    yield "files", APPLY + b"".join(re.findall(rb"```toml\n(.*?)```", (ROOT / "README.md").read_bytes(), re.S))
    for text in re.findall(r'r##?"(.*?)"##?', (ROOT / "src/provision/tests.rs").read_text(), re.S):
        yield "files", APPLY + text.encode()


def proxies():
    mark = b"\r\n\r\n\0\r\nQUIT\n"
    inet = bytes([192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x22, 0xB3])
    inet6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(16) + inet[8:]
    lines = [b"TCP4 192.0.2.1 198.51.100.2 4711 8883", b"TCP6 2001:db8::7 ::1 0 8883", b"UNKNOWN",
             b"TCP6 ::ffff:192.0.2.1 ::1 65535 1", b"UNKNOWN " + b"x" * 90, b"TCP4 192.0.2.1 198.51.100.2 01 1"]
    headers = [b"PROXY " + line + b"\r\n" for line in lines]
    for command, family, body in [
        (0x21, 0x11, inet), (0x21, 0x21, inet6), (0x21, 0x31, b"/" * 216), (0x21, 0, b""), (0x20, 0xFF, b"\1\2\3"),
        (0x20, 0x11, inet), (0x21, 0x11, inet + b"\4\0\2\t\t\xee\0\0"), (0x21, 0x11, inet + b"\3\0\4\1\2\3\4"),
        (0x21, 0x12, inet), (0x21, 0x11, inet[1:]), (0x21, 0x11, inet + b"\4\0\t"), (0x22, 0x11, inet),
        (0x21, 0x11, inet + checksum(mark, inet)), (0x21, 0x11, inet + b"\4\x1f\xf0" + b"x" * 100),
    ]:
        headers.append(mark + bytes([command, family]) + len(body).to_bytes(2, "big") + body)
    for header in headers + [b"\x10\x0c\0\4MQTT", b"GET / HTTP/1.1\r\n", mark + b"\x21\x11\xff\xff"]:
        yield "proxy", b"\0\0\5" + header
        yield "proxy", b"\0\0\5" + header + b"\x10\x0c\0\4MQTT"
    for peer, listed in itertools.product(range(4), [
        "", "203.0.113.5", "10.0.0.1", "203.0.113.5, 10.0.0.1", "10.9.9.9, 203.0.113.5:4711, 10.0.0.1, 192.0.2.7",
        "[2001:db8::1]:80,2001:db8::2", "unknown, 10.0.0.1", "203.0.113.5,,", "::ffff:10.0.0.2, [::1]",
    ]):
        yield "proxy", bytes([1, peer]) + listed.encode()


def checksum(mark, body):
    """An extension with the right CRC32c."""
    head = mark + b"\x21\x11" + (len(body) + 7).to_bytes(2, "big") + body + b"\3\0\4"
    crc = 0xFFFFFFFF
    for byte in head + bytes(4):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return b"\3\0\4" + (crc ^ 0xFFFFFFFF).to_bytes(4, "big")


def script(*steps):
    return b"".join(steps)


def connections():
    """Steps as fuzz/src/connection/script.rs reads them: who and what, then how."""
    def step(who, what, *how):
        return bytes([who | what << 2, *how])

    def connect(who, user, flags=0, keep_alive=0, expiry=60, *more):
        return step(who, 1, user, flags, keep_alive, expiry, *more)

    two = connect(0, 0) + connect(1, 1)
    sub = [step(1, 2, 1, place, bits) for place in range(16) for bits in (0, 1, 2, 0x8D)]
    pub = [step(0, 4, name, bits, 2, *([5] if bits & 3 else []))
           for name in range(4) for bits in (0, 1, 2, 4, 5, 6)]
    for subscribe, publish in zip(sub, itertools.cycle(pub)):
        yield "connection", two + subscribe + publish + step(1, 7) + step(1, 7) + step(0, 8, 5, 0)
    for version in range(3):
        kept = connect(0, 0, version | 4) + connect(1, 1, version | 4)
        flow = step(1, 2, 1, 1, 2)
        publish = [step(0, 4, 0, 2, 2, place) for place in range(6)]
        yield "connection", kept + flow + step(1, 11, 0) + b"".join(publish) + step(1, 10) + connect(
            1, 1, version | 4) + step(1, 11, 255) + step(1, 7) * 3
        yield "connection", kept + flow + step(1, 10) + publish[0] + connect(3, 1, version | 4) + step(3, 7) * 2
        yield "connection", connect(0, 0, version | 32, 10, 60, 0x51, 0, 5) + connect(1, 1, version) + flow + step(
            0, 10) + step(1, 12, 100) + step(1, 7)
        yield "connection", step(0, 13, 0) + kept + step(0, 13, 2) + step(0, 13, 1) + step(0, 14, 0) + flow
    for who, user in enumerate([3, 4, 5, 6]):
        yield "connection", connect(who, user, 0x18, 0, 255, 1, 90) + step(who, 2, 1, 9, 0x81) + step(
            who, 4, 5, 5, 20, 9) + step(who, 9, 1, 8) + step(who, 15, 0)
    for who in (0, 3):
        riddle = connect(who, 0, 64) + step(who, 15, 2, 0, 0)
        yield "connection", riddle + step(who, 15, 2, 1, 1) + step(who, 15, 2, 0, 0) + step(who, 2, 1, 1, 2)
        yield "connection", step(0, 13, 0) + riddle + step(0, 13, 2) + step(who, 15, 2, 0, 0) + step(0, 13, 3)
    # Clients of two teams with the same client id, filters and names, and the platform.
    for (alpha, beta), (flags, held), filters in itertools.product(
        [(0, 2), (1, 8), (4, 9), (5, 10), (11, 12), (14, 13)], [(0, b""), (0x85, step(0, 14, 0)), (0x20, b"")],
        [(1, 3, 5, 6), (16, 18, 21, 22), (9, 19, 20, 23)],
    ):
        will = [0x57, 9, 1] if flags & 0x20 else []
        both = connect(0, alpha, flags, 0, 60, *will) + connect(1, beta, flags, 0, 60, *will) + connect(2, 3)
        wanted = b"".join(step(who, 2, 1 + place, filter, 0x81) for who in (0, 1) for place, filter in enumerate(filters))
        said = [step(who, 4, name, 0x45, 2, name) + step(who, 7) for name in range(16) for who in (0, 1)]
        crossing = step(2, 2, 1, 17, 1) + step(2, 4, 15, 1, 1, 1)
        yield "connection", both + wanted + held + b"".join(said[:16]) + crossing + step(0, 14, 1) + step(0, 10)
        yield "connection", both + b"".join(said[16:]) + wanted + held + crossing + step(1, 10) + connect(
            3, beta, flags | 4, 0, 60, *will) + wanted
    for version, when, packet, _ in table():
        pieces = [packet[i:i + 255] for i in range(0, len(packet), 255)][:3]
        said = b"".join(step(0, 0, len(piece)) + piece for piece in pieces)
        if when == "first":
            yield "connection", said
        else:
            yield "connection", connect(0, 0, [2, 1, 0][VERSIONS[version]]) + said


def main(into):
    count = 0
    for target, seed in itertools.chain(
        packets(), answers(), websocket(), proxies(), topics(), trie(), documents(), connections()
    ):
        folder = pathlib.Path(into, target)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        count += 1
    print(f"{count} seeds")


if __name__ == "__main__":
    main(sys.argv[1])
