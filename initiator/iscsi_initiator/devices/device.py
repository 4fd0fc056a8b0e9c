"""One multipath device: its paths as they come and go, and the requests that one path after the other is tried for.

What a session tells of itself moves its path:

    path_up    its logical unit was found there (again)      -> UP, once the reservation key is registered
    path_down  the connection is lost, the session goes on   -> SUSPENDED: requests on it stay there, new ones go elsewhere
    path_gone  it is over; or LinkDownTime has passed so     -> GONE: no path any more, until it is up again

A path whose attempt or verification failed while its session says nothing is FAILED, until it is up or verifies again.

An attempt that failed is over: the session has seen to it that the target does not do it any more. That is what makes it
safe to send a write again over another path, and what LinkDownTime is for (Appendix F). Time is an argument everywhere;
all times are seconds on one clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count

from iscsi_initiator.devices.identity import Identity
from iscsi_initiator.devices.request import Action, Attempt, DeviceRequest, Ended, Notice, Notification, Purpose, Send
from iscsi_initiator.devices.reservation import PersistentReservation
from iscsi_initiator.devices.timers import MpioTimers
from iscsi_initiator.devices.verdict import Verdict, nothing_was_done, tells_of_preemption, verdict_of
from iscsi_initiator.multipath import LoadBalance, Path, PathStatus, check, choose, statuses
from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.status import Status

UNIT_ATTENTIONS = 8
"""How many unit attention conditions of one request are taken note of before the next counts as a retry."""

_WITH_STANDBYS = frozenset({LoadBalance.FAIL_OVER_ONLY, LoadBalance.ROUND_ROBIN_SUBSET})
_NO_RESERVATION = PersistentReservation()
_TIMERS = MpioTimers()
LINK_DOWN_TIME = 15.0
"""Seconds; the guide's default."""


class _State(Enum):
    UP = 1
    REGISTERING = 2
    SUSPENDED = 3
    FAILED = 4
    GONE = 5


_HOPEFUL = frozenset({_State.UP, _State.REGISTERING, _State.SUSPENDED})


@dataclass(slots=True, eq=False)
class _Path:
    id: int
    lun: int | bytes
    active: bool = True
    weight: int = 0
    state: _State = _State.REGISTERING
    generation: int = 0
    verifying: bool = False
    gone_at: float | None = None


class Device:
    """A logical unit behind several paths. `poll` gives what is to be done after every call.

    failback: whether a path that was active before it failed is so again when it is back, the guide's way; without, as the
    guide's boot version has it, it becomes a standby, and the standby that took over stays (policies with standbys only).
    link_down_time: seconds that a lost path counts as one.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        policy: LoadBalance = LoadBalance.ROUND_ROBIN,
        timers: MpioTimers = _TIMERS,
        failback: bool = True,
        reservation: PersistentReservation = _NO_RESERVATION,
        link_down_time: float = LINK_DOWN_TIME,
    ) -> None:
        check(policy, [Path(id=0)], over_sessions=True)
        self.identity = identity
        self.policy = policy
        self.timers = timers
        self.failback = failback
        self.reservation = reservation
        self.link_down_time = link_down_time
        self.removed = False
        self.preempted = False
        self._paths: dict[int, _Path] = {}
        self._listed: list[Path] | None = None
        self._last: int | None = None
        self._actions: deque[Action] = deque()
        self._waiting: deque[DeviceRequest] = deque()
        self._retries: list[tuple[float, int, DeviceRequest, Attempt | None]] = []
        self._numbers = count()
        self._remove_at: float | None = None
        self._verify_at: float | None = None

    def __contains__(self, path: int) -> bool:
        return path in self._paths

    # What is to be seen.

    @property
    def paths(self) -> list[Path]:
        """The paths as they are, in the order in which they were added. Those that are gone are not among them."""
        if self._listed is None:
            self._listed = [
                Path(id=path.id, active=path.active, weight=path.weight, up=path.state is _State.UP)
                for path in self._paths.values()
                if path.state is not _State.GONE
            ]
        return self._listed

    @property
    def statuses(self) -> Mapping[int, PathStatus]:
        """What each listed path is now."""
        return statuses(self.policy, self.paths)

    def poll(self) -> Action | None:
        """The next thing to do or to know, None when there is none."""
        return self._actions.popleft() if self._actions else None

    def next_deadline(self) -> float | None:
        """When `handle_timer` is due, None for never."""
        times = (self._remove_at, self._verify_at, *(path.gone_at for path in self._paths.values()))
        due = [at for at in times if at is not None]
        if self._retries:
            due.append(self._retries[0][0])
        return min(due, default=None)

    # Policy.

    def set_policy(self, policy: LoadBalance | int, paths: Sequence[Path] = ()) -> None:
        """Have this policy from the next request on. paths: activity and weight of each listed path, empty for all active
        (with Fail Over Only the first one) and of no weight. Raises Refused as `multipath.check`.
        """
        plain = [Path(id=path.id, active=self._active_by_default(n, policy)) for n, path in enumerate(self.paths)]
        known = None if not plain else [path.id for path in plain]
        wanted = list(paths) or plain
        check(policy, wanted or [Path(id=0)], known=known, over_sessions=True)
        self.policy = LoadBalance(policy)
        for path in self._paths.values():
            path.active = path.active and self.policy is not LoadBalance.FAIL_OVER_ONLY
        for each in wanted:
            self._paths[each.id].active, self._paths[each.id].weight = each.active, each.weight
        self._changed()

    def set_timers(self, timers: MpioTimers, now: float) -> None:
        """Have these timers from now on; a device that lost its last path stays for as long as it was to stay then."""
        self.timers = timers
        there = timers.path_verify_enabled and any(path.state is _State.UP for path in self._paths.values())
        self._verify_at = now + timers.path_verification_period if there else None

    @staticmethod
    def _active_by_default(place: int, policy: LoadBalance | int) -> bool:
        return place == 0 or policy != LoadBalance.FAIL_OVER_ONLY

    # Paths.

    def add_path(self, path: int, lun: int | bytes, now: float) -> None:
        """A session was found to have this device as its logical unit `lun`. path: its number, new to the device."""
        alone = not any(each.active for each in self._paths.values())
        active = alone or self.policy is not LoadBalance.FAIL_OVER_ONLY
        self._paths[path] = _Path(path, lun, active)
        self._begin(self._paths[path], now)

    def path_up(self, path: int, identity: Identity, now: float) -> bool:
        """The session of a path is back, and this is what its logical unit is now. Where that is another device, the path
        is gone; the answer is whether it is not.
        """
        found = self._paths[path]
        if identity != self.identity:
            self._to(found, _State.GONE, now)
            self._actions.append(Notice(Notification.PATH_REFUSED, path))
            return False
        self._begin(found, now)
        return True

    def path_down(self, path: int, now: float) -> None:
        """The session of a path lost its connection, and tries to come back."""
        found = self._paths[path]
        if found.state not in {_State.SUSPENDED, _State.GONE}:
            self._to(found, _State.SUSPENDED, now)
            found.gone_at = now + self.link_down_time

    def path_gone(self, path: int, now: float) -> None:
        """The session of a path is over, or says itself that it did not come back in time."""
        self._to(self._paths[path], _State.GONE, now)

    def remove_path(self, path: int, now: float) -> None:
        """The session of a path was logged out. What is still on its way there ends as the session says."""
        self._to(self._paths[path], _State.GONE, now)
        del self._paths[path]
        self._changed()

    def register_again(self, now: float) -> None:
        """Register the key with every path anew, though another node took the registration away."""
        self.preempted = False
        for path in self._paths.values():
            if path.state is _State.UP:
                self._begin(path, now)

    def _begin(self, path: _Path, now: float) -> None:
        """A path that is there is made ready."""
        path.generation += 1
        path.verifying = False
        if self.reservation.use and not self.preempted:
            self._to(path, _State.REGISTERING, now)
            cdb, data = self.reservation.registration()
            self._send(DeviceRequest(cdb, data_out=data), path, Purpose.REGISTRATION)
        else:
            self._to(path, _State.UP, now)

    def _to(self, path: _Path, state: _State, now: float) -> None:
        before, path.state, path.gone_at = path.state, state, None
        self._changed()
        if (before is _State.UP) is not (state is _State.UP):
            what = Notification.PATH_UP if state is _State.UP else Notification.PATH_DOWN
            self._actions.append(Notice(what, path.id))
        if any(each.state in _HOPEFUL for each in self._paths.values()):
            self._remove_at = None
        elif self._remove_at is None and not self.removed:
            self._remove_at = now + self.timers.pdo_remove_period
        if state is _State.UP:
            if self.removed:
                self.removed = False
                self._actions.append(Notice(Notification.RETURNED))
            if self.timers.path_verify_enabled and self._verify_at is None:
                self._verify_at = now + self.timers.path_verification_period
            waiting, self._waiting = self._waiting, deque()
            for request in waiting:
                self._dispatch(request)

    def _changed(self) -> None:
        self._listed = None
        if self.failback or self.policy not in _WITH_STANDBYS:
            return
        serving = [path for path, status in self.statuses.items() if status is PathStatus.ACTIVE]
        if serving and not any(self._paths[path].active for path in serving):
            for path in self._paths.values():
                path.active = path.id in serving
            self._listed = None

    # Requests.

    def submit(self, request: DeviceRequest) -> None:
        """Have a request done. `Ended` tells when it is; it always comes, unless the request is cancelled."""
        self._dispatch(request)

    def cancel(self, request: DeviceRequest) -> None:
        """Nobody wants a request any more. What of it is on its way is the session's to abort."""
        request.cancelled = True
        if request in self._waiting:
            self._waiting.remove(request)
        self._retries = [each for each in self._retries if each[2] is not request]
        heapq.heapify(self._retries)

    def _dispatch(self, request: DeviceRequest) -> None:
        if self.removed:
            self._end(request, Failure.NO_DEVICE)
            return
        chosen = choose(self.policy, self.paths, self._last)
        if chosen is None:
            self._waiting.append(request)
            return
        self._last = chosen
        self._send(request, self._paths[chosen], Purpose.REQUEST)

    def _send(self, request: DeviceRequest, path: _Path, purpose: Purpose) -> None:
        self._actions.append(Send(Attempt(request, path.id, path.lun, path.generation, purpose)))

    def _end(self, request: DeviceRequest, outcome: ScsiResult | Failure) -> None:
        if isinstance(outcome, Failure):
            request.failure = outcome
        else:
            request.result = outcome
        self._actions.append(Ended(request))

    def completed(self, attempt: Attempt, outcome: ScsiResult | Failure, now: float) -> None:
        """An attempt is over, and is not done any more at the target either."""
        verdict = verdict_of(outcome)
        path = self._paths.get(attempt.path)
        if path is not None and path.generation != attempt.generation:
            path = None
        if verdict is Verdict.PATH and path is not None and path.state in {_State.UP, _State.REGISTERING}:
            self._to(path, _State.FAILED, now)
        if self.reservation.use and not self.preempted and tells_of_preemption(outcome):
            self.preempted = True
            self._actions.append(Notice(Notification.PREEMPTED, attempt.path))
        if attempt.purpose is Purpose.REQUEST:
            self._request_completed(attempt, outcome, verdict, now)
        elif path is not None and attempt.purpose is Purpose.VERIFICATION:
            self._verified(path, outcome, now)
        elif path is not None and path.state is _State.REGISTERING:
            self._registration_completed(path, attempt, outcome, verdict, now)

    def _request_completed(self, attempt: Attempt, outcome: ScsiResult | Failure, verdict: Verdict, now: float) -> None:
        request = attempt.request
        if request.cancelled:
            return
        if verdict is Verdict.FINAL or not (request.replayable or nothing_was_done(outcome)):
            self._end(request, outcome)
        elif verdict is Verdict.PATH:
            self._dispatch(request)
        elif verdict is Verdict.AGAIN and request.attentions < UNIT_ATTENTIONS:
            request.attentions += 1
            self._dispatch(request)
        elif request.retries >= self.timers.retry_count:
            self._end(request, outcome)
        else:
            self._retry(request, None, now)

    def _retry(self, request: DeviceRequest, registration: Attempt | None, now: float) -> None:
        request.retries += 1
        heapq.heappush(self._retries, (now + self.timers.retry_interval, next(self._numbers), request, registration))

    def _registration_completed(
        self, path: _Path, attempt: Attempt, outcome: ScsiResult | Failure, verdict: Verdict, now: float
    ) -> None:
        request = attempt.request
        if isinstance(outcome, ScsiResult) and outcome.status == Status.GOOD and not outcome.response:
            self._to(path, _State.UP, now)
        elif verdict is Verdict.AGAIN and request.attentions < UNIT_ATTENTIONS:
            request.attentions += 1
            self._send(request, path, Purpose.REGISTRATION)
        elif verdict in {Verdict.AGAIN, Verdict.LATER} and request.retries < self.timers.retry_count:
            self._retry(request, attempt, now)
        else:
            self._to(path, _State.FAILED, now)
            self._actions.append(Notice(Notification.NOT_REGISTERED, path.id))

    # Time.

    def handle_timer(self, now: float) -> None:
        """Do what is due by now. It may be called too early."""
        while self._retries and self._retries[0][0] <= now:
            _, _, request, registration = heapq.heappop(self._retries)
            if registration is None:
                self._dispatch(request)
            else:
                self._register_once_more(registration)
        for path in self._paths.values():
            if path.gone_at is not None and path.gone_at <= now:
                self._to(path, _State.GONE, now)
        if self._remove_at is not None and self._remove_at <= now:
            self._remove()
        if self._verify_at is not None and self._verify_at <= now:
            self._verify_at = now + self.timers.path_verification_period
            for path in self._paths.values():
                if path.state in {_State.UP, _State.FAILED} and not path.verifying:
                    path.verifying = True
                    self._send(DeviceRequest(opcodes.TEST_UNIT_READY.build()), path, Purpose.VERIFICATION)

    def _register_once_more(self, attempt: Attempt) -> None:
        path = self._paths.get(attempt.path)
        if path is not None and path.generation == attempt.generation and path.state is _State.REGISTERING:
            self._send(attempt.request, path, Purpose.REGISTRATION)

    def _verified(self, path: _Path, outcome: ScsiResult | Failure, now: float) -> None:
        """A path that gives any answer is one."""
        path.verifying = False
        answered = isinstance(outcome, ScsiResult) and not outcome.response
        if not answered and path.state is _State.UP:
            self._to(path, _State.FAILED, now)
        elif answered and path.state is _State.FAILED:
            self._begin(path, now)

    def _remove(self) -> None:
        """The device has been without a path for too long."""
        self._remove_at = None
        self.removed = True
        self._actions.append(Notice(Notification.REMOVED))
        left = [*self._waiting, *(each[2] for each in self._retries if each[3] is None)]
        self._waiting.clear()
        self._retries.clear()
        for request in left:
            self._end(request, Failure.NO_DEVICE)
