"""Settings: frozen, read once, every fault reported together, what is unsafe refused.

    Settings(port=4100, access_lifetime="5m")     the embedded form: reads no environment
    load(flags, environ, cwd)                     the program: flags > WATCHWORD_* > .env > watchword.toml > defaults

Every setting is one attribute of `Settings`, in `watchword.settings.table`; the rules between settings are in
`watchword.settings.rules`.
"""

from __future__ import annotations

from watchword.settings.secret_files import read_secret_file
from watchword.settings.sources import Loaded, load
from watchword.settings.table import Settings
from watchword.settings.values import Limit, Network, Proxies, is_loopback

__all__ = ["Limit", "Loaded", "Network", "Proxies", "Settings", "is_loopback", "load", "read_secret_file"]
