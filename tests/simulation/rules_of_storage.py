"""
Rules of what a storage with the leasing verbs grants, writes and keeps.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from chrono_async import JobRecord
from chrono_async.models import JobStatus

from .breach import Breach, both, is_created, is_deleted, is_done, is_set, leases, lives, versions
from .history import Advanced, Began, Changed, Claimed, Event, History, Released, Renewed, Seen, Settled

_ROWS = 18
"""So many rows of a job, and two that are just being written, any storage remembers."""


def nothing_is_claimed_early(history: History) -> Iterator[Breach]:
    """
    By the storage's clock, a claim is not granted before its fire time (I2).

    Where each instance goes by a clock of its own, by as much as these differ. What was asked for by hand was due then,
    and what was granted once is granted again, whatever the clock shows since. So is what was judged on rows that had
    been read when it was due, and written when the clock had been set back.
    """
    for claim in history.of(Claimed):
        if not (claim.manual or claim.again) and claim.fire_time - _judged(history, claim) > history.skew:
            yield Breach(claim.at, claim.job, f"{claim.fire_time} was claimed at {claim.now}")


def _judged(history: History, claim: Claimed) -> datetime:
    """Return by what time it was judged, the later one if the clock has been set since it was read."""
    read = claim.until - history.ttl
    return max(claim.now, history.wall(read)) if history.was_set(read, claim.at) else claim.now


def tokens_grow(history: History) -> Iterator[Breach]:
    """Each claim of a job has a greater token than any before, whatever becomes of the job (I3)."""
    for job, events in history.by_job.items():
        last = kept = 0
        for event in events:
            if type(event) is Claimed and not event.again:
                if event.token <= last:
                    yield Breach(event.at, job, f"token {event.token} follows {last}")
                last = max(last, event.token)
            elif type(event) is Seen and event.record is not None:
                if event.record.token < kept:
                    yield Breach(event.at, job, f"the token went back from {kept} to {event.record.token}")
                kept = event.record.token


def leases_exclude_each_other(history: History) -> Iterator[Breach]:
    """
    A job is granted to another only when its lease was given back, or has run out (I4).

    Excused: a storage's clock that was set since the lease was granted or extended last.
    """
    for job, events in history.by_job.items():
        held = [lease for lease in leases(events) if not lease.claim.frees]
        for earlier, later in pairwise(held):
            at = later.claim.at
            lives_on = earlier.ended > at and earlier.until_as_of(at) > at
            if lives_on and not history.was_set(earlier.measured_as_of(at, history.ttl), at):
                yield Breach(at, job, f"token {later.claim.token} was granted while {earlier.claim.token} lived")


def stale_words_are_refused(history: History) -> Iterator[Breach]:
    """Once a job was granted to another, or is gone, what the holder before says changes nothing (I5)."""
    for job, events in history.by_job.items():
        latest, known = 0, dict[int, bool]()
        for event in events:
            if type(event) is Claimed:
                known.setdefault(event.token, event.frees)
                latest = max(latest, event.token)
            elif is_deleted(event):
                known.clear()
            elif _is_believed(event) and (
                event.token not in known or (event.token < latest and not known[event.token])
            ):
                yield Breach(event.at, job, f"{type(event).__name__} was believed under the stale token {event.token}")


def _is_believed(event: Event) -> bool:
    return is_done(event) or type(event) is Renewed or (type(event) is Released and event.done)


def only_what_was_written_is_repeated(history: History) -> Iterator[Breach]:
    """The storage says "repeated" of what it has written before, and of nothing else."""
    for job, events in history.by_job.items():
        written: set[int] = set()
        for event in events:
            if is_done(event):
                written.add(event.token)
            elif type(event) is Settled and event.verdict == "repeated" and event.token not in written:
                yield Breach(event.at, job, f"the outcome of token {event.token} was never written")


def what_was_written_is_known(history: History) -> Iterator[Breach]:
    """
    The storage never says "stale" of what it has written in this life of the job.

    Judged as long as its history is sure to have the row: it remembers twenty of a job at the least.
    """
    for job, events in history.by_job.items():
        rows_since: dict[int, int] = {}
        for event in events:
            if is_deleted(event):
                rows_since.clear()
            elif type(event) is Settled and event.verdict == "stale" and rows_since.get(event.token, _ROWS) < _ROWS:
                yield Breach(event.at, job, f"the outcome of token {event.token} had been written")
            elif type(event) in {Settled, Released, Advanced, Claimed}:
                rows_since = {token: rows + 2 for token, rows in rows_since.items() if rows < _ROWS}
                if is_done(event):
                    rows_since[event.token] = 0


def occurrences_are_settled_once(history: History) -> Iterator[Breach]:
    """An occurrence has one outcome, and so has a token (I6)."""
    for job, events in history.by_job.items():
        done: Counter[object] = Counter()
        granted = {lease.claim.token: lease.life for lease in leases(events)}
        for event in events:
            if is_done(event):
                for name in ((granted.get(event.token), event.fire_time, event.manual), event.token):
                    done[name] += 1
                    if done[name] > 1:
                        yield Breach(event.at, job, f"{event.fire_time} was settled again, under {event.token}")


def counters_are_exact(history: History) -> Iterator[Breach]:
    """A job's counters are the number of its outcomes in this life (I7)."""
    for job, events in history.by_job.items():
        runs = errors = 0
        for event in events:
            if is_created(event):
                runs = errors = 0
            elif is_done(event):
                runs, errors = runs + 1, errors + (event.status == "failed")
            elif type(event) is Seen and event.record is not None:
                counted = event.record.run_count, event.record.error_count
                if counted != (runs, errors):
                    yield Breach(event.at, job, f"the counters are {counted}, the outcomes {(runs, errors)}")


def pausing_wins(history: History) -> Iterator[Breach]:
    """From a pause until it is resumed a job is claimed for manual runs only, and nothing undoes the pause (I9)."""
    for job, events in history.by_job.items():
        is_paused = False
        for event in events:
            if type(event) is Changed and event.verb in {"set_paused", "resume"} and event.verdict != "refused":
                is_paused = event.verb == "set_paused"
            elif is_deleted(event):
                is_paused = False
            elif is_paused and _undoes_the_pause(event):
                yield Breach(event.at, job, f"{type(event).__name__} of a paused job")


def _undoes_the_pause(event: Event) -> bool:
    if type(event) is Seen:
        return event.record is not None and not event.record.paused
    return type(event) is Claimed and not (event.manual or event.again)


def deleted_stays_deleted(history: History) -> Iterator[Breach]:
    """From its removal until it is added again, a job is nowhere to be seen (I10)."""
    for job, events in history.by_job.items():
        is_gone = False
        for event in events:
            if is_created(event):
                is_gone = False
            elif is_deleted(event):
                is_gone = True
            elif is_gone and _shows_the_job(event):
                yield Breach(event.at, job, f"{type(event).__name__} of a deleted job")


def _shows_the_job(event: Event) -> bool:
    if type(event) is Seen:
        return event.record is not None
    return type(event) is Claimed or _is_believed(event) or (type(event) is Settled and event.verdict == "repeated")


def a_new_life_owes_nothing(history: History) -> Iterator[Breach]:
    """A job that is added again starts from nothing, and only claims of this life change it (I11)."""
    for job, events in history.by_job.items():
        tokens, is_new = set[int](), False
        for event in events:
            if is_created(event):
                tokens, is_new = set(), True
            elif type(event) is Claimed:
                tokens.add(event.token)
            elif is_done(event) and event.token not in tokens:
                yield Breach(event.at, job, f"token {event.token} of an earlier life was settled")
            elif type(event) is Seen and is_new:
                is_new = False
                if event.record is None or event.record.run_count or event.record.owner or event.record.paused:
                    yield Breach(event.at, job, f"a new life began with {event.record}")


def rescheduling_wins(history: History) -> Iterator[Breach]:
    """A run that was claimed before the job was rescheduled does not move the pointer any more (I12)."""
    for job, events in history.by_job.items():
        revisions = {lease.claim.token: lease.claim.revision for lease in leases(events)}
        for before, after, between in versions(events):
            old, new = both(before, after)
            for event in between:
                is_old = is_done(event) and revisions.get(event.token) != old.revision
                if is_old and old.next_run != new.next_run:
                    yield Breach(after.at, job, f"{old.next_run} became {new.next_run} by an old run's outcome")


def the_pointer_never_goes_back(history: History) -> Iterator[Breach]:
    """
    Unless a user or new code has set it (I13).

    Or an at-most-once run was given back whose body had not begun: it goes back to that.
    """
    begun = {(began.job, began.token) for began in history.of(Began)}
    for job, events in history.by_job.items():
        claims = {lease.claim.token: lease.claim for lease in leases(events)}
        for before, after, between in versions(events):
            old, new = both(before, after)
            given = [claims.get(e.token) for e in between if type(e) is Released and (job, e.token) not in begun]
            is_given_back = any(claim and claim.moves and claim.fire_time == new.next_run for claim in given)
            if not is_given_back and not any(map(is_set, between)) and _is_earlier(new.next_run, old.next_run):
                yield Breach(after.at, job, f"{old.next_run} became {new.next_run} by {after.by}")


def _is_earlier(new: datetime | None, old: datetime | None) -> bool:
    return new is not None and (old is None or new < old)


def one_shots_run_once(history: History) -> Iterator[Breach]:
    """A one-shot has one scheduled outcome, and then nothing ahead, until somebody sets it (I14)."""
    for job, events in history.by_job.items():
        revisions = {lease.claim.token: lease.claim.revision for lease in leases(events)}
        done: set[tuple[int, int | None]] = set()
        is_reset = False
        for life, event in lives(events):
            if is_done(event) and not event.manual:
                done.add((life, revisions.get(event.token)))
                is_reset = False
            elif is_set(event):
                is_reset = True  # a user has resumed it at a time of its own
            elif type(event) is Seen and event.record is not None and _is_one_shot(event.record):
                has_run = (life, event.record.revision) in done and not is_reset
                if has_run and event.record.next_run is not None:
                    yield Breach(event.at, job, f"it has run, and is to run at {event.record.next_run}")


def _is_one_shot(record: JobRecord) -> bool:
    return record.schedule is not None and '"one_shot"' in record.schedule.bound


def records_are_well_formed(history: History) -> Iterator[Breach]:
    """Whatever is written fits together (I15)."""
    for seen in history.of(Seen):
        record = seen.record
        if record is None:
            continue
        lease = [record.owner is None, record.lease_until is None, record.running is None]
        is_running = record.owner is not None or bool(record.flights)
        if len(set(lease)) > 1:
            yield Breach(seen.at, seen.job, f"half a lease: {record}")
        if (record.status is JobStatus.RUNNING) != is_running:
            yield Breach(seen.at, seen.job, f"the status does not fit the lease: {record}")
        if record.settled_token > record.token or record.error_count > record.run_count:
            yield Breach(seen.at, seen.job, f"the numbers do not fit: {record}")


def joining_changes_nothing(history: History) -> Iterator[Breach]:
    """A restart that declares what is there already leaves pointer, revision, lease and counters alone (I22)."""
    for job, events in history.by_job.items():
        for before, after, between in versions(events):
            if after.by == "register" and type(between[-1]) is Changed and between[-1].verdict == "joined":
                old, new = map(_kept, both(before, after))
                if old != new:
                    yield Breach(after.at, job, f"joining made {new} of {old}")


def _kept(record: JobRecord) -> tuple[object, ...]:
    return (record.next_run, record.revision, record.paused, record.run_count, record.token, record.owner)
