"""Calls grpc_server.py through the gateway in every way there is, by grpcio. Says what it has seen, and ends with 1 where that is wrong.

usage: grpc_client.py HOST:PORT TOKEN [CA]
"""

import hashlib
import queue
import sys
import time

import grpc

target, token = sys.argv[1:3]
METADATA = (("authorization", f"Bearer {token}"),)
CODE = grpc.StatusCode
# Long enough for a machine that has much to do.
LONG = 30

if len(sys.argv) > 3:
    with open(sys.argv[3], "rb") as ca:
        credentials = grpc.ssl_channel_credentials(ca.read())
    channel = grpc.secure_channel(target, credentials, (("grpc.ssl_target_name_override", "api.test"),))
else:
    channel = grpc.insecure_channel(target)


def is_(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r} instead of {wanted!r}")
    print(f"{what}: ok", flush=True)


def unary(method, request=b"", metadata=METADATA, timeout=LONG, service="test.Echo"):
    return channel.unary_unary(f"/{service}/{method}").with_call(request, metadata=metadata, timeout=timeout)


def refused(what, wanted, **how):
    """A call that comes to no good; its error."""
    try:
        unary(**how)
    except grpc.RpcError as error:
        is_(what, error.code(), wanted)
        return error
    sys.exit(f"{what}: it was answered")


for size in (0, 5, 1_000_000):
    body = bytes(i % 251 for i in range(size))
    answer, call = unary("Unary", body)
    is_(f"unary, {size} bytes", answer, body)
    trailers = dict(call.trailing_metadata())
    is_("its trailers", (trailers["x-length"], trailers["x-digest-bin"]), (str(size), hashlib.sha256(body).digest()))
seen = dict(call.initial_metadata())["x-token"]
is_("the caller's token went no further", seen == hashlib.sha256(METADATA[0][1].encode()).hexdigest(), False)

call = channel.unary_unary("/test.Echo/Unary")
at_once = [call.future(b"%d" % i, metadata=METADATA, timeout=LONG) for i in range(100)]
is_("a hundred at once", [f.result() for f in at_once], [b"%d" % i for i in range(100)])

answers = channel.unary_stream("/test.Echo/ServerStream")(b"500", metadata=METADATA, timeout=LONG)
is_("server stream", list(answers), [b"%d" % i for i in range(500)])

pieces = [b"x" * 1000] * 300
is_("client stream", channel.stream_unary("/test.Echo/ClientStream")(iter(pieces), metadata=METADATA, timeout=LONG), b"".join(pieces))

asked = queue.Queue()
answers = channel.stream_stream("/test.Echo/Bidi")(iter(asked.get, None), metadata=METADATA, timeout=LONG)
for i in range(20):
    asked.put(b"%d" % i)
    is_("bidirectional, one after the other", next(answers), b"you said %d" % i)
asked.put(None)
is_("its end", (list(answers), answers.code()), ([], CODE.OK))

error = refused("a status of the server's", CODE.FAILED_PRECONDITION, method="Fail")
is_("its words", error.details(), "not n\u00f6w: 100%")
trailers = dict(error.trailing_metadata())
is_("what came with it", (trailers["x-why"], trailers["why-bin"]), ("because", b"\0\1\2\xff"))
answers = channel.unary_stream("/test.Echo/FailLate")(b"", metadata=METADATA, timeout=LONG)
is_("half an answer", next(answers), b"half")
try:
    next(answers)
    sys.exit("half an answer looks whole")
except grpc.RpcError as error:
    is_("a status after half an answer", (error.code(), error.details()), (CODE.DATA_LOSS, "the rest is lost"))
refused("a method that the server has not", CODE.UNIMPLEMENTED, method="Nothing")

refused("a deadline", CODE.DEADLINE_EXCEEDED, method="Hang", timeout=0.5)
hanging = channel.unary_unary("/test.Echo/Hang").future(b"", metadata=METADATA, timeout=LONG)
time.sleep(0.3)
hanging.cancel()
until = time.monotonic() + LONG
while unary("Cancelled")[0] != b"2" and time.monotonic() < until:
    time.sleep(0.05)
is_("the server has heard of both", unary("Cancelled")[0], b"2")

refused("no token", CODE.UNAUTHENTICATED, method="Unary", metadata=())
refused("no good token", CODE.UNAUTHENTICATED, method="Unary", metadata=(("authorization", "Bearer x.y.z"),))
refused("no route", CODE.UNIMPLEMENTED, method="Unary", service="no.Route")
error = refused("nobody there", CODE.UNAVAILABLE, method="Unary", service="no.Backend")
is_("its words", error.details(), "The backend cannot be reached.")
refused("not exchanged", CODE.PERMISSION_DENIED, method="Unary", service="not.Ours")

answer, call = unary("Unary", b"x", service="one.Echo")
is_("a backend of HTTP/1.1", (answer, dict(call.trailing_metadata())["x-one"]), (b"hi", "1"))
refused("a gRPC server that is spoken to in HTTP/1.1", CODE.UNAVAILABLE, method="Unary", service="wrong.Protocol")
is_("all is well after that", unary("Unary", b"still there")[0], b"still there")
