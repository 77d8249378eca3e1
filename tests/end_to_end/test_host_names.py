"""The name in the URL, on a real name server and a real nginx: what is looked up, what is connected to, what is told.

A search domain whose wildcard answers for every name stands in resolv.conf, as in a Kubernetes pod (`ndots:5`).
"""

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support import certificates, live_exporter
from support.realservers import binary

RESOLV = str(Path("/etc/resolv.conf").resolve())

TRUE, PARKED = "127.0.0.2", "127.0.0.3"
"""Where the names lead: the backend's own address, and that of the search domain's wildcard."""

NAMES = (
    f"--host-record=api.shop.test,{TRUE}",
    f"--host-record=edge.test,{TRUE}",
    f"--host-record=both.shop.test,{TRUE}",
    "--host-record=both.shop.test,127.0.0.4",
    f"--address=/corp.test/{PARKED}",
)

NGINX = """
daemon off;
master_process off;
user root;
error_log stderr notice;
pid {folder}/pid;
events {{}}
http {{
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  log_format seen '$server_addr $scheme host=$http_host sni=$ssl_server_name token=$http_authorization';
  access_log {folder}/access.log seen;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $http_connection;
  ssl_certificate_key {folder}/site.pem;
  ssl_certificate {folder}/site.pem;
  server {{
    listen {true}:8080;
    listen {parked}:8080;
    listen {parked}:8081;
    location / {{ proxy_pass http://{backend}; }}
  }}
  server {{ listen {true}:8443 ssl; server_name other.shop.test; return 404; }}
  server {{
    listen {true}:8443 ssl;
    server_name api.shop.test;
    ssl_certificate_key {folder}/api.pem;
    ssl_certificate {folder}/api.pem;
    location / {{ proxy_pass http://{backend}; }}
  }}
}}
"""


@dataclass
class Town:
    """A world with a name server, a backend and the sites before it."""

    folder: Path
    place: live_exporter.World
    known: live_exporter.Backend
    names: object

    async def check(self, url, **changes):
        """The result of one check of this URL, as its JSON tells it."""
        config = self.folder / "exporter.yml"
        target = live_exporter.target(self.known, url=url, timeout="10s", interval="60s", **changes)
        config.write_text(yaml.safe_dump({"targets": [target]}))
        words = ["check", f"--config.file={config}", "--target=staging", "--output=json"]
        async with self.place.command(sys.executable, "-m", "exporter", *words) as running:
            await running.ended()
        (result,) = json.loads("\n".join(running.out))["results"]
        return result

    def seen(self):
        """What nginx was asked, request by request; the secret of a token left out."""
        return [line.split("token=")[0].split() for line in (self.folder / "access.log").read_text().splitlines()]

    def asked(self):
        """Names that the name server was asked for, in their order, each once."""
        asked = [line.split("] ")[1].split()[0] for line in self.names.err if "query[A" in line]
        return list(dict.fromkeys(asked))


@contextlib.asynccontextmanager
async def town(folder):
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\nsearch corp.test\noptions ndots:5 timeout:2\n")
    issuer = certificates.authority()
    (folder / "ca.pem").write_bytes(issuer.pem)
    (folder / "site.pem").write_bytes(issuer.issue("other.shop.test"))
    (folder / "api.pem").write_bytes(issuer.issue("api.shop.test"))
    dnsmasq = [
        binary("dnsmasq", "dnsmasq-base"), "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
        "--listen-address=127.0.0.1", "--bind-interfaces", "--log-queries", "--log-facility=-", *NAMES,
    ]  # fmt: skip
    async with live_exporter.world() as place, live_exporter.backend(place) as known:
        await place.run("mount", "--bind", str(resolv), RESOLV)
        config = folder / "nginx.conf"
        backend = known.url.split("/")[2]
        config.write_text(NGINX.format(folder=folder, true=TRUE, parked=PARKED, backend=backend))
        nginx = [binary("nginx", "nginx-light"), "-p", str(folder), "-e", "stderr", "-c", str(config)]
        async with place.command(*dnsmasq) as names, place.command(*nginx) as proxy:
            await names.said("started")
            await proxy.said("OS: Linux")
            yield Town(folder, place, known, names)


@pytest.fixture
async def place(tmp_path):
    async with town(tmp_path) as made:
        yield made


async def test_an_absolute_name_is_looked_up_as_it_stands(place):
    """With its last dot no search domain is tried; Host is without the dot, as browsers send it."""
    result = await place.check("ws://api.shop.test.:8080/ws")

    assert (result["status"], result["evidence"]["address"]) == ("ok", TRUE)
    assert place.asked() == ["api.shop.test"]
    assert place.seen() == [[TRUE, "http", "host=api.shop.test:8080", "sni=-"]]


async def test_a_relative_name_goes_through_the_search_domain(place):
    """The counterpart: without its dot the same name is the wildcard's, so that the test above can fail."""
    result = await place.check("ws://api.shop.test:8080/ws")

    assert result["evidence"]["address"] == PARKED
    assert place.asked() == ["api.shop.test.corp.test"]


async def test_no_token_goes_to_a_host_that_the_url_does_not_name(place):
    """The backend is down and the wildcard's site would take the token: it is never asked."""
    result = await place.check("ws://api.shop.test.:8081/ws")

    assert (result["phase"], result["reason"], result["evidence"]["address"]) == ("tcp", "refused", TRUE)
    assert place.seen() == []
    assert place.asked() == ["api.shop.test"]


async def test_the_certificate_and_sni_of_an_absolute_name_are_without_its_dot(place):
    """RFC 6066 section 3 has no dot in SNI; nginx picks the right site, and its certificate fits."""
    result = await place.check("wss://api.shop.test.:8443/ws", tls={"ca_file": str(place.folder / "ca.pem")})

    assert result["status"] == "ok"
    assert result["evidence"]["certificate_place"] == "leaf"
    assert place.seen() == [[TRUE, "https", "host=api.shop.test:8443", "sni=api.shop.test"]]


@pytest.mark.parametrize("address", [TRUE, "edge.test."])
async def test_an_address_changes_where_is_connected_to_and_nothing_else(place, address):
    """One address, many sites: Host, SNI and certificate stay the URL's, whose name is not looked up."""
    result = await place.check(
        "wss://api.shop.test:8443/ws", address=address, tls={"ca_file": str(place.folder / "ca.pem")}
    )

    assert (result["status"], result["evidence"]["address"]) == ("ok", TRUE)
    assert place.asked() == ([] if address == TRUE else ["edge.test"])
    assert place.seen() == [[TRUE, "https", "host=api.shop.test:8443", "sni=api.shop.test"]]


async def test_another_site_behind_the_address_is_refused_by_its_certificate(place):
    """The URL's name decides: a site whose certificate is for another name gets no token."""
    result = await place.check(
        "wss://shop.test:8443/ws", address="edge.test.", tls={"ca_file": str(place.folder / "ca.pem")}
    )

    assert (result["reason"], result["tls_verify"]) == ("tls_certificate", "wrong_name")
    assert f"-connect {TRUE}:8443 -servername shop.test " in result["explanation"]["next_step"]
    assert place.seen() == []


async def test_a_name_with_two_addresses_says_so(place):
    """The name server gives both: which one was tried, and of how many, is told."""
    evidence = (await place.check("ws://both.shop.test.:8080/ws"))["evidence"]

    assert (evidence["addresses"], evidence["address_number"]) == (2, 1)
    assert evidence["address"] in (TRUE, "127.0.0.4")
