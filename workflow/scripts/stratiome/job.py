"""The one door between a rule and the library: logging, seeds, threads, errors."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from stratiome import digests, disk, lock

logger = logging.getLogger("stratiome")

_EXPECTED = (
    "ConfigError",
    "CohortError",
    "OutcomeError",
    "TableError",
    "OmicError",
    "LatentError",
    "TrainingStopped",
    "StrategyError",
    "TreatmentError",
    "CoxError",
    "BundleError",
    "PredictorError",
    "DigestError",
    "HeldError",
)


def run(main: Callable[..., None], snakemake: Any) -> None:
    """Call the `main` of a rule's script with what the rule declares.

    Named inputs and outputs arrive as paths (a list of files as a list), wildcards and other params as they are, and
    the entries of `params.settings` as the typed sections of the config (`analysis` as the whole of it). Files of the
    results are compared with what their makers wrote before they are read, and those made here get their digests.

    Parameters
    ----------
    main
        Function with keyword arguments only.
    snakemake
        The object of the same name in a script.
    """
    arguments = _arguments(main, snakemake)
    log = str(snakemake.log[0]) if snakemake.log else None
    folder = _run_folder(log)
    try:
        held = lock.join(folder) if folder else None  # until this process ends
        _set_logging(log)
    except (OSError, lock.HeldError) as error:
        _report(error, snakemake, None)
        sys.exit(1)
    threads = int(dict(snakemake.params).get("settings", {}).get("threads", 1))
    _set_threads(threads)
    logger.info("rule %s%s", snakemake.rule, "".join(f" {k}={v}" for k, v in snakemake.wildcards.items()))
    began = _now()
    try:
        if folder:
            _check_inputs(folder, snakemake)
        main(**arguments)
        if folder:
            digests.record(folder, snakemake.rule, list(snakemake.output))
    except Exception as error:
        _report(error, snakemake, log)
        logging.shutdown()
        sys.exit(1)
    logger.info("done: began %s, ended %s", began, _now())
    logging.shutdown()
    if held:
        held.close()


def _run_folder(log: str | None) -> Path | None:
    """Folder that the run holds; every rule has its log in `logs` of the results."""
    parts = Path(log).parts[:-1] if log else ()
    if "logs" not in parts:
        return None
    last = len(parts) - 1 - parts[::-1].index("logs")
    return lock.folder_of(Path(*parts[:last]))


def _check_inputs(folder: Path, snakemake: Any) -> None:
    unknown = digests.check(folder, list(snakemake.input))
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        logger.info("used without a digest of its maker: %s%s", ", ".join(unknown[:5]), more)
    digests.forget(folder, list(snakemake.output))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _arguments(main: Callable[..., None], snakemake: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in (snakemake.input, snakemake.output):
        for name, value in group.items():
            found[name] = str(value) if isinstance(value, str) else [str(v) for v in value]
    found |= {name: str(value) for name, value in snakemake.wildcards.items()}
    parameters = dict(snakemake.params)
    found |= typed_settings(parameters.pop("settings", {}))
    found |= parameters
    wanted = inspect.signature(main).parameters
    # `as_list` inputs of length one arrive as text: the annotation says which is meant.
    for name, parameter in wanted.items():
        if name in found and isinstance(found[name], str) and "list" in str(parameter.annotation):
            found[name] = [found[name]]
    return {name: value for name, value in found.items() if name in wanted}


def typed_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Config values by key, from plain data back to the types of the config."""
    from pydantic import TypeAdapter

    from stratiome.config import Config

    typed: dict[str, Any] = {
        key: TypeAdapter(cast(Any, Config.model_fields[key].annotation)).validate_python(value)
        for key, value in settings.items()
        if key in Config.model_fields
    }
    if "analysis" in settings:
        typed["analysis"] = Config.model_validate(settings["analysis"])
    return typed


def _set_logging(path: str | None) -> None:
    logging.raiseExceptions = False  # a full disk is told of once, not with every line of the log
    handlers: list[logging.Handler] = []
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    shown = logging.StreamHandler(sys.stderr)  # what a user must not miss is said on the screen as well
    shown.addFilter(lambda r: r.levelno == logging.WARNING and r.name.startswith("stratiome"))  # errors: see `_report`
    handlers.append(shown)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", handlers=handlers, force=True)
    logging.captureWarnings(True)


def _set_threads(threads: int) -> None:
    # Sums depend on the number of threads, so it never follows the number of cores.
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ):
        os.environ[name] = str(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def _report(error: Exception, snakemake: Any, log: str | None) -> None:
    told = disk.explain(error, list(snakemake.output))
    expected = told is not None or type(error).__name__ in _EXPECTED
    where = f"rule {snakemake.rule}" + "".join(f", {k} {v}" for k, v in snakemake.wildcards.items())
    said = told or (str(error) if expected else f"{type(error).__name__}: {error}")
    logger.error("%s: %s", where, said)
    if not expected:
        logger.error("%s", traceback.format_exc())
    text = f"\nStratiome stopped in {where}\n{said}\n"
    print(text + (f"Details: {log}\n" if log else ""), file=sys.stderr, flush=True)
