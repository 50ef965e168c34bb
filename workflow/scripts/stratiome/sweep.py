"""Many analyses in one run: cohorts × endpoints, each with the config that it would have alone.

A sweep adds nothing to an analysis. It merges files into one config per combination, and whoever runs that config alone
(`python -m stratiome.sweep sweep.yaml COHORT ENDPOINT` prints it) gets the same results.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from stratiome.config import ConfigError, EndpointConfig, Section, describe_error, reference_tables
from stratiome.plan import plan
from stratiome.yaml_file import named, read_config

JOINED = "__"
"""What joins the names of cohort and endpoint in those of rules; no name may contain it."""

SUMMARY_RULES = ("summary", "summarise_sweep")
"""Rules that need no analysis to be run."""

OWN = {"results": "`results` of the sweep", "endpoint": "`endpoints`"}
"""Keys of an analysis that the sweep itself sets -> by what."""

TAKEN = frozenset({"external", "logs", "benchmarks"})
"""Folders that mean something else, so no names of cohorts."""

Part = Annotated[str, Field(pattern=r"^[A-Za-z](_?[A-Za-z0-9])*$")]
"""Name of a cohort or endpoint: a letter, then letters, digits and single underscores, none of them last."""


def _no_own_keys(changes: dict[str, Any], others: Collection[str] = ()) -> dict[str, Any]:
    for key in changes:
        if key in OWN or key in others:
            by = OWN.get(key, "the config file of each cohort")
            raise ValueError(f"`{key}` is set by {by}. Suggestion: remove it here")
    return changes


class SweepCohort(Section):
    """One cohort: the path of its config, or a block with what differs in the sweep."""

    config: str = Field(description="Config of the cohort, relative to the working folder; its `endpoint` is not used.")
    changes: dict[str, Any] = Field({}, description="Keys of the config that differ for this cohort in the sweep.")
    endpoints: dict[Part, dict[str, Any]] = Field(
        {}, description="Endpoint -> its keys that differ in this cohort, as `os: {time: OS_MONTHS, event: OS_STATUS}`."
    )
    only: tuple[Part, ...] = Field((), description="The endpoints of this cohort, if it does not have all.")
    skip: tuple[Part, ...] = Field((), description="Endpoints that this cohort does not have.")

    @field_validator("changes")
    @classmethod
    def _of_the_cohort(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _no_own_keys(value)


class SweepEndpoint(EndpointConfig):
    """One endpoint: the keys of `endpoint` of an analysis, and those below."""

    event_name: str | None = Field(None, description="As `event_name` of an analysis.")
    changes: dict[str, Any] = Field({}, description="Keys of the configs that differ with this endpoint.")
    only: tuple[Part, ...] = Field((), description="The cohorts with this endpoint, if not all have it.")
    skip: tuple[Part, ...] = Field((), description="Cohorts that do not have this endpoint.")

    @field_validator("changes")
    @classmethod
    def _of_the_endpoint(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _no_own_keys(value, ("cohort",))


class Sweep(Section):
    """Many analyses in one run: each cohort with each endpoint."""

    sweep: Part = Field(description="Short name; a config with this key is a sweep.")
    title: str | None = Field(None, description="Title of the summary; default the name.")
    results: str | None = Field(
        None,
        description="Folder of the summary and, as `<cohort>/<endpoint>`, of each analysis; default `results/<sweep>`.",
    )
    shared: dict[str, Any] = Field({}, description="Keys that differ in every config, as `resamples: {folds: 10}`.")
    cohorts: dict[Part, SweepCohort] = Field(min_length=1, description="Name -> config of the cohort, or a block.")
    endpoints: dict[Part, SweepEndpoint] = Field(min_length=1, description="Name -> endpoint, for every cohort.")

    @field_validator("shared")
    @classmethod
    def _of_all(cls, value: dict[str, Any]) -> dict[str, Any]:
        return _no_own_keys(value, ("cohort",))

    @field_validator("cohorts", mode="before")
    @classmethod
    def _path_is_config(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: {"config": value} if isinstance(value, str) else value for name, value in given.items()}

    @model_validator(mode="after")
    def _names_are_known(self) -> Sweep:
        problems = [
            f"no cohort may be called `{name}`. Suggestion: give it another name"
            for name in sorted(TAKEN.intersection(self.cohorts))
        ]
        for where, blocks, known in (
            ("cohorts", self.cohorts, list(self.endpoints)),
            ("endpoints", self.endpoints, list(self.cohorts)),
        ):
            for name, block in blocks.items():
                if block.only and block.skip:
                    problems.append(f"`{where}.{name}` has both `only` and `skip`. Suggestion: keep one")
                asked = [("only", n) for n in block.only] + [("skip", n) for n in block.skip]
                asked += [("endpoints", n) for n in getattr(block, "endpoints", ())]
                problems += [
                    f"`{where}.{name}.{key}` names `{other}`, which is not there. {_nearest(other, known)}"
                    for key, other in asked
                    if other not in known
                ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def results_folder(self) -> str:
        """Folder of the summary and of all analyses."""
        return self.results or f"results/{self.sweep}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else f"Suggestion: one of {', '.join(known)}"


@dataclass(frozen=True)
class Combination:
    """One analysis of a sweep.

    Attributes
    ----------
    cohort, endpoint
        Names in the sweep.
    folder
        Folder of its results.
    config
        Its config, as read from a file; the same as for a run of this analysis alone.
    wanted
        Whether this call needs it.
    """

    cohort: str
    endpoint: str
    folder: str
    config: dict[str, Any]
    wanted: bool = True

    @property
    def name(self) -> str:
        """Name of the combination in those of its rules."""
        return f"{self.cohort}{JOINED}{self.endpoint}"

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.cohort} × {self.endpoint}"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config with changes: blocks are merged key by key, all else is replaced, and null removes a key."""
    made = dict(copy.deepcopy(base))
    for key, value in changes.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(made.get(key), Mapping):
            made[key] = merged(made[key], value)
        else:
            made[key] = copy.deepcopy(value)
    return made


def read_sweep(raw: dict[str, Any], source: str = "sweep") -> Sweep:
    """Validate a sweep, without a look at the configs that it names.

    Raises
    ------
    ConfigError
        With one text per mistake.
    """
    try:
        return Sweep.model_validate(raw)
    except ValidationError as error:
        raise ConfigError([describe_error(e, Sweep) for e in error.errors()], source) from None


def pairs(sweep: Sweep) -> list[tuple[str, str]]:
    """Cohort and endpoint of every combination that is not left out, in the order of the file."""
    return [
        (cohort, endpoint)
        for cohort, of in sweep.cohorts.items()
        for endpoint, has in sweep.endpoints.items()
        if (not of.only or endpoint in of.only) and endpoint not in of.skip
        if (not has.only or cohort in has.only) and cohort not in has.skip
    ]


def combine(sweep: Sweep, raw: Mapping[str, Any]) -> tuple[list[Combination], list[str]]:
    """Every combination with its config, and what is wrong with the files of cohorts.

    Later parts win: the file of the cohort, `shared`, `changes` of the endpoint, `changes` of the cohort. The endpoint
    replaces that of the file as a whole.

    Parameters
    ----------
    sweep
        The sweep.
    raw
        The same as it was read, so that what is not given stays so.
    """
    files: dict[str, dict[str, Any]] = {}
    problems = []
    for name, cohort in sweep.cohorts.items():
        try:
            read = read_config(Path(cohort.config))
        except ConfigError as error:
            problems += [f"`cohorts.{name}`: {problem}" for problem in named(cohort.config, error)]
            continue
        if "sweep" in read:
            problems.append(f"`cohorts.{name}`: {cohort.config} is no config of a cohort. Suggestion: name one")
            continue
        files[name] = read
    found = []
    for cohort_name, name in pairs(sweep):
        if cohort_name not in files:
            continue
        of, has = sweep.cohorts[cohort_name], sweep.endpoints[name]
        given = {k: v for k, v in raw["endpoints"][name].items() if k in EndpointConfig.model_fields}
        config = {k: v for k, v in files[cohort_name].items() if k not in OWN}
        for changes in (sweep.shared, has.changes, of.changes):
            config = merged(config, changes)
        if has.event_name is not None:
            config["event_name"] = has.event_name
        config["endpoint"] = merged(given, of.endpoints.get(name, {}))
        folder = f"{sweep.results_folder}/{cohort_name}/{name}"
        config["results"] = folder
        found.append(Combination(cohort_name, name, folder, config))
    return found, problems


def wanted(sweep: Sweep, targets: Collection[str]) -> frozenset[str]:
    """Names of the combinations that a call needs: those whose rules or files it asks for, all if it asks for more.

    A job of a cluster then reads its own analysis only, and `summary`, which takes what is there, reads none.

    Parameters
    ----------
    sweep
        The sweep.
    targets
        Rules and files; none for all.
    """
    folders = {f"{cohort}{JOINED}{name}": f"{sweep.results_folder}/{cohort}/{name}/" for cohort, name in pairs(sweep)}
    found = set()
    for target in targets:
        if target in SUMMARY_RULES:
            continue
        name = next((n for n, f in folders.items() if target.startswith((f"{n}{JOINED}", f))), None)
        if name is None:
            return frozenset(folders)
        found.add(name)
    return frozenset(found if targets else folders)


def plan_sweep(raw: dict[str, Any], source: str, targets: Collection[str] = ()) -> tuple[Sweep, list[Combination]]:
    """Validate a sweep and the analyses that a call needs, with the files that they name.

    Parameters
    ----------
    raw
        The sweep as read from YAML.
    source
        File name for messages.
    targets
        What the call asks for, as `wanted`.

    Returns
    -------
    tuple
        The sweep, and all its combinations; those that the call needs are `wanted`.

    Raises
    ------
    ConfigError
        With every mistake of every combination, each with the combinations that have it.
    """
    sweep = read_sweep(raw, source)
    found, problems = combine(sweep, raw)
    needed = wanted(sweep, targets)
    found = [replace(one, wanted=one.name in needed) for one in found]
    if not pairs(sweep):
        problems.append("`cohorts` and `endpoints`: all combinations are left out. Suggestion: skip fewer")
    wrong: dict[str, list[Combination]] = {}
    for one in found:
        if one.wanted:
            for text in _mistakes(one):
                wrong.setdefault(text, []).append(one)
    problems += [f"{_labels(who, found)}: {text}" for text, who in wrong.items()]
    if problems:
        raise ConfigError(problems, source)
    return sweep, found


def _mistakes(one: Combination) -> list[str]:
    """What is wrong with the config of a combination or with its files."""
    try:
        _, splits = plan(dict(one.config), one.label)
    except ConfigError as error:
        return [_with_way_out(text, one) for text in error.problems]
    return [*splits.too_few]


def _with_way_out(text: str, one: Combination) -> str:
    """A mistake; for a column of the endpoint that is not there also how to say so."""
    if not text.startswith(("`endpoint.time`", "`endpoint.event`", "`endpoint.response`")):
        return text
    return (
        f"{text.rstrip('.')}. If the cohort does not have this endpoint: `cohorts: {{{one.cohort}: {{config: ..., "
        f"skip: [{one.endpoint}]}}}}`; if its columns are called otherwise: `endpoints: {{{one.endpoint}: {{time: ..., "
        "event: ...}}` there"
    )


def _labels(who: Sequence[Combination], found: Sequence[Combination]) -> str:
    """Combinations that share a mistake."""
    if len(who) == len(found) > 1:
        return f"all {len(found)} combinations"
    for key in ("cohort", "endpoint"):
        values = {getattr(c, key) for c in who}
        if len(values) == 1 < len(who) == sum(getattr(c, key) in values for c in found):
            return f"every combination of {values.pop()}"
    return ", ".join(one.label for one in who)


def stopped_in(folder: str | Path) -> str:
    """Rule in which an analysis stopped, by the logs in the folder of its results; "" if none says so."""
    failed = [
        path
        for path in sorted(Path(folder, "logs").rglob("*.log"))
        if any(line.startswith("ERROR ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    ]
    return max(failed, key=lambda path: path.stat().st_mtime).stem if failed else ""


def json_schema() -> str:
    """JSON schema of a sweep, as committed under `workflow/schemas`."""
    schema = Sweep.model_json_schema()
    schema["$defs"]["SweepEndpoint"]["required"] = []  # a response needs no time, which is said where it is read
    cohort = {"$ref": "#/$defs/SweepCohort"}
    schema["properties"]["cohorts"]["patternProperties"] = {
        pattern: {"anyOf": [{"type": "string"}, cohort]}
        for pattern in schema["properties"]["cohorts"].get("patternProperties", {})
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def sweep_tables() -> str:
    """Markdown tables of the keys of a sweep, as committed in `config/README.md`."""
    return reference_tables(Sweep, "A sweep")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the config of one combination, to run it alone."""
    parser = argparse.ArgumentParser(prog="sweep", description="Print the config of one analysis of a sweep.")
    for name in ("sweep", "cohort", "endpoint"):
        parser.add_argument(name)
    asked = parser.parse_args(arguments)
    raw = yaml.safe_load(Path(asked.sweep).read_text(encoding="utf-8"))
    try:
        found, problems = combine(read_sweep(raw, asked.sweep), raw)
        one = next((c for c in found if (c.cohort, c.endpoint) == (asked.cohort, asked.endpoint)), None)
        if one is None:
            labels = ", ".join(c.label for c in found)
            problems.append(f"there is no {asked.cohort} × {asked.endpoint}. Suggestion: one of {labels}")
            raise ConfigError(problems, asked.sweep)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    yaml.safe_dump(one.config, sys.stdout, sort_keys=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
