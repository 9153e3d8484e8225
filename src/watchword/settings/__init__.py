"""Settings: frozen and read once. Every fault is reported together; unsafe values are refused.

    Settings(port=4100, access_lifetime="5m")     embedded: reads no environment
    load(flags, environ, cwd)                     program: flags > WATCHWORD_* > .env > watchword.toml > defaults

`watchword.settings.table` has every setting, `watchword.settings.rules` the rules between them.
"""

from __future__ import annotations

from watchword.settings.secret_files import read_secret_file
from watchword.settings.sources import Loaded, load
from watchword.settings.table import Settings
from watchword.settings.values import Limit, Network, Proxies

__all__ = ["Limit", "Loaded", "Network", "Proxies", "Settings", "load", "read_secret_file"]
