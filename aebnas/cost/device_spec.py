"""The `device:` part of an experiment. Imports no torch."""

from typing import Any, Literal

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Processes, Threads, UserPath


class DeviceSpec(Spec):
    """The device on which networks will run.

    The keys besides `profile` may be omitted; if given, they must equal those of the profile.
    """

    profile: UserPath
    """The file that `aebnas profile` wrote; may be relative to the YAML file."""
    device: Literal["cpu", "cuda"] | None = None
    """Kind of device."""
    threads: Threads | None = None
    """CPU threads."""
    batch: Processes | None = None
    """Images of a batch."""
    dtype: Literal["fp32", "bf16", "fp16"] | None = None
    """Number format."""
    memory_format: Literal["contiguous", "channels_last"] | None = None
    """Memory format of images and weights."""
    compiled: bool | None = None
    """Whether layers were compiled by torch.compile."""

    def check(self, setting: dict[str, Any]) -> None:
        """Raise SpecError where a key given differs from the profile's `setting`."""
        for name, value in self.model_dump(exclude={"profile"}, exclude_none=True).items():
            if value != setting.get(name):
                raise SpecError(name, f"must be {setting.get(name)}, as {self.profile} was measured, but got {value}")
