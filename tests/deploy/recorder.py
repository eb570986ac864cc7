"""A server that takes down what the AWS CLI asks for, and answers that it was done."""

import http.server
import os
import threading
import urllib.parse


class Recorder:
    """Listens on this machine for as long as the block of `with` lasts. `calls` has each call: a query's fields, or the method and the path."""

    def __enter__(self):
        self.calls = []
        calls = self.calls

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, content=b""):
                self.send_response(200)
                self.send_header("ETag", '"none"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self):
                sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
                call = {name: value for name, (value,) in urllib.parse.parse_qs(sent, strict_parsing=True).items()}
                calls.append(call)
                action = call["Action"]
                self.answer(f"<{action}Response><{action}Result/></{action}Response>".encode())

            def do_PUT(self):
                if self.headers.get("Expect") == "100-continue":
                    self.send_response_only(100)
                    self.end_headers()
                # In chunks, each with a checksum, or whole: either way the rest of the connection is of no use.
                self.close_connection = True
                length = int(self.headers.get("Content-Length", 0))
                self.rfile.read(length)
                calls.append({"Action": "PUT", "Path": self.path})
                self.answer()

            def handle_expect_100(self):
                return True

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def environment(self, folder):
        """The variables with which the AWS CLI of a folder asks this server."""
        given = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        return {key: it for key, it in os.environ.items() if not key.startswith("AWS_")} | given
