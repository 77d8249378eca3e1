"""Access control by the file of `--web.config.file`: TLS, passwords and the rate of requests.

Rule 1: a broken or unknown setting closes access and never opens it. Rule 2: access control covers every path.
Rule 3: files, certificates and bcrypt are handled in threads, so that no probe waits for them.
Rule 4: no password, hash or key reaches a log, a response or an error.

`active_config` the files and the config in force · `tls` contexts and client certificates · `passwords` users ·
`rate_limit` requests · `trusted_sites` browsers' requests from other sites · `access_control` combines them.
"""

from exporter.web.secure.access_control import AccessClosedError, AccessControl
from exporter.web.secure.active_config import WebConfigError, web_config_problems
from exporter.web.secure.trusted_sites import HOST_NAME, TrustedSites

__all__ = ["HOST_NAME", "AccessClosedError", "AccessControl", "TrustedSites", "WebConfigError", "web_config_problems"]
