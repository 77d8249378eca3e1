"""Users, headers and the rate of requests: who is let in, over every path, and that nothing waits for bcrypt."""

import asyncio
import contextlib
import threading

import pytest
from support import harness
from support.web_client import Client, ask, behind, hashed, lines, until_asked, written

from exporter.config import RateLimit
from exporter.web.secure import passwords
from exporter.web.secure.passwords import (
    MAX_PASSWORD_BYTES,
    MAX_PENDING_CHECKS,
    MAX_REMEMBERED_PASSWORDS,
    PasswordChecker,
    TooManyPendingError,
    parse_credentials,
)
from exporter.web.secure.passwords import UserPassword as Said
from exporter.web.secure.rate_limit import RequestRateLimit

PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/nowhere", "/../metrics", "//metrics", "/%2e%2e/metrics", "/%00")
SECRET = "correct-horse-battery"


def users(folder, **more):
    return written(folder, basic_auth_users={"prometheus": hashed(SECRET), **more})


# Users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_is_open(path, tmp_path, monkeypatch):
    """Without a user 401 and the question for one, be it health or a path that is not there."""
    async with behind(users(tmp_path), monkeypatch) as server:
        answer = await ask(server.port, path)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert (await ask(server.port, path, method="POST")).status == 401
        known = await ask(server.port, path, user=f"prometheus:{SECRET}")
        assert known.status == (200 if path in PATHS[:4] else 404)


@pytest.mark.parametrize(
    "said",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic cHJvbWV0aGV1cw==",
        "Bearer cHJvbWV0aGV1czp4",
        "Basic " + "A" * 4000,
        "Basic \xff\xfe",
        "",
    ],
    ids=repr,
)
async def test_a_request_without_a_user_is_401(said, tmp_path, monkeypatch):
    """Whatever the header holds: never a server error."""
    async with behind(users(tmp_path), monkeypatch) as server:
        client = await Client.to(server.port)
        assert (await client.ask(Authorization=said)).status == 401
        await client.close()


@pytest.mark.parametrize(
    "password", ["", "x", SECRET[:-1], SECRET + "x", "x" * MAX_PASSWORD_BYTES, "x" * 73, "x" * 3000, "a\0b", "ü" * 40]
)
async def test_a_wrong_password_is_401(password, tmp_path, monkeypatch):
    """Empty, longer than bcrypt looks at, with a zero byte, beyond ASCII: 401, never 500; nor does it reach the log."""
    with lines() as said:
        async with behind(users(tmp_path), monkeypatch) as server:
            assert (await ask(server.port, user=f"prometheus:{password}")).status == 401
            assert (await ask(server.port, user=f"nobody:{password}")).status == 401
            assert (await ask(server.port, user=f"nobody:{SECRET}")).status == 401
    assert SECRET not in said.all()


async def test_passwords_of_72_bytes_and_beyond_ascii_work(tmp_path, monkeypatch):
    """The longest that bcrypt looks at, and one in UTF-8 with a colon."""
    path = users(tmp_path, long=hashed("y" * MAX_PASSWORD_BYTES), colon=hashed("a:b:ü"))
    async with behind(path, monkeypatch) as server:
        assert (await ask(server.port, user="long:" + "y" * MAX_PASSWORD_BYTES)).status == 200
        assert (await ask(server.port, user="long:" + "y" * MAX_PASSWORD_BYTES + "z")).status == 401
        assert (await ask(server.port, user="colon:a:b:ü")).status == 200


async def test_users_come_and_go_with_the_file(tmp_path, monkeypatch):
    """A new password holds and the old one does not, on connections that are open too."""
    async with behind(users(tmp_path), monkeypatch) as server:
        kept = await Client.to(server.port)
        assert (await kept.ask(user=f"prometheus:{SECRET}")).status == 200
        written(tmp_path, basic_auth_users={"prometheus": hashed("another")})

        async def changed():
            return (await kept.ask(user="prometheus:another")).status == 200

        await until_asked(changed)
        assert (await kept.ask(user=f"prometheus:{SECRET}")).status == 401
        await kept.close()


@pytest.mark.parametrize("broken", ["", "a: b: c", "basic_auth_users: {prometheus: secret}", "basic_auth_users:", None])
async def test_a_broken_file_lets_nobody_in(broken, tmp_path, monkeypatch):
    """Empty, torn, wrong, gone: 500 with a plain sentence for everybody, until it is mended; never an open door."""
    path = users(tmp_path)
    good = path.read_text()
    async with behind(path, monkeypatch) as server:
        with lines() as said:
            path.write_text(broken) if broken is not None else path.unlink()
            await said("the web config is broken")
            for user in (None, f"prometheus:{SECRET}"):
                answer = await ask(server.port, "/metrics", user=user)
                assert answer.status == 500
                assert "see its log" in answer.body
            path.write_text(good)
            await said("the web config has changed and is in force")
        assert (await ask(server.port)).status == 401
        assert (await ask(server.port, user=f"prometheus:{SECRET}")).status == 200
        assert len(said.all().splitlines()) == 2


async def test_a_defect_of_ours_shuts_the_door(tmp_path, monkeypatch):
    """Whatever goes wrong when the files are looked at again, it does not leave the door as it was."""
    path = users(tmp_path)
    async with behind(path, monkeypatch) as server:
        with lines() as said, monkeypatch.context() as patch:
            patch.setattr(server._access._files, "read", lambda: 1 / 0)
            await said("a defect of the exporter, please report this: ZeroDivisionError")
            assert (await ask(server.port, user=f"prometheus:{SECRET}")).status == 500
        await until_asked(lambda: open_again(server))


async def open_again(server):
    return (await ask(server.port, user=f"prometheus:{SECRET}")).status == 200


# bcrypt -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def checker():
    made = PasswordChecker()
    yield made
    await made.close()


class Slow:
    """In place of bcrypt: a check that lasts until it is let go, and tells how many there were at once."""

    def __init__(self):
        self.entered, self.free = threading.Semaphore(0), threading.Semaphore(0)
        self.at_once, self.most = 0, 0

    def __call__(self, password, _):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.entered.release()
        assert self.free.acquire(timeout=20)
        self.at_once -= 1
        return password == b"right"

    def release(self, count=1):
        self.free.release(count)


@pytest.fixture
def slow(monkeypatch):
    made = Slow()
    monkeypatch.setattr(passwords, "_matches", made)
    yield made
    made.release(1000)


async def test_a_password_is_checked_once(checker):
    """Right or wrong, of a user or of nobody: what is known costs no second check."""
    there = {"bob": hashed("right")}
    for user, password, right in (("bob", b"right", True), ("bob", b"wrong", False), ("eve", b"right", False)):
        assert [await checker.is_right(there, Said(user, password)) for _ in range(5)] == [right] * 5
    assert checker.checks == 3
    assert await checker.is_right({"bob": hashed("new")}, Said("bob", b"right")) is False
    assert checker.checks == 4


async def test_an_unknown_user_costs_as_much_as_a_known_one(checker, monkeypatch):
    """An unknown user's password is checked against a hash of the dearest cost there is: time tells no names."""
    costs = []
    monkeypatch.setattr(passwords, "_matches", lambda _, found: not costs.append(found.split("$")[2]))
    there = {"bob": hashed("x", 4), "eve": hashed("x", 5)}
    assert [await checker.is_right(there, Said("mallory", b"x")) for _ in range(2)] == [False, False]
    assert costs == ["05"]


async def test_no_password_is_kept(checker):
    """What is remembered is a keyed hash, and credentials do not show themselves."""
    said = Said("bob", SECRET.encode())
    await checker.is_right({"bob": hashed(SECRET)}, said)
    remembered = repr([*checker._right, *checker._wrong, said])
    assert SECRET not in remembered
    other = PasswordChecker()
    assert other._digest(said, "h") != checker._digest(said, "h")
    await other.close()


async def test_what_is_remembered_is_bounded(checker, monkeypatch):
    """Bad passwords push out bad ones only: who floods us makes nobody else's forgotten."""
    monkeypatch.setattr(passwords, "_matches", lambda password, _: password == b"right")
    assert await checker.is_right({"bob": "$2b$04$x"}, Said("bob", b"right"))
    for number in range(MAX_REMEMBERED_PASSWORDS + 50):
        assert not await checker.is_right({"bob": "$2b$04$x"}, Said("bob", str(number).encode()))
    checks = checker.checks
    assert await checker.is_right({"bob": "$2b$04$x"}, Said("bob", b"right"))
    assert checker.checks == checks
    assert len(checker._wrong) == MAX_REMEMBERED_PASSWORDS


async def test_one_password_check_runs_at_a_time(checker, slow):
    """A storm of one scraper's first scrapes is one check; others wait behind it."""
    there = {"bob": "$2b$04$x"}
    storm = [asyncio.create_task(checker.is_right(there, Said("bob", b"right"))) for _ in range(20)]
    other = asyncio.create_task(checker.is_right(there, Said("bob", b"wrong")))
    assert await asyncio.to_thread(slow.entered.acquire, timeout=10)
    storm.pop().cancel()
    slow.release(2)
    assert await asyncio.gather(*storm) == [True] * 19
    assert await other is False
    assert (checker.checks, slow.most) == (2, 1)


async def test_a_flood_of_passwords_gets_503(checker, slow):
    """More than a few that wait are refused at once; who is known is let in all the while."""
    there = {"bob": "$2b$04$x"}
    slow.release()
    assert await checker.is_right(there, Said("bob", b"right"))
    flood = [
        asyncio.create_task(checker.is_right(there, Said("bob", str(n).encode()))) for n in range(MAX_PENDING_CHECKS)
    ]
    await harness.until(lambda: len(checker._pending) == MAX_PENDING_CHECKS)
    with pytest.raises(TooManyPendingError):
        await checker.is_right(there, Said("bob", b"one more"))
    assert await checker.is_right(there, Said("bob", b"right"))
    slow.release(MAX_PENDING_CHECKS)
    assert not any(await asyncio.gather(*flood))


async def test_a_check_delays_nobody_else(slow, tmp_path, monkeypatch):
    """While bcrypt takes its time, known users are answered, and a flood gets 503 with a time to come again."""
    monkeypatch.setattr(passwords, "MAX_PENDING_CHECKS", 1)
    async with behind(users(tmp_path), monkeypatch) as server:
        slow.release()
        assert (await ask(server.port, user="prometheus:right")).status == 200
        waiting = asyncio.create_task(ask(server.port, user="prometheus:wrong"))
        assert await asyncio.to_thread(slow.entered.acquire, timeout=10)
        assert (await ask(server.port, "/metrics", user="prometheus:right")).status == 200
        assert await asyncio.to_thread(slow.entered.acquire, timeout=10)
        full = await ask(server.port, user="prometheus:other")
        assert (full.status, full.headers["retry-after"]) == (503, "5")
        assert not waiting.done()
        slow.release()
        assert (await waiting).status == 401


async def test_closing_with_a_check_under_way_ends(slow, tmp_path, monkeypatch):
    """The server waits for no bcrypt when it stops."""
    async with behind(users(tmp_path), monkeypatch) as server:
        waiting = asyncio.create_task(ask(server.port, user="prometheus:wrong"))
        assert await asyncio.to_thread(slow.entered.acquire, timeout=10)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await waiting
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "login"]


@pytest.mark.parametrize(
    ("header", "user"),
    [
        ("Basic Ym9iOng=", "bob"),
        ("bAsIc   Ym9iOng= ", "bob"),
        ("Basic Ym9i", None),
        ("Basic /zp4", None),
        ("Digest x", None),
    ],
)
def test_credentials_are_read_as_they_are_written(header, user):
    """RFC 7617: the scheme in any case, base64 of a name in UTF-8, a colon, a password."""
    said = parse_credentials(header)
    assert (said and said.user) == user


# Headers, rate ----------------------------------------------------------------------------------------------------


async def test_headers_stand_in_every_answer(tmp_path, monkeypatch):
    """Those of the file, over ours; refusals and errors included."""
    headers = {"Strict-Transport-Security": "max-age=60", "X-Frame-Options": "sameorigin"}
    path = written(tmp_path, http_server_config={"headers": headers}, basic_auth_users={"bob": hashed("x")})
    async with behind(path, monkeypatch) as server:
        for user, where, status in ((None, "/metrics", 401), ("bob:x", "/metrics", 200), ("bob:x", "/nowhere", 404)):
            answer = await ask(server.port, where, user=user, method="HEAD")
            assert answer.status == status
            assert answer.headers["strict-transport-security"] == "max-age=60"
            assert answer.headers["x-frame-options"] == "sameorigin"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_more_requests_than_permitted_are_429(tmp_path, monkeypatch):
    """Over all paths together, before any password is looked at, with a time to come again."""
    limit = {"interval": "1h", "burst": 3}
    path = written(tmp_path, rate_limit=limit, basic_auth_users={"bob": hashed("x")})
    async with behind(path, monkeypatch) as server:
        told = [
            await ask(server.port, where) for where in ("/-/healthy", "/metrics", "/nowhere", "/metrics", "/-/ready")
        ]
        assert [answer.status for answer in told] == [401, 401, 401, 429, 429]
        assert 3000 < int(told[-1].headers["retry-after"]) <= 3600


async def test_a_change_elsewhere_gives_no_new_permissions(tmp_path, monkeypatch):
    """The bucket is filled again only when its own settings change."""
    path = written(tmp_path, rate_limit={"interval": "1h", "burst": 1})
    async with behind(path, monkeypatch) as server:
        assert [(await ask(server.port)).status for _ in range(2)] == [200, 429]
        with lines() as said:
            written(tmp_path, rate_limit={"interval": "1h", "burst": 1}, http_server_config={"http2": False})
            await said("has changed and is in force")
        assert (await ask(server.port)).status == 429
        with lines() as said:
            written(tmp_path, rate_limit={"interval": "2h", "burst": 1})
            await said("has changed and is in force")
        assert (await ask(server.port)).status == 200


def test_the_bucket_fills_as_time_goes():
    """`burst` at once, one more after each interval, never more than `burst`."""
    limit = RequestRateLimit(RateLimit(interval="2s", burst=2))
    assert [limit.wait(100.0) for _ in range(3)] == [0.0, 0.0, 2.0]
    assert limit.wait(101.0) == 1.0
    assert limit.wait(102.0) == 0.0
    assert [limit.wait(1e6) for _ in range(3)] == [0.0, 0.0, 2.0]


async def test_another_sites_page_changes_nothing(tmp_path, monkeypatch):
    """A browser says where a request comes from: one that changes something has to come from our own page."""
    async with behind(written(tmp_path), monkeypatch) as server:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            assert (await ask(server.port, "/api/check", method="POST", Sec_Fetch_Site=site)).status == status
        assert (await ask(server.port, "/metrics", Sec_Fetch_Site="cross-site")).status == 200
