"""One merge of an index of ids, in a process that is watched (`tests/shared/files/moments.py`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.settings import LogSettings
from tests.pusher.log.taking_over import merge
from tests.shared.files.moments import wait_to_be_watched

if __name__ == "__main__":
    folder, url, stream = sys.argv[1:]
    settings = LogSettings(log_store="jetstream", log_url=url, jetstream=JetstreamSettings(nats_stream=stream))
    ours = JetstreamLog(Path(folder), settings, "test").claim_alone()
    wait_to_be_watched()
    merge(ours)
    os._exit(0)  # what is removed at a good end is no part of it
