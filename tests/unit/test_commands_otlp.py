"""Package `commands`: the flags of the export by OTLP, and what they cost where they are not used."""

import subprocess
import sys

import pytest

from exporter.arguments import parser
from exporter.commands.otlp_flags import otlp_settings
from exporter.commands.terminal import UsageError
from exporter.config import HttpClient

URL = "--otlp.endpoint=http://collector:4318"
SECRET = "s3cret"
VARIABLES = "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def settings(*flags):
    return otlp_settings(parser().parse_args(["run", *flags]))


def refused(*flags):
    with pytest.raises(UsageError) as raised:
        settings(*flags)
    (sentence,) = raised.value.sentences
    assert SECRET not in sentence
    return sentence


def test_nothing_is_exported_by_default():
    """No flag, no export."""
    assert settings() is None


def test_an_endpoint_is_enough():
    """The rest has defaults: 15 s, no headers, the machine's CAs."""
    found = settings(URL)
    assert (found.endpoint, found.interval, found.timeout) == ("http://collector:4318/v1/metrics", 15.0, 10.0)
    assert (found.resource, found.headers, found.headers_file, found.client) == ({}, {}, None, HttpClient())


def test_flags_files_and_variables_come_together(tmp_path, monkeypatch):
    """The variables are those of every OpenTelemetry SDK; the name of the service goes before its attribute."""
    (tmp_path / "headers").write_text("a: b\n")
    (tmp_path / "client.yml").write_text("tls_config: {ca_file: ca.crt}\n")
    for name, value in zip(VARIABLES, ("service.name=x,job=y", "z", f"Authorization=Bearer%20{SECRET}"), strict=True):
        monkeypatch.setenv(name, value)
    files = f"--otlp.headers-file={tmp_path / 'headers'}", f"--otlp.http-config-file={tmp_path / 'client.yml'}"
    found = settings(URL, "--otlp.interval=1m", *files)

    assert found.resource == {"service.name": "z", "job": "y"}
    assert found.headers == {"Authorization": f"Bearer {SECRET}"}
    assert (found.interval, found.headers_file) == (60.0, str(tmp_path / "headers"))
    assert found.client.tls_config.ca_file == str(tmp_path / "ca.crt")


@pytest.mark.parametrize("flag", ["--otlp.interval=5s", "--otlp.headers-file=x", "--otlp.http-config-file=x"])
def test_a_flag_without_an_endpoint_is_refused(flag):
    """It would have no effect."""
    name = flag.partition("=")[0]
    assert refused(flag) == f"{name}: needs --otlp.endpoint: without it nothing is exported"


def test_what_is_wrong_is_named_and_not_quoted(tmp_path, monkeypatch):
    """The flag or variable, the file and its line."""
    headers = tmp_path / "headers"
    assert refused(URL, f"--otlp.headers-file={headers}").startswith(f"--otlp.headers-file: {headers} does not exist")
    headers.write_text(f"Bearer {SECRET}")
    assert f"--otlp.headers-file: {headers}: line 1 is no header" in refused(URL, f"--otlp.headers-file={headers}")
    assert refused(URL, f"--otlp.http-config-file={headers}").startswith(f"--otlp.http-config-file: {headers}")
    assert "--otlp.endpoint: no user and password in the URL" in refused(f"--otlp.endpoint=http://a:{SECRET}@localhost")
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.setenv(name, SECRET)
        assert refused(URL).startswith(f"{name}: entry 1 is no key=value")
        monkeypatch.delenv(name)


def test_without_the_extra_the_command_of_pip_is_named(monkeypatch):
    """Before anything starts, as every other wrong flag."""
    monkeypatch.setitem(sys.modules, "exporter.metrics.otlp", None)
    assert "pip install 'ws-factory-exporter[otlp]'" in refused(URL)


def test_nobody_else_loads_the_library():
    """The daemon and `run` without the flag load neither protobuf nor OpenTelemetry."""
    code = "import sys, exporter.commands.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"google.protobuf", "opentelemetry.proto"} & set(done.stdout.split())
