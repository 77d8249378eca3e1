"""A name server for a world of its own: every name is 127.0.0.1.  python nameserver.py [ADDRESS]

It answers A and says of everything else that there is none (RFC 1035 section 4.1.1). Stopped by SIGSTOP it is a
server that never answers, killed it is a port that refuses.
"""

import socket
import struct
import sys

A = 1
ANSWER = b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 0, 4) + socket.inet_aton("127.0.0.1")
"""The name asked for (a pointer to it), type A, class IN, time to live 0."""


def answer(query):
    """The reply to a query with one question."""
    end = query.index(b"\x00", 12) + 5
    (kind,) = struct.unpack("!H", query[end - 4 : end - 2])
    answers = 1 if kind == A else 0
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, answers, 0, 0) + query[12:end] + ANSWER * answers


def main():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1", 53))
    print("serving", flush=True)
    while True:
        query, peer = sock.recvfrom(512)
        sock.sendto(answer(query), peer)


if __name__ == "__main__":
    main()
