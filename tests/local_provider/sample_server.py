"""A small HTTP server to supervise. Files in its working directory change its mood: `fail`, `sick`, `slow`."""

import http.server
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

port, options = int(sys.argv[1]), sys.argv[2:]
if Path("fail").exists():
    print("cannot start: a file named fail is here", flush=True)
    sys.exit(3)
if Path("slow").exists():
    time.sleep(float(Path("slow").read_text()))
if "--stubborn" in options:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "--child" in options:
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500 if Path("sick").exists() and self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid(), "environment": dict(os.environ)}).encode())


http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
