"""The search-space DSL: the contents of `search_spaces/*.yaml`, checked and frozen."""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec, did_you_mean
from aebnas.runtime.shape_rules import mid_channels
from aebnas.space import architecture
from aebnas.space.architecture import Site
from aebnas.space.backbone import Backbone
from aebnas.space.branch_spec import BranchChoices, ExitsSpec, branch_channels
from aebnas.space.dag import DagSpec
from aebnas.space.dag_backbone import DagBackbone
from aebnas.space.exit_sites import ExitSites
from aebnas.space.fields import check_differ, taken_by
from aebnas.space.input_spec import InputSpec, StemSpec
from aebnas.space.policy_spec import LAST, PolicySpec
from aebnas.space.stage_spec import StageSpec
from aebnas.space.staged import StagedBackbone

RENAMED = architecture.RENAMED | {"places": "sites"}
"""Fields of a space, as version 0.1 named them."""


class SpaceSpec(Spec):
    """A whole search space; its backbone is made of `stages`, or (`backbone: dag`) of the cells of `dag`."""

    input: InputSpec
    """The image."""
    classes: Annotated[int, Field(strict=True, ge=2, le=1_000_000)]
    """Number of classes."""
    stem: StemSpec
    """The first convolution."""
    backbone: Literal["staged", "dag"] = "staged"
    """`staged` reads `stages`, `dag` reads `dag`."""
    stages: tuple[StageSpec, ...] = ()
    """The stages of a staged backbone, from input to output."""
    dag: DagSpec | None = None
    """The cells of a DAG backbone."""
    exits: ExitsSpec = ExitsSpec()
    """Early exits: their sites and branches."""
    policy: PolicySpec = PolicySpec()
    """The exit policy."""

    @model_validator(mode="before")
    @classmethod
    def _one_backbone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        required, other = ("dag", "stages") if value.get("backbone") == "dag" else ("stages", "dag")
        if value.get(required) is None:
            raise SpecError(required, f"this key is required when backbone is {value.get('backbone', 'staged')}")
        if value.get(other):
            raise SpecError(other, f"must be absent when backbone is {value.get('backbone', 'staged')}")
        return value

    @model_validator(mode="after")
    def _some_stage(self) -> "SpaceSpec":
        if self.backbone == "staged" and not self.stages:
            raise SpecError("stages", "must have at least one stage, but got []")
        return self

    @model_validator(mode="after")
    def _sites_exist(self) -> "SpaceSpec":
        sites = self.sites()
        names = [site.name for site in sites]
        if len(set(names)) != len(names):
            raise SpecError("exits.at", f"sites must be distinct, but got {names}")
        for name in self.exits.sites:
            if self.site_name(name) not in names:
                rule = f"must be of {', '.join(names) or 'no exit'}, but got '{name}'"
                raise SpecError("exits.sites", rule)
        if len(self._sites_that_differ) < len(self.exits.sites):
            raise SpecError("exits.sites", f"sites must be distinct, but got {list(self.exits.sites)}")
        for where, name in self.policy.named_sites.items():
            if self.site_name(name) not in (*names, LAST):
                rule = f"must be of {', '.join((*names, LAST))}, but got '{name}'{did_you_mean(name, names)}"
                raise SpecError(f"policy.{where}", rule)
        for label in self.policy.min_exit_by_class:
            if isinstance(label, int) and label >= self.classes:
                rule = f"classes must be in 0..{self.classes - 1}, but got {label}"
                raise SpecError("policy.min_exit_by_class", rule)
        self.layout.check_sites(sites)
        return self

    @model_validator(mode="after")
    def _branch_widths_differ(self) -> "SpaceSpec":
        for site in self.sites():
            branch = self.branch(site)
            place = self.branch_place(site)
            for channels in self.widths_at(site):
                widths = check_differ(f"{place}.width", branch.width, channels, branch_channels)
                if any("expand" in taken_by(op) for op in branch.layer):
                    for inside in {channels, *widths}:
                        check_differ(f"{place}.expand", branch.expand, inside, mid_channels)
        return self

    @model_validator(mode="after")
    def _expanded_widths_differ(self) -> "SpaceSpec":
        self.layout.check_widths(self.stem.width)
        return self

    @property
    def layout(self) -> Backbone:
        """The backbone as a `Backbone`, with the methods of its kind."""
        return StagedBackbone(self.stages) if self.dag is None else DagBackbone(self.dag)

    def widths_at(self, site: Site) -> tuple[int, ...]:
        """The channels that maps may have at a site."""
        return self.layout.widths(site.stage)

    def sites(self) -> tuple[Site, ...]:
        """The sites of exits, shallow to deep."""
        return ExitSites(self.layout).selected(self.exits.at)

    def branch(self, site: Site) -> BranchChoices:
        """The branch choices of the exit at a site."""
        written = self._sites_that_differ.get(site.name)
        return self.exits if written is None else self.exits.sites[written]

    def branch_place(self, site: Site) -> str:
        """The YAML path of the branch choices of the exit at a site."""
        written = self._sites_that_differ.get(site.name)
        return "exits" if written is None else f"exits.sites.{written}"

    def site_name(self, name: str) -> str:
        """A site's own name where `name` is its other name; any other text unchanged."""
        return ExitSites(self.layout).name_of(name)

    @cached_property
    def _sites_that_differ(self) -> dict[str, str]:
        """Names in `exits.sites` by the sites' own names."""
        return {self.site_name(name): name for name in self.exits.sites}
