"""The file of `--http.config.file`: how we ask another server, in the format of promtool and amtool, as frozen values.

Rule 1: a part of that format, not a variant: what stands here means there what it means here, and the rest is refused.
Source: Prometheus, "HTTP configuration file" of promtool.
"""

from pathlib import PurePath
from typing import Self

from pydantic import Field, ValidationError

from exporter.config.messages import field_problems
from exporter.config.mistake import Problem
from exporter.config.model import Tls
from exporter.config.profile_model import Model
from exporter.config.scalars import FilePath, Text


class BasicAuth(Model):
    """Who we are there. The password stands in a file of its own."""

    username: Text
    password_file: FilePath


class HttpClient(Model):
    """The whole file."""

    basic_auth: BasicAuth | None = None
    tls_config: Tls = Field(default_factory=Tls)

    def resolved(self, folder: PurePath) -> Self:
        """The same where each relative path starts at `folder`, the one this file lies in."""
        named = {name: getattr(self.tls_config, name) for name in ("ca_file", "cert_file", "key_file")}
        tls = {name: str(folder / path) for name, path in named.items() if path is not None}
        changed: dict[str, Model] = {"tls_config": self.tls_config.model_copy(update=tls)}
        if self.basic_auth is not None:
            password = str(folder / self.basic_auth.password_file)
            changed["basic_auth"] = self.basic_auth.model_copy(update={"password_file": password})
        return self.model_copy(update=changed)


def parse_http_client(raw: object) -> HttpClient | tuple[Problem, ...]:
    """Return the settings in `raw` (JSON values, as `load_yaml` returns them), or every problem of them at once."""
    if not isinstance(raw, dict):
        return (Problem("", "the file must be a mapping: basic_auth, tls_config"),)
    try:
        client = HttpClient.model_validate(raw)
    except ValidationError as error:
        return tuple(problem for _, problem in field_problems(error, raw, HttpClient))
    if (client.tls_config.cert_file is None) != (client.tls_config.key_file is None):
        return (Problem("tls_config", "cert_file and key_file go together: name both, or neither"),)
    return client
