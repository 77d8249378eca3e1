"""TLS of the HTTP side by real handshakes: each option, client certificates, rotation, and a broken file."""

import asyncio
import shutil
import ssl
from functools import partial

import pytest
from support.certificates import Authority, authority
from support.fake_site import Shown
from support.web_client import Client, ask, behind, lines, pair, trusting, turned_away, until_asked, written

from exporter.web import ListenError
from exporter.web.secure import access_control
from exporter.web.secure.tls import is_allowed

AES128, AES256 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
OPENSSL = {AES128: "ECDHE-ECDSA-AES128-GCM-SHA256", AES256: "ECDHE-ECDSA-AES256-GCM-SHA384"}
TLS = ssl.TLSVersion
OLD = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")


@pytest.fixture
def stranger():
    return Authority("Somebody Else")


def client(*, least=None, most=TLS.TLSv1_3, ciphers=None, curve=None):
    """A client's context that trusts us, with some of its own wishes."""
    context = trusting(None, maximum=most)
    if least is not None:
        context.minimum_version = least
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if curve is not None:
        context.set_ecdh_curve(curve)
    return context


# Options ------------------------------------------------------------------------------------------------------------


async def test_a_certificate_is_all_it_takes(tmp_path, monkeypatch):
    """TLS 1.3 is spoken, HTTP/1.1 in it, health included; nothing but TLS is answered, and the URL says https."""
    path = written(tmp_path, tls_server_config=pair(tmp_path))
    async with behind(path, monkeypatch) as server:
        context = client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        answer = await ask(server.port, "/-/healthy", tls=context)
        assert (answer.status, answer.tls.version()) == (200, "TLSv1.3")
        assert answer.tls.selected_alpn_protocol() == "http/1.1"
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert await turned_away(server.port)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_texts_do_for_files(kind, tmp_path, monkeypatch):
    """Certificate, key and the clients' CA may stand in the web config itself."""
    files = pair(tmp_path, kind=kind)
    tls = {name.removesuffix("_file"): (tmp_path / file).read_text() for name, file in files.items()}
    tls |= {"client_ca": authority().pem.decode(), "client_auth_type": "RequireAndVerifyClientCert"}
    for file in files.values():
        (tmp_path / file).unlink()
    async with behind(written(tmp_path, tls_server_config=tls), monkeypatch) as server:
        mine = trusting(tmp_path, client=authority().issue("me"))
        assert (await ask(server.port, tls=mine)).status == 200
        assert await turned_away(server.port, tls=client())


@OLD
@pytest.mark.parametrize(
    ("settings", "spoken"),
    [
        ({}, ["TLSv1_2", "TLSv1_3"]),
        ({"min_version": "TLS13"}, ["TLSv1_3"]),
        ({"max_version": "TLS12"}, ["TLSv1_2"]),
        ({"min_version": "TLS11", "max_version": "TLS12"}, ["TLSv1_1", "TLSv1_2"]),
        ({"min_version": "TLS10"}, ["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"]),
        ({"min_version": "TLS10", "max_version": "TLS10"}, ["TLSv1"]),
    ],
    ids=str,
)
async def test_versions_are_what_the_file_says(settings, spoken, tmp_path, monkeypatch):
    """Each version is spoken if it lies between the two, and refused if not."""
    async with behind(written(tmp_path, tls_server_config=pair(tmp_path) | settings), monkeypatch) as server:
        for name in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"):
            wish = client(least=TLS[name], most=TLS[name], ciphers="DEFAULT:@SECLEVEL=0")
            assert await turned_away(server.port, tls=wish) is (name not in spoken), name


async def test_ciphers_are_those_of_the_list(tmp_path, monkeypatch):
    """A suite that is not in the list is not spoken; those of TLS 1.3 always are."""
    path = written(tmp_path, tls_server_config=pair(tmp_path) | {"cipher_suites": [AES256]})
    async with behind(path, monkeypatch) as server:
        answer = await ask(server.port, tls=client(most=TLS.TLSv1_2))
        assert answer.tls.cipher()[0] == OPENSSL[AES256]
        assert await turned_away(server.port, tls=client(most=TLS.TLSv1_2, ciphers=OPENSSL[AES128]))
        assert (await ask(server.port, tls=client())).tls.version() == "TLSv1.3"


async def test_ciphers_of_tls_13_alone_leave_no_other_version(tmp_path, monkeypatch):
    """As in Go: a list that names no suite of TLS 1.2 offers none."""
    path = written(tmp_path, tls_server_config=pair(tmp_path) | {"cipher_suites": ["TLS_AES_128_GCM_SHA256"]})
    async with behind(path, monkeypatch) as server:
        assert (await ask(server.port, tls=client())).tls.version() == "TLSv1.3"
        assert await turned_away(server.port, tls=client(most=TLS.TLSv1_2))


@pytest.mark.parametrize(("ours", "chosen"), [(True, AES256), (False, AES128)])
async def test_whose_order_of_ciphers_counts(ours, chosen, tmp_path, monkeypatch):
    """Ours, unless the file says that it is the client's."""
    tls = pair(tmp_path) | {"cipher_suites": [AES256, AES128], "prefer_server_cipher_suites": ours}
    async with behind(written(tmp_path, tls_server_config=tls), monkeypatch) as server:
        wish = client(most=TLS.TLSv1_2, ciphers=f"{OPENSSL[AES128]}:{OPENSSL[AES256]}")
        assert (await ask(server.port, tls=wish)).tls.cipher()[0] == OPENSSL[chosen]


@pytest.mark.parametrize(
    ("curve", "wish"),
    [("CurveP256", "prime256v1"), ("CurveP384", "secp384r1"), ("CurveP521", "secp521r1"), ("X25519", "X25519")],
)
async def test_the_curve_is_the_one_named(curve, wish, tmp_path, monkeypatch):
    """Who wants another is refused."""
    path = written(tmp_path, tls_server_config=pair(tmp_path) | {"curve_preferences": [curve]})
    async with behind(path, monkeypatch) as server:
        assert (await ask(server.port, tls=client(curve=wish))).status == 200
        other = "secp384r1" if wish != "secp384r1" else "X25519"
        assert await turned_away(server.port, tls=client(curve=other))


# Clients ------------------------------------------------------------------------------------------------------------


def demanding(folder, kind="RequireAndVerifyClientCert", **more):
    (folder / "ca.crt").write_bytes(authority().pem)
    return pair(folder) | {"client_auth_type": kind, "client_ca_file": "ca.crt", **more}


@pytest.mark.parametrize(
    ("kind", "without"), [("VerifyClientCertIfGiven", False), ("RequireAndVerifyClientCert", True)], ids=str
)
async def test_client_certificates_are_checked(kind, without, stranger, tmp_path, monkeypatch):
    """Ours is let in, a stranger's is not; who has none depends."""
    async with behind(written(tmp_path, tls_server_config=demanding(tmp_path, kind)), monkeypatch) as server:
        assert (await ask(server.port, tls=trusting(tmp_path, client=authority().issue("me")))).status == 200
        assert await turned_away(server.port, tls=trusting(tmp_path, client=stranger.issue("me")))
        assert await turned_away(server.port, tls=client()) is without


async def test_without_a_policy_nobody_is_asked(tmp_path, monkeypatch):
    """NoClientCert: a client that has a certificate is let in like one that has none."""
    path = written(tmp_path, tls_server_config=pair(tmp_path) | {"client_auth_type": "NoClientCert"})
    async with behind(path, monkeypatch) as server:
        assert (await ask(server.port, tls=trusting(tmp_path, client=authority().issue("me")))).status == 200


SANS = ["prometheus.example.com", "192.0.2.7", "2001:db8::1", "spiffe://example.com/prometheus", "sre@example.com"]


@pytest.mark.parametrize("name", SANS)
async def test_an_allowed_name_of_any_kind_is_let_in(name, tmp_path, monkeypatch):
    """DNS, address of either family, URI, e-mail: the certificate's one good name is enough."""
    path = written(tmp_path, tls_server_config=demanding(tmp_path, client_allowed_sans=SANS))
    async with behind(path, monkeypatch) as server:
        assert (await ask(server.port, tls=trusting(tmp_path, client=authority().issue("other", name)))).status == 200


@pytest.mark.parametrize("version", [TLS.TLSv1_2, TLS.TLSv1_3])
@pytest.mark.parametrize("name", ["grafana.example.com", "Prometheus.example.com", "x.prometheus.example.com"])
async def test_another_name_is_no_client_of_ours(name, version, tmp_path, monkeypatch):
    """Signed by our CA, but not in the list, to the letter: no request of it is answered."""
    path = written(tmp_path, tls_server_config=demanding(tmp_path, client_allowed_sans=SANS))
    async with behind(path, monkeypatch) as server:
        wish = trusting(tmp_path, client=authority().issue(name), maximum=version)
        assert await turned_away(server.port, tls=wish)


def test_names_are_compared_by_what_they_mean():
    """Python spells an address of IPv6 in full; a certificate without names has none."""
    borne = {"subjectAltName": (("IP Address", "2001:DB8:0:0:0:0:0:1"), ("DNS", "a"))}
    assert is_allowed(borne, ["2001:db8::1"])
    assert is_allowed(borne, ["a"])
    assert not is_allowed(borne, ["b"])
    assert not is_allowed({}, ["a"])
    assert not is_allowed(None, ["a"])


# Changes ------------------------------------------------------------------------------------------------------------


async def shown(port):
    """The certificate that the server shows now."""
    return (await ask(port, tls=client())).tls.getpeercert(binary_form=True)


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path, monkeypatch):
    """It replaces the old one on disk, and the next connections see it; one that is open has to come again."""
    path = written(tmp_path, tls_server_config=pair(tmp_path))
    async with behind(path, monkeypatch) as server:
        before = await shown(server.port)
        kept = await Client.to(server.port, client())
        assert (await kept.ask()).status == 200
        pair(tmp_path, "localhost")

        async def changed():
            return await shown(server.port) != before

        await until_asked(changed)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await kept.ask()
        await kept.close()


async def test_a_client_whose_ca_is_gone_has_to_go(stranger, tmp_path, monkeypatch):
    """Another CA in the file: clients of the old one are refused, and their open connections end."""
    path = written(tmp_path, tls_server_config=demanding(tmp_path))
    old, new = (trusting(tmp_path, client=ca.issue("me")) for ca in (authority(), stranger))
    async with behind(path, monkeypatch) as server:
        kept = await Client.to(server.port, old)
        assert (await kept.ask()).status == 200
        (tmp_path / "ca.crt").write_bytes(stranger.pem)

        async def authenticate():
            return not await turned_away(server.port, tls=new)

        await until_asked(authenticate)
        assert await turned_away(server.port, tls=old)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await kept.ask()
        await kept.close()


@pytest.mark.parametrize("broken", ["web.yml", "server.key"])
async def test_a_broken_file_shuts_the_door_until_it_is_mended(broken, tmp_path, monkeypatch):
    """No handshake, 500 for who is in already, one line that says what is wrong; mended, all is as before."""
    path = written(tmp_path, tls_server_config=pair(tmp_path))
    good = (tmp_path / broken).read_text()
    async with behind(path, monkeypatch) as server:
        kept = await Client.to(server.port, client())
        assert (await kept.ask()).status == 200
        with lines() as said:
            (tmp_path / broken).write_text(good.replace("cert_file", "certfile").replace("BEGIN", "BEGUN"))
            (line,) = await said("the web config is broken")
            assert "level=error" in line
            assert broken in line
            assert await turned_away(server.port, tls=client())
            answer = await kept.ask("/metrics")
            assert answer.status == 500
            assert answer.body.startswith("the web configuration of this exporter is broken")
            assert str(tmp_path) not in answer.body
            (tmp_path / broken).write_text(good)
            await said("the web config has changed and is in force")
            assert len(await said("the web config is broken")) == 1
        assert (await ask(server.port, tls=client())).status == 200
        await kept.close()


async def test_tls_cannot_be_turned_off_by_a_change(tmp_path, monkeypatch):
    """A file that loses its TLS opens nothing: it shuts the door, and says that a restart is needed."""
    path = written(tmp_path, tls_server_config=pair(tmp_path))
    async with behind(path, monkeypatch) as server:
        with lines() as said:
            written(tmp_path)
            (line,) = await said("the web config is broken")
        assert "TLS begins and ends with the process: restart" in line
        assert await turned_away(server.port)
        assert await turned_away(server.port, tls=client())


async def test_files_that_are_being_exchanged_do_not_shut_the_door(tmp_path, monkeypatch):
    """Certificate first, key a moment later: as long as two looks differ, what held before holds."""
    path = written(tmp_path, tls_server_config=pair(tmp_path))
    (other := tmp_path / "other").mkdir()
    pair(other)
    monkeypatch.setattr(access_control, "FILE_CHECK_SECONDS", 3600.0)
    server = await Shown().serve(config_file=path)
    look = partial(server._access._check_files, server._access._files)
    with lines() as said:
        before = await shown(server.port)
        for name in ("server.crt", "server.key"):
            shutil.copy(other / name, tmp_path / name)
            await look()
            assert await shown(server.port) == before
        await look()
        assert await shown(server.port) != before
        await said("has changed and is in force")
        shutil.copy(other / "server.key", tmp_path / "server.crt")
        await look()
        assert await shown(server.port)
        await look()
        assert await turned_away(server.port, tls=client())
    assert said.all().count("broken") == 1
    await server.close()


# At the start -------------------------------------------------------------------------------------------------------


async def problems(path, monkeypatch):
    with pytest.raises(ListenError) as refused:
        async with behind(path, monkeypatch):
            pass
    return refused.value.sentences


async def test_a_broken_file_at_the_start_is_an_error(tmp_path, monkeypatch):
    """Nothing listens; every file that is wrong has its sentence with field and path."""
    tls = demanding(tmp_path) | {"key_file": "gone.key"}
    (tmp_path / "ca.crt").unlink()
    found = await problems(written(tmp_path, tls_server_config=tls), monkeypatch)
    assert [sentence.removeprefix(f"{tmp_path / 'web.yml'}: ") for sentence in found] == [
        f"tls_server_config.key_file: {tmp_path / 'gone.key'} does not exist: create it, or correct the path",
        f"tls_server_config.client_ca_file: {tmp_path / 'ca.crt'} does not exist: create it, or correct the path",
    ]
    (gone,) = await problems(tmp_path / "gone.yml", monkeypatch)
    assert gone.startswith(f"{tmp_path / 'gone.yml'} does not exist")
    (tmp_path / "web.yml").write_text("")
    assert len(await problems(tmp_path / "web.yml", monkeypatch)) == 1
    (tmp_path / "web.yml").write_text("a: b: c")
    (wrong,) = await problems(tmp_path / "web.yml", monkeypatch)
    assert "line 1, column 5" in wrong


async def test_a_key_of_another_certificate_is_an_error(tmp_path, monkeypatch):
    """The sentence names both; nothing of either is shown."""
    tls = pair(tmp_path) | {"key_file": pair(tmp_path, name="other")["key_file"]}
    (sentence,) = await problems(written(tmp_path, tls_server_config=tls), monkeypatch)
    assert sentence.endswith(f"is damaged, or not the key of {tmp_path / 'server.crt'}")
    (tmp_path / "server.crt").write_text("no certificate")
    (sentence,) = await problems(written(tmp_path, tls_server_config=tls), monkeypatch)
    assert "holds no certificate" in sentence


async def test_a_key_in_a_web_config_that_everybody_can_read_is_a_warning(tmp_path, monkeypatch):
    """Then it is that file whose mode counts; its key is not shown."""
    tls = {name.removesuffix("_file"): (tmp_path / file).read_text() for name, file in pair(tmp_path).items()}
    path = written(tmp_path, tls_server_config=tls)
    path.chmod(0o644)
    with lines() as said:
        async with behind(path, monkeypatch):
            pass
        (line,) = await said("level=warn")
    assert f"tls_server_config.key: {path} can be read by everybody" in line
    assert "PRIVATE" not in said.all()


async def test_what_works_and_should_not_be_is_a_warning(tmp_path, monkeypatch):
    """A key that everybody can read, a version that is broken, HTTP/2 that is not spoken: a line each."""
    tls = pair(tmp_path) | {"min_version": "TLS10"}
    (tmp_path / "server.key").chmod(0o644)
    with lines() as said:
        async with behind(written(tmp_path, tls_server_config=tls, http_server_config={"http2": True}), monkeypatch):
            pass
        assert len(await said("level=warn", 3)) == 3
    assert f"{tmp_path / 'server.key'} can be read by everybody (mode 0644): chmod o-rwx" in said.all()
    assert "RFC 8996" in said.all()
    assert "http2: has no effect" in said.all()
