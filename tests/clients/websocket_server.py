"""A WebSocket server by `websockets`: an echo. Says its port, and serves until it is killed.

usage: websocket_server.py [CERTIFICATE KEY]
"""

import ssl
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

context = None
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])


def echo(socket):
    try:
        for message in socket:
            if message == "bye":
                socket.close(4001, "as you wish")
            elif message == "who":
                socket.send(socket.request.headers["Authorization"])
            else:
                socket.send(message)
    except ConnectionClosed:
        pass


with serve(echo, "127.0.0.1", 0, ssl=context, subprotocols=["chat.v2"], max_size=None) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
