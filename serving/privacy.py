"""Keeps the service offline and quiet whatever the environment says.

BentoML's command line decides whether to send usage statistics before it loads a service, and remembers the answer.
Setting the variable in this process therefore comes too late by itself; the remembered answer is dropped as well, so
that the next look finds the variable. `tests/test_service_process.py` starts a plain `bentoml serve` with nothing set
and fails when anything tries to leave the machine.
"""

from __future__ import annotations

import os

OFFLINE = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_SCHEMA_DETAILS": "true",
}
"""Set in this process and so in every worker it starts, over whatever was there."""


def stay_offline() -> None:
    """Put `OFFLINE` in force. Called before anything else of BentoML is imported by the service."""
    os.environ.update(OFFLINE)
    from bentoml._internal.utils.analytics import usage_stats

    usage_stats.do_not_track.cache_clear()
