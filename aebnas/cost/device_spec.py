"""The `device:` part of an experiment. Imports no torch."""

from typing import Any, Literal

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Processes, Threads, UserPath


class DeviceSpec(Spec):
    """The device that a network is meant for: `profile` is the file that `aebnas profile` wrote.

    The other keys state the setting; where given they must equal those of the profile.
    """

    profile: UserPath
    device: Literal["cpu", "cuda"] | None = None
    threads: Threads | None = None
    batch: Processes | None = None
    dtype: Literal["fp32", "bf16", "fp16"] | None = None
    memory_format: Literal["contiguous", "channels_last"] | None = None
    compiled: bool | None = None

    def check(self, setting: dict[str, Any]) -> None:
        """Raise SpecError where the profile's setting is another one."""
        for name, wanted in self.model_dump(exclude={"profile"}, exclude_none=True).items():
            if wanted != setting.get(name):
                raise SpecError(name, f"must be {setting.get(name)}, as {self.profile} was measured, but got {wanted}")
