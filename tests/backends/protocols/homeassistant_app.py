"""Home Assistant's own core, auth and WebSocket API, without its frontend. `python homeassistant_app.py PORT FOLDER`.

The command `hass` wants the frontend and the cloud client, 100 MB of packages that the API does not use. The user
`probe` with the password `good` logs in over HTTP (/auth/login_flow, /auth/token), as a browser does.
"""

import asyncio
import sys

from homeassistant import auth, bootstrap, config_entries, loader
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component


async def main(port: int, folder: str) -> int:
    """Run until SIGTERM."""
    hass = HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [{"type": "homeassistant"}], [])
    provider = hass.auth.auth_providers[0]
    await provider.async_initialize()
    provider.data.add_auth("probe", "good")
    http = {"server_host": ["127.0.0.1"], "server_port": port}
    for component in ("auth", "websocket_api"):
        if not await async_setup_component(hass, component, {"http": http}):
            raise RuntimeError(f"{component} did not start")
    return await hass.async_run(attach_signals=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2])))
