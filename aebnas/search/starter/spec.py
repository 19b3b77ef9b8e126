"""The spec of a search scaled to a set of images, and the files to start from: `aebnas init`."""

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from aebnas.core.atomic_files import write_text
from aebnas.core.errors import UserError, check_utf8
from aebnas.core.metrics import METRICS, Constraint
from aebnas.data.survey import Survey, survey
from aebnas.search.plan import make_plan
from aebnas.search.starter.space import StarterSpace, starter_space

BUDGETED = [name for name, metric in METRICS.items() if metric.direction == "min" and not metric.by_device]
"""Metrics that a budget may bound; those of a device need its profile."""
BUDGETED += [name for name in ("avg_macs", "avg_macs_taken_only") if name not in BUDGETED]
