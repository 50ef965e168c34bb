"""One run in a folder, and its jobs."""

import fcntl
import threading
import time
import uuid

import pytest

from stratiome import lock


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    monkeypatch.setenv(lock.RUN, "")


def _hold(folder, say=lambda text: None):
    """Hold the folder as a process of its own would."""
    lock._NAME = uuid.uuid4().hex
    return lock.hold(folder, lock.look(folder), say)


def test_a_second_run_is_refused_until_the_first_ends(tmp_path):
    first = _hold(tmp_path)
    with pytest.raises(lock.HeldError, match=r"Another run is writing to .*Suggestion: wait"):
        _hold(tmp_path)
    lock.release(first)
    lock.release(_hold(tmp_path))


def test_a_run_that_was_planned_before_another_started_or_ended_is_refused(tmp_path):
    for _ in range(2):
        before = lock.look(tmp_path)
        other = _hold(tmp_path)
        during = lock.look(tmp_path)
        lock.release(other)
        for seen in (before, during):
            with pytest.raises(lock.HeldError, match="while this one was planned"):
                lock.hold(tmp_path, seen, print)


def test_a_new_run_waits_for_jobs_that_outlived_theirs(tmp_path, monkeypatch):
    dead = _hold(tmp_path)
    job = lock.join(tmp_path)
    dead.close()  # as the system does when a run is killed
    said: list[str] = []
    got: list[float] = []

    def start():
        got.append(-time.monotonic())
        lock.release(_hold(tmp_path, said.append))
        got[0] += time.monotonic()

    run = threading.Thread(target=start)
    run.start()
    time.sleep(1.0)
    assert run.is_alive()
    assert "still at work" in said[0]
    assert str(tmp_path / ".jobs.lock") in said[0]
    job.close()
    run.join(timeout=10)
    assert not run.is_alive()
    assert got[0] >= 0.9


def test_a_lock_that_nobody_lets_go_is_got_rid_of_with_its_file(tmp_path):
    with open(tmp_path / ".jobs.lock", "a") as stuck:
        fcntl.flock(stuck, fcntl.LOCK_SH)
        lock.release(_hold(tmp_path, lambda text: (tmp_path / ".jobs.lock").unlink()))


def test_a_job_of_a_run_that_another_one_followed_stops(tmp_path, monkeypatch):
    lock.release(_hold(tmp_path))
    mine = lock.look(tmp_path).partition("\n")[0]
    monkeypatch.setenv(lock.RUN, mine)
    lock.join(tmp_path).close()
    new = _hold(tmp_path)
    monkeypatch.setenv(lock.RUN, mine)
    with pytest.raises(lock.HeldError, match="The run of this job is over"):
        lock.join(tmp_path)
    lock.release(new)


def test_one_run_may_hold_several_folders(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    held = [lock.hold(folder, "", print) for folder in folders]
    for folder in folders:
        lock.join(folder).close()
    for handle in held:
        lock.release(handle)


def test_jobs_of_one_run_work_side_by_side_and_beside_it(tmp_path):
    run = _hold(tmp_path)
    one, other = lock.join(tmp_path), lock.join(tmp_path)
    assert one
    assert other
    one.close()
    other.close()
    lock.release(run)


def test_where_there_are_no_locks_the_run_goes_on(tmp_path, monkeypatch):
    def none(handle, kind):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    lock.release(_hold(tmp_path))
    assert lock.join(tmp_path) is None


def test_results_of_another_cohort_are_held_with_those_of_the_main_one(tmp_path):
    other = tmp_path / "external/other"
    other.mkdir(parents=True)
    assert lock.folder_of(other) is None
    lock.release(_hold(other))
    assert lock.folder_of(other) == other
    lock.release(_hold(tmp_path))
    assert lock.folder_of(other) == tmp_path
    assert lock.folder_of(tmp_path) == tmp_path
