"""What follows once something has ended: functions whose waits are over, responses behind a fence, tasks whose turn it is.

All of it waits for the end of what the engine was called for, so that nothing happens in the middle of something else.
"""

from __future__ import annotations

from iscsi_target import affected, data_out
from iscsi_target.core import Core


def settle(core: Core) -> None:
    """One round; `core.disturbed` tells whether another one is needed."""
    stopped, core.stopped = core.stopped, []
    for session, task in stopped:
        if session.tasks.get(task.itt) is task:
            data_out.proceed(core, session, task)
    for session in core.sessions:
        if session.draining:
            for task in affected.no_longer_affected(session):
                data_out.proceed(core, session, task)
        if session.terminations:
            session.terminations = [each for each in session.terminations if each.connection.up]
        if session.functions:
            affected.progress(core, session)
        if session.fence is not None:
            session.fence.progress()
    for node in core.nodes.values():
        for task in node.task_sets.enable():
            if task.connection.in_session.tasks.get(task.itt) is task:
                data_out.proceed(core, task.connection.in_session, task)
