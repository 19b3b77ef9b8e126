"""Whether a device profile knows all that a space may build. Imports no torch."""

from aebnas.cost.device import DeviceProfile
from aebnas.errors import UserError
from aebnas.space.layers import space_layers
from aebnas.space.spec import SpaceSpec


def check_covers(profile: DeviceProfile, spec: SpaceSpec) -> None:
    """Raise UserError where the profile lacks a layer of the space, so that no candidate can fail for it later."""
    for layer in sorted(space_layers(spec), key=repr):
        if (layer.op, (layer.in_shape,), layer.attrs) not in profile.layers:
            shape = " x ".join(map(str, layer.in_shape))
            choices = " ".join(f"{name} {value}" for name, value in layer.attrs if not name.endswith("_channels"))
            raise UserError(
                f"{profile.source}: must hold {layer.place} ({choices}) on a map of {shape}, but was measured for "
                "another space; profile this one: aebnas profile SPACE"
            )
