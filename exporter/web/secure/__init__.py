"""Who may come in, and how: TLS, passwords and the rate of requests, by the file of `--web.config.file`.

Rule 1: what is not understood keeps the door shut; a broken file never opens it. Rule 2: it holds for every path.
Rule 3: what costs more than a look-up (files, certificates, bcrypt) is done in a thread: a probe waits for none of it.
Rule 4: no password, hash or key reaches a line, an answer or a sentence.

`terms` the files as they are now · `tls` contexts, and names of clients · `passwords` users · `limit` how many requests
· `sites` whose pages may change something · `door` asks them all, for each connection and request.
"""

from exporter.web.secure.access_control import AccessClosedError, AccessControl
from exporter.web.secure.active_config import WebConfigError, door_problems
from exporter.web.secure.trusted_sites import HOST_NAME, TrustedSites

__all__ = ["HOST_NAME", "AccessClosedError", "AccessControl", "TrustedSites", "WebConfigError", "door_problems"]
