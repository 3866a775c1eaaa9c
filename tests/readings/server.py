"""How Python reads a path: http.server's files, and what WSGI hands to Django and Flask. X-Reading says which one is asked."""

import os
import posixpath
import urllib.parse
from http.server import HTTPServer, SimpleHTTPRequestHandler

ROOT = "/nowhere"


def first(path):
    return next((part for part in path.split("/") if part), "")


def wsgi(path):  # as wsgiref.simple_server makes PATH_INFO
    return urllib.parse.unquote(path.split("?", 1)[0], "iso-8859-1")


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory=ROOT)

    def do_GET(self):
        readings = {
            "files": lambda: os.path.relpath(self.translate_path(self.path), ROOT),
            "wsgi": lambda: wsgi(self.path),
            "wsgi-normalised": lambda: posixpath.normpath(wsgi(self.path)),
        }
        body = b"reads:" + first(readings[self.headers["X-Reading"]]()).encode("utf-8", "replace")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print("PORT", server.server_port, flush=True)
server.serve_forever()
