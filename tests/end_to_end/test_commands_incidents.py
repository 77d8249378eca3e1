"""`standin --incident`: the command plays an incident of the data set, lists them, and says what it cannot play."""

import signal

import pytest
from support import harness
from support.commands import command

from exporter.standin import load_incidents


async def standin(*words):
    """Exit code and both outputs of a command that ends by itself."""
    async with command("standin", *words) as running:
        return await running.ended(), running.out, running.err


async def test_an_incident_is_played_by_the_command():
    """Its first line names it, and a session meets it at the URL, with the key of the next line."""
    async with command("standin", "--incident", "factory-init-failed") as running:
        (named,), (backend,), (key,) = [await running.said(word) for word in ("incident  ", "backend", "signing key")]
        url, key_file = backend.split()[1], key.split()[2]
        mapping = {
            "name": "staging",
            "url": url,
            "interval": "60s",
            "timeout": "30s",
            "identities": dict(harness.POOL),
            "auth": {"jwt": {"key_file": key_file, "claims": dict(harness.CLAIMS)}},
        }
        (job,) = harness.planned(mapping).jobs
        result = await harness.Rig().run(job)
        assert (await running.signalled(signal.SIGTERM))[0] == 0

    assert named.endswith("factory-init-failed: the factory fails for another cause than the limit")
    assert (result.factory_reason, result.close.code) == ("init_failed", 1011)


async def test_incidents_are_listed_by_name():
    """One line each, in the order of the file, with the reason where one is not played."""
    code, out, err = await standin("--list-incidents")

    assert (code, err) == (0, [])
    assert [line.split()[0] for line in out] == list(load_incidents())
    assert [line for line in out if "not played: The prober's own key file is gone" in line]


WRONG = {
    "near": (("--incident=slots",), "there is no incident 'slots'; did you mean slots-of-one-user or slots-of-all?"),
    "far": (("--incident=xyz",), "there is no incident 'xyz'; there are process-gone, http-503, "),
    "the prober's own": (("--incident=key-gone",), "--incident: key-gone is not played: The prober's own key file"),
    "with a fault": (("--incident=zombie", "--fault=zombie"), "--fault: cannot be combined with --incident"),
    "a file alone": (("--incident-file=x",), "--incident-file: needs --incident NAME or --list-incidents"),
    "no file": (("--incident=x", "--incident-file=/gone"), "--incident-file: /gone: No such file or directory"),
    "no JSON": (("--incident=x", f"--incident-file={__file__}"), "test_commands_incidents.py: line 1: is no JSON"),
}


@pytest.mark.parametrize(("words", "sentence"), WRONG.values(), ids=WRONG)
async def test_a_wrong_incident_is_a_sentence(words, sentence):
    """It says what is known, or what to leave out."""
    code, out, err = await standin(*words)

    assert (code, out) == (1, [])
    assert sentence in err[0]
