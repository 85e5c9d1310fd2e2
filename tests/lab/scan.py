"""Run on a host of the lab (`python3 - TARGETS < scan.py`): which ports let a packet through?

TARGETS is JSON: [[address, "22,80,1000-1010"], …]. Written is JSON: {address: {"open": [ports],
"closed": [ports], "udp": whether a low port answers or says that it is closed}}. A firewall
that drops says nothing at all; hence raw packets, all at once, and one wait for all answers.
"""

import contextlib
import json
import select
import socket
import struct
import sys
import time

SOURCE_PORT = 61234
SO_RCVBUFFORCE = 33  # Linux; Python has no name for it
PATIENCE = 1.5  # seconds for the last answer
UDP_BELOW = 4096
SYN, ACK = 2, 16
PORT_UNREACHABLE = (3, 3)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def own_address(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return probe.getsockname()[0]


def syn(source, target, port):
    head = struct.pack("!HHIIBBHHH", SOURCE_PORT, port, port, 0, 5 << 4, SYN, 1024, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
    return head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]


def note(answer, protocol, body):
    """Write down what one packet that came back means."""
    if protocol == socket.IPPROTO_UDP:
        answer["udp"] |= struct.unpack("!HH", body[:4])[1] == SOURCE_PORT
    elif protocol == socket.IPPROTO_ICMP:
        answer["udp"] |= tuple(body[:2]) == PORT_UNREACHABLE
    else:
        port, mine = struct.unpack("!HH", body[:4])
        if mine == SOURCE_PORT:
            answer["open" if body[13] & (SYN | ACK) == SYN | ACK else "closed"].add(port)


def hear(sockets, found, seconds):
    """Take what comes in for some time, and what is there then, but not for ever."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > -1:
        ready = select.select(list(sockets), [], [], max(0, left))[0]
        if not ready:
            break
        for one in ready:
            packet, (address, _) = one.recvfrom(65535)
            if address in found:
                note(found[address], sockets[one], packet[(packet[0] & 15) * 4 :])


def ports(text):
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main():
    targets = json.loads(sys.argv[1])
    found = {address: {"open": set(), "closed": set(), "udp": False} for address, _ in targets}
    protocols = (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP)
    sockets = {socket.socket(socket.AF_INET, socket.SOCK_RAW, p): p for p in protocols}
    tcp, udp, _ = sockets
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    for address, text in targets:
        source, target = socket.inet_aton(own_address(address)), socket.inet_aton(address)
        for count, port in enumerate(ports(text)):
            with contextlib.suppress(OSError):  # no way there, as good as dropped
                tcp.sendto(syn(source, target, port), (address, 0))
                if port < UDP_BELOW:
                    udp.sendto(struct.pack("!HHHH", SOURCE_PORT, port, 8, 0), (address, 0))
            if count % 256 == 0:
                hear(sockets, found, 0)
    hear(sockets, found, PATIENCE)
    json.dump(found, sys.stdout, default=sorted)


main()
