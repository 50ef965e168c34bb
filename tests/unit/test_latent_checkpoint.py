"""Training that is stopped, by a signal or without a warning, and goes on: bit for bit what it is without a stop."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from conftest import ROOT
from stratiome.config import LatentConfig
from stratiome.features.block import StoredFeatures, write_features
from stratiome.latent import checkpoint as checkpoint_module
from stratiome.latent import phases
from stratiome.latent.checkpoint import Checkpoint, State
from stratiome.latent.errors import TrainingStopped
from stratiome.latent.inputs import learn_specs
from stratiome.latent.train import train
from test_latent import make_features
from test_latent_stream import with_counts

# Members leave at different epochs of the search and of the refit, and noise is drawn for two steps at once.
SETTINGS = LatentConfig(
    dims=2, hidden=8, members=3, epochs=40, patience=3, warmup_epochs=2, learning_rate=0.05, batch_size=32
)
FEATURES = make_features(n=150)
MOST_RUNS = 2000


@pytest.fixture(autouse=True)
def small_windows(monkeypatch, one_thread):
    monkeypatch.setattr(phases, "WINDOW", 64)


class StopsAt(Checkpoint):
    """Checkpoint of a process that gets a signal before its n-th visit."""

    def __init__(self, path, n, asked=signal.SIGTERM):
        super().__init__(path)
        self.left, self.asked, self.visits = n, asked, 0

    def visit(self, state, where, *, now=False):
        self.visits, self.left = self.visits + 1, self.left - 1
        if self.left == 0:
            signal.raise_signal(self.asked)
        super().visit(state, where, now=now)


def trained(checkpoint=None, features=FEATURES, settings=SETTINGS, seed=1, members=None):
    """Outcome of training, to compare: weights as bytes, history, best epochs."""
    specs = learn_specs(features, balance=False, counts=settings.counts == "negative_binomial")
    rows = np.flatnonzero(features.train & np.any([b.present for b in features.blocks], axis=0))
    found = train(features, specs, rows, settings, seed, members, checkpoint)
    return {k: v.numpy().tobytes() for k, v in found.weights.items()}, found.history, found.best_epoch


def chain(path, gaps, **given):
    """Training with a stop before every visit of these; each run is a new one that knows the file alone."""
    for run in range(MOST_RUNS):
        try:
            return trained(StopsAt(path, gaps[run % len(gaps)]), **given)
        except TrainingStopped:
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    raise AssertionError("it never ends")


@pytest.fixture(scope="module")
def undisturbed():
    """What training gives without a stop, made once, and the number of visits in it."""
    with pytest.MonkeyPatch.context() as patch:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        patch.setattr(phases, "WINDOW", 64)
        outcome = trained()
        torch.set_num_threads(before)
    return outcome


# --- the same numbers ----------------------------------------------------------------------------------------------


def test_the_cohort_of_these_tests_has_all_that_can_go_wrong(undisturbed):
    _, history, best = undisturbed
    assert len(set(best)) == 3  # so that members leave one by one, in both phases
    last = [max(r["epoch"] for r in history if r["member"] == m) for m in range(3)]
    assert len(set(last)) > 1
    assert max(last) < SETTINGS.epochs - 1


@pytest.mark.parametrize("gap", [2, 7, 31])
def test_stopped_again_and_again_it_ends_with_the_same_bits(tmp_path, undisturbed, gap):
    assert chain(tmp_path / "c", [gap]) == undisturbed  # with a gap of two: before every single step


@examples(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gaps=st.lists(st.integers(2, 120), min_size=1, max_size=6))
def test_wherever_it_is_stopped_it_ends_with_the_same_bits(tmp_path, undisturbed, gaps):
    path = tmp_path / "c"
    path.unlink(missing_ok=True)
    assert chain(path, gaps) == undisturbed


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({}, {"encoder_inputs": 3}),
        ({}, {"counts": "negative_binomial"}),
        ({"members": [2, 0]}, {}),
        ({}, {"epochs": 7, "patience": 50}),  # the search ends before any member wants to
        ({}, {"members": 1, "warmup_epochs": 0, "modality_dropout": 0.0}),
    ],
)
def test_other_settings_end_with_the_same_bits(tmp_path, given, settings):
    given = {"features": with_counts(FEATURES), "settings": SETTINGS.model_copy(update=settings), **given}
    assert chain(tmp_path / "c", [11], **given) == trained(**given)


def test_patients_on_disk_end_with_the_same_bits_and_may_come_into_memory_between(tmp_path, undisturbed):
    write_features(FEATURES, str(tmp_path / "f.h5mu"))
    path = tmp_path / "c"
    streamed = {"settings": SETTINGS.model_copy(update={"memory_gb": 1e-9})}
    with StoredFeatures(str(tmp_path / "f.h5mu")) as stored:
        assert chain(path, [23], features=stored, **streamed) == undisturbed
        path.unlink()
        with pytest.raises(TrainingStopped):
            trained(StopsAt(path, 30), features=stored, **streamed)
    assert chain(path, [23]) == undisturbed


def test_checkpoints_by_the_clock_change_nothing_and_a_kill_loses_nothing_before_the_last(
    tmp_path, monkeypatch, undisturbed
):
    monkeypatch.setattr(checkpoint_module, "EVERY_SECONDS", 0.0)
    kept = []
    write = Checkpoint.write
    monkeypatch.setattr(Checkpoint, "write", lambda self, state: kept.append(write(self, state)) or kept[-1])
    assert trained(Checkpoint(tmp_path / "c")) == undisturbed
    assert len(kept) > 100
    assert all(kept)
    # What is on disk is the end of the run; a new one has no step left to do.
    monkeypatch.setattr(phases._Run, "step_epoch", None)
    assert trained(Checkpoint(tmp_path / "c")) == undisturbed


def test_without_a_stop_a_short_run_writes_at_the_ends_of_its_phases_only(tmp_path, caplog, undisturbed):
    with caplog.at_level(logging.INFO):
        assert trained(Checkpoint(tmp_path / "c")) == undisturbed
    assert caplog.text.count("bytes written") == 2


# --- every piece of the state is needed ----------------------------------------------------------------------------

PIECES = [
    "epoch", "steps", "order", "history", "best_epoch",
    "members", "noise", "total", "best_loss", "trained",
    "stack.matrix", "stack.exp_avg", "stack.exp_avg_sq", "stack.step",
]  # fmt: skip


def _without(piece, state, fresh):
    """A state in which a piece is what it is at the beginning of a run."""
    facts, arrays = dict(state.facts), dict(state.arrays)
    if piece in facts and piece in fresh.facts:
        facts[piece] = fresh.facts[piece]
    if piece in {"stack.matrix", "noise", "total"}:  # of the members still there: sizes give nothing away
        arrays[piece] = fresh.arrays[piece][arrays["members"]]
    elif piece in arrays:
        arrays[piece] = fresh.arrays.get(piece, np.zeros_like(arrays[piece]))
    return State(facts, arrays)


def test_no_mutant_is_seen_for_want_of_runs(tmp_path, monkeypatch, undisturbed):
    monkeypatch.setattr(sys.modules[__name__], "MOST_RUNS", 60)
    assert chain(tmp_path / "c", [8]) == undisturbed


@pytest.mark.parametrize("piece", PIECES)
def test_a_run_that_forgets_a_piece_of_its_state_is_seen(tmp_path, monkeypatch, undisturbed, piece):
    seen = []
    for phase in (phases.Search, phases.Refit):

        def restore(self, state, whole=phase.restore):
            fresh = self.state()
            fresh = State(dict(fresh.facts), {k: v.copy() for k, v in fresh.arrays.items()})
            seen.append(piece in state.facts or piece in state.arrays)
            whole(self, _without(piece, state, fresh))

        monkeypatch.setattr(phase, "restore", restore)
    monkeypatch.setattr(sys.modules[__name__], "MOST_RUNS", 60)
    try:
        with np.errstate(invalid="ignore"):
            found = chain(tmp_path / "c", [8])
    except (RuntimeError, IndexError, ValueError, AssertionError):
        found = None  # that is seen as well
    assert any(seen)
    assert found != undisturbed


def test_the_pieces_are_all_there_are(tmp_path):
    found = set()
    for n in (30, 10_000):
        trained_or_stopped(StopsAt(tmp_path / f"{n}", n))
        state = _state(tmp_path / f"{n}")
        found |= set(state.facts) | set(state.arrays)
    assert found == {"phase", *PIECES}


def trained_or_stopped(checkpoint, **given):
    """Train; True if it was stopped."""
    try:
        trained(checkpoint, **given)
    except TrainingStopped:
        return True
    return False


def _state(path):
    with safe_open(path, "np") as file:
        return State(json.loads(file.metadata()["facts"]), {k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118


# --- files that are not used ---------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path):
    """File of a run that was stopped in its search."""
    path = tmp_path / "c"
    assert trained_or_stopped(StopsAt(path, 30))
    return path


def _resumed(caplog):
    return any("resumed at epoch" in r.message for r in caplog.records)


def test_the_log_says_where_it_goes_on(stopped, caplog, undisturbed):
    with caplog.at_level(logging.INFO):
        assert trained(Checkpoint(stopped)) == undisturbed
    assert "search resumed at epoch 8, step 2" in caplog.text


def test_a_file_cut_short_anywhere_is_not_used(stopped, caplog, undisturbed):
    whole = stopped.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        stopped.write_bytes(whole[:size])
        caplog.clear()
        assert Checkpoint(stopped).open({}) is None
        assert "is not used, training starts from the beginning: it is damaged" in caplog.text
    assert trained(Checkpoint(stopped)) == undisturbed


def test_a_flipped_bit_anywhere_is_seen(stopped, caplog):
    with safe_open(stopped, "np") as file:
        identity = json.loads(file.metadata()["identity"])
    whole = stopped.read_bytes()
    assert Checkpoint(stopped).open(identity) is not None
    for place in np.random.default_rng(0).choice(len(whole), 300, replace=False).tolist():
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        stopped.write_bytes(bytes(changed))
        found = Checkpoint(stopped).open(identity)
        assert found is None, place
    assert not _resumed(caplog)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"seed": 2}, "seed"),
        ({"members": [0, 1]}, "members"),
        ({"settings": SETTINGS.model_copy(update={"learning_rate": 0.051})}, "settings"),
        ({"features": make_features(n=150, seed=1)}, "patients"),
    ],
)
def test_a_file_of_another_run_is_not_used(stopped, caplog, given, reason):
    with caplog.at_level(logging.INFO):
        assert trained(Checkpoint(stopped), **given) == trained(**given)
    assert f"it belongs to a run that differs in {reason}" in caplog.text
    assert not _resumed(caplog)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.setattr("torch.__version__", "1.0"), "versions"),
        (lambda m: m.setattr("torch.backends.cpu.get_cpu_capability", lambda: "other"), "device"),
        (lambda m: m.setattr(checkpoint_module, "FORMAT", 0), "format"),
    ],
)
def test_a_file_of_another_machine_or_version_is_not_used(stopped, caplog, monkeypatch, change, reason, undisturbed):
    change(monkeypatch)
    assert trained(Checkpoint(stopped)) == undisturbed
    assert f"differs in {reason}" in caplog.text


def test_a_file_of_another_library_is_not_used(stopped, caplog, undisturbed):
    assert trained(Checkpoint(stopped, "another")) == undisturbed
    assert "differs in library" in caplog.text


def test_a_safetensors_file_of_another_kind_is_not_used(stopped, caplog, undisturbed):
    save_file({"x": np.zeros(3)}, stopped)
    assert trained(Checkpoint(stopped)) == undisturbed
    assert "it is damaged" in caplog.text


def test_values_of_patients_who_are_not_learned_from_change_nothing(stopped, caplog):
    from test_latent import corrupt_held_out

    with caplog.at_level(logging.INFO):
        trained(Checkpoint(stopped), features=corrupt_held_out(FEATURES))
    assert _resumed(caplog)


# --- signals and files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_named_and_its_handler_put_back(tmp_path, asked):
    before = signal.getsignal(asked)
    with pytest.raises(TrainingStopped, match=f"stopped by {asked.name} at epoch 2, step 3 of the search. Suggestion"):
        trained(StopsAt(tmp_path / "c", 7, asked))
    assert signal.getsignal(asked) == before


def test_a_second_signal_does_not_disturb_the_first(tmp_path, undisturbed):
    class Twice(StopsAt):
        def write(self, state):
            signal.raise_signal(signal.SIGTERM)
            return super().write(state)

    assert trained_or_stopped(Twice(tmp_path / "c", 30))
    assert chain(tmp_path / "c", [10_000]) == undisturbed


def test_a_signal_that_was_ignored_still_is(tmp_path, undisturbed):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert trained(StopsAt(tmp_path / "c", 30)) == undisturbed
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_a_checkpoint_no_handler_is_set(monkeypatch):
    monkeypatch.setattr(signal, "signal", None)
    trained(settings=SETTINGS.model_copy(update={"epochs": 2}))


def test_beside_the_main_thread_it_trains_without_handlers(tmp_path, undisturbed):
    found = []
    thread = threading.Thread(target=lambda: found.append(trained(Checkpoint(tmp_path / "c"))))
    thread.start()
    thread.join()
    assert found == [undisturbed]


def test_a_full_disk_stops_no_training_and_is_told(tmp_path, monkeypatch, caplog, undisturbed):
    monkeypatch.setattr(checkpoint_module, "EVERY_SECONDS", 0.0)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert trained(Checkpoint(tmp_path / "c")) == undisturbed
    assert "no checkpoint could be written: [Errno 28]" in caplog.text
    with pytest.raises(TrainingStopped, match="nothing could be kept"):
        trained(StopsAt(tmp_path / "c", 30))
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(stopped, monkeypatch, undisturbed):
    before = stopped.read_bytes()

    def killed(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(StopsAt(stopped, 20))
    assert stopped.read_bytes() == before
    assert len(list(stopped.parent.iterdir())) == 2  # the other one is half written
    monkeypatch.undo()
    monkeypatch.setattr(phases, "WINDOW", 64)
    assert trained(Checkpoint(stopped)) == undisturbed
    Checkpoint(stopped).remove()
    assert list(stopped.parent.iterdir()) == []


def test_a_checkpoint_holds_nothing_of_a_patient(stopped):
    assert not any(i.encode() in stopped.read_bytes() for i in FEATURES.patient_ids)
    n = len(FEATURES.patient_ids)
    n_fit = round(0.85 * FEATURES.train.sum())
    for name, value in load_file(stopped).items():
        assert not {n, n_fit, n_fit + 1, n_fit - 1, FEATURES.train.sum()} & set(value.shape), name


# --- the rule's script ---------------------------------------------------------------------------------------------

OUTPUTS = {"latents": "l.h5ad", "weights": "w.safetensors", "description": "d.json", "history": "h.parquet"}
SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT / "workflow/scripts")!r})
import torch
torch.set_num_threads(1)
import train_latent
from stratiome.config import LatentConfig
from stratiome.latent import checkpoint
checkpoint.EVERY_SECONDS = 0.05
latent = LatentConfig.model_validate_json(sys.argv[1])
train_latent.main(features="features.h5mu", latent=latent, seed=1, resample="full", checkpoint="c", **{OUTPUTS})
"""


def _start(folder, settings):
    command = [sys.executable, "-c", SCRIPT, settings.model_dump_json()]
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


def _finish(process):
    said = process.communicate()[1]
    assert process.returncode == 0, said[-3000:]


def test_killed_without_a_warning_the_script_goes_on_and_writes_the_same_files(tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 400, "patience": 200, "learning_rate": 0.005, "members": 1})
    settings = settings.model_copy(update={"baselines": ("pca",)})
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    for folder in folders.values():
        folder.mkdir()
        write_features(FEATURES, str(folder / "features.h5mu"))
    _finish(_start(folders["whole"], settings))

    folder, reached = folders["killed"], 0
    kept = folder / "c"
    for _ in range(2):
        process = _start(folder, settings)
        while process.poll() is None and not (kept.exists() and _state(kept).facts["epoch"] > reached + 5):
            time.sleep(0.002)
        assert process.poll() is None, process.communicate()[1][-3000:]
        process.kill()
        process.communicate()
        state = _state(kept).facts
        assert state["phase"] == "search"
        assert state["epoch"] > reached
        reached = state["epoch"]
    _finish(_start(folder, settings))
    for name in OUTPUTS.values():
        assert (folder / name).read_bytes() == (folders["whole"] / name).read_bytes(), name
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in folders["whole"].iterdir())
    assert not kept.exists()
