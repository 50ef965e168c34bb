"""Folders on object storage, which a config names by address, as `s3://bucket/folder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratiome.bundle.files import CARD, FILES
from stratiome.config import Config, check_config
from stratiome.names import ADDRESS

Key = tuple[str, str]
"""Section of the config and key in it."""


def remote_files(raw: Mapping[str, Any]) -> dict[Key, tuple[str, list[str]]]:
    """Key of each folder on object storage -> its address, and the names of the files in it that are read.

    There are none of a config of which nothing valid is left, whose mistakes are to be told first.
    """
    config, _ = check_config(dict(raw))
    if config is None:
        return {}
    named = {("data", "folder"): (config.data.folder, _data_files(config))}
    named["bundle", "apply"] = (config.bundle.apply or "", [CARD, *FILES])
    return {key: (at.rstrip("/"), files) for key, (at, files) in named.items() if at.startswith(ADDRESS)}


def _data_files(config: Config) -> list[str]:
    """Names, within the data folder, of the files that the config asks for."""
    omics = config.data.omics.values()
    given = [config.data.clinical, config.resamples.file, config.subgroups.gene_sets]
    given += [omic.path for omic in omics] + [omic.only for omic in omics]
    given += [omic.samples.path for omic in omics if omic.samples is not None]
    return list(dict.fromkeys(name for name in given if name))


def moved(raw: Mapping[str, Any], folders: Mapping[Key, str]) -> dict[str, Any]:
    """The config with other folders."""
    made = dict(raw)
    for (section, key), folder in folders.items():
        made[section] = made[section] | {key: folder}
    return made


def read_from(config: Config, clinical_file: str) -> Config:
    """The config with the folder of the copies in place of the address of the data folder."""
    if not config.data.folder.startswith(ADDRESS):
        return config
    folder = clinical_file.removesuffix(config.data.clinical or "") or "."
    return config.model_copy(update={"data": config.data.model_copy(update={"folder": folder})})


def by_address(inputs: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Lines of a manifest with the address of each file in a remote data folder, in place of the path of its copy."""
    if not folder.startswith(ADDRESS):
        return inputs
    within = f"/{folder.removeprefix(ADDRESS).strip('/')}/"
    told = []
    for line in inputs:
        _, found, name = line["path"].rpartition(within)
        told.append(line | ({"path": f"{folder.rstrip('/')}/{name}"} if found else {}))
    return told
