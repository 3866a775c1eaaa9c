"""Talks to websocket_server.py through the gateway, by `websockets`. Says what it has seen, and ends with 1 where that is wrong.

usage: websocket_client.py HOST:PORT TOKEN [CA]
"""

import ssl
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

target, token = sys.argv[1:3]
LONG = 30
how = {"open_timeout": LONG, "max_size": None, "proxy": None}
scheme = "ws"
if len(sys.argv) > 3:
    scheme, how["ssl"], how["server_hostname"] = "wss", ssl.create_default_context(cafile=sys.argv[3]), "api.test"


def is_(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r} instead of {wanted!r}")
    print(f"{what}: ok", flush=True)


def connected(path="/ws/x", headers=None, **more):
    headers = {"Authorization": f"Bearer {token}"} if headers is None else headers
    return connect(f"{scheme}://{target}{path}", additional_headers=headers, **how, **more)


with connected(subprotocols=["chat.v1", "chat.v2"]) as socket:
    is_("the subprotocol", socket.subprotocol, "chat.v2")
    is_("the extension", "permessage-deflate" in socket.response.headers.get("Sec-WebSocket-Extensions", ""), True)
    for message in ("hello", "", "\u00fc" * 70_000, b"\0\xff", bytes(3_000_000)):
        socket.send(message)
        is_(f"an echo of {len(message)}", socket.recv(timeout=LONG) == message, True)
    socket.send(["in ", "pieces"])
    is_("an echo of fragments", socket.recv(timeout=LONG), "in pieces")
    is_("a pong", socket.ping().wait(LONG), True)
    socket.send("who")
    seen = socket.recv(timeout=LONG)
    is_("a token came", seen.startswith("Bearer "), True)
    is_("and not the caller's", token in seen, False)
    socket.send("bye")
    try:
        socket.recv(timeout=LONG)
        sys.exit("it was not closed")
    except ConnectionClosed as closed:
        is_("the server's close", (closed.rcvd.code, closed.rcvd.reason), (4001, "as you wish"))

with connected(subprotocols=["chat.v2"]) as socket:
    socket.close(4002, "enough")
is_("the caller's close", socket.close_code, 4002)

for what, path, headers, wanted in (
    ("no token", "/ws/x", {}, 401),
    ("no good token", "/ws/x", {"Authorization": "Bearer x.y.z"}, 401),
    ("no route", "/nowhere", None, 404),
    ("nobody there", "/gone", None, 502),
):
    try:
        connected(path, headers)
        sys.exit(f"{what}: it was let in")
    except InvalidStatus as refused:
        is_(what, refused.response.status_code, wanted)
