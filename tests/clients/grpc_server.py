"""A gRPC server by grpcio without a .proto: messages are bytes. Says its port, and serves until it is killed.

usage: grpc_server.py [CERTIFICATE KEY]
"""

import hashlib
import sys
import threading
from concurrent import futures

import grpc

cancelled = []


def told(context):
    """Tells the caller, by digest, which token came here."""
    token = dict(context.invocation_metadata()).get("authorization", "")
    context.send_initial_metadata((("x-token", hashlib.sha256(token.encode()).hexdigest()),))


def unary(request, context):
    told(context)
    context.set_trailing_metadata((("x-length", str(len(request))), ("x-digest-bin", hashlib.sha256(request).digest())))
    return request


def server_stream(request, context):
    told(context)
    for i in range(int(request)):
        yield b"%d" % i


def client_stream(requests, context):
    told(context)
    return b"".join(requests)


def bidi(requests, context):
    told(context)
    for request in requests:
        yield b"you said " + request


def fail(request, context):
    told(context)
    context.set_trailing_metadata((("x-why", "because"), ("why-bin", b"\0\1\2\xff")))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not n\u00f6w: 100%")


def fail_late(request, context):
    yield b"half"
    context.abort(grpc.StatusCode.DATA_LOSS, "the rest is lost")


def hang(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    told(context)
    if gone.wait(30):
        cancelled.append(True)
    return b""


def how_many_cancelled(request, context):
    return b"%d" % len(cancelled)


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Bidi": grpc.stream_stream_rpc_method_handler(bidi),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "Cancelled": grpc.unary_unary_rpc_method_handler(how_many_cancelled),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
if len(sys.argv) > 1:
    with open(sys.argv[1], "rb") as certificate, open(sys.argv[2], "rb") as key:
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key.read(), certificate.read())]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
