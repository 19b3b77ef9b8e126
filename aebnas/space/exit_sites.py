"""The sites of a space's exits, and their names in YAML."""

from functools import cached_property

from aebnas.core.errors import SpecError
from aebnas.space.architecture import Site
from aebnas.space.backbone import Backbone


class ExitSites:
    """All sites of a backbone."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    @cached_property
    def known(self) -> dict[str, Site]:
        """Every site by its name, shallow to deep; the final classifier after the last stage or cell is not one."""
        sites = []
        for number, depth in enumerate(self.backbone.depths):
            sites += [self.backbone.site(number, block) for block in (*range(1, depth), None)]
        return {site.name: site for site in sites[:-1]}

    def name_of(self, name: str) -> str:
        """The name that a site has of itself; any other text unchanged."""
        other = self.backbone.other_names()
        return other[name].name if name in other else name

    def selected(self, at: str | tuple[str, ...]) -> tuple[Site, ...]:
        """The sites that `at` names, shallow to deep; raises SpecError for one that the backbone doesn't have."""
        if isinstance(at, str):
            return self.backbone.everywhere(at)
        for name in at:
            if self.name_of(name) not in self.known:
                raise SpecError("exits.at", f"must be sites of exits ({self._listed(name)}), but got '{name}'")
        order = list(self.known)
        return tuple(self.known[name] for name in sorted(map(self.name_of, at), key=order.index))

    def _listed(self, name: str) -> str:
        """The ends of parts, and the sites inside of the stage or cell that `name` begins with, for an error."""
        others = {site.name: f" or {other}" for other, site in self.backbone.other_names().items()}
        ends = [f"{known}{others.get(known, '')}" for known, site in self.known.items() if site.block is None]
        around = name.partition(".")[0]
        inside = [known.partition(".")[2] for known in self.known if known.startswith(f"{around}.")]
        more = f"; {self.backbone.inside_phrase}: {', '.join(inside)}" if inside else ""
        return f"{self.backbone.part_word} ends: {', '.join(ends) or 'none'}{more}"
