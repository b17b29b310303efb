"""Ebbtide as a peer of the side-by-side measurement; `make arena` runs it.

  PROJECT_BIN      path of the binary (without it this peer is skipped)
  PROJECT_KINDS    comma list of the listeners to measure (default: all four)

One worker, no access log, no TLS resumption; idle connections live 10 minutes,
256 streams a connection. The admin interface takes whatever port is free.
"""
import os, subprocess
BIN = os.environ.get("PROJECT_BIN", "")
KINDS = set(os.environ.get("PROJECT_KINDS", "http,tls,h2c,tcp").split(",")) if BIN else set()

CONFIG = """
[admin]
listen = "127.0.0.1:0"

[process]
workers = 1
logs    = {{ access = false, level = "warn" }}

[listener.http]
listen = "127.0.0.1:{a.http}"
idle   = "10m"
limits = {{ streams = 256 }}
routes = [{{ upstream = "http1" }}]

[listener.tls]
listen = "127.0.0.1:{a.tls}"
idle   = "10m"
limits = {{ streams = 256 }}
tls    = {{ cert = "{a.cert}", key = "{a.key}", tickets = false }}
routes = [{{ upstream = "http1" }}]

[listener.h2c]
listen = "127.0.0.1:{a.h2c}"
idle   = "10m"
limits = {{ streams = 256 }}
routes = [{{ upstream = "http2" }}]

[listener.tcp]
listen   = "127.0.0.1:{a.tcp}"
protocol = "tcp"
upstream = "http1"

[drain]
announce = "0s"

[upstream.http1]
servers = ["127.0.0.1:{a.b1}"]

[upstream.http2]
servers = ["127.0.0.1:{a.b2}"]
http    = "h2"
"""

def version():
    return subprocess.run([BIN, "--version"], capture_output=True, text=True).stdout.split()[-1]

def launch(a):
    return [BIN, "run", a.write("ebbtide.toml", CONFIG.format(a=a))], {}
