"""pytest as the runner of cases: it collects the registered case functions and reports what `execute` found.

The plug-in is handed to pytest.main by `runner`; it never loads on its own into other people's test runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import pytest

from iscsi_conformance.case import CASES, Case
from iscsi_conformance.result import CaseResult
from iscsi_conformance.verdict import Verdict

Execute = Callable[[Case], CaseResult]
Done = Callable[[CaseResult], str | None]

_FAILING = (Verdict.FAIL, Verdict.INCONCLUSIVE)
_SKIPPING = (Verdict.UNSUPPORTED, Verdict.SKIPPED)


class CaseFailed(Exception):
    """Carries the reason of a verdict that is no pass to pytest's report."""


class CaseItem(pytest.Item):
    """One case as a test item; its name is the case's id."""

    def __init__(self, *, case: Case, execute: Execute, done: Done, **options: Any) -> None:
        super().__init__(**options)
        self.case = case
        self._execute = execute
        self._done = done
        about = (*case.requirements, *case.proven_codes, *case.events)
        self.extra_keyword_matches.update({case.id, case.area, case.role.value, *about})
        self.user_properties.append(("clauses", " ".join(case.requirements)))

    def runtest(self) -> None:
        """Run the case; a verdict other than PASS and WARN becomes pytest's failure or skip."""
        result = self._execute(self.case)
        self.user_properties.append(("verdict", result.verdict.value))
        stop = self._done(result)
        if stop is not None:
            self.session.shouldstop = stop
        if result.verdict in _SKIPPING:
            pytest.skip(f"{result.verdict}: {result.reason}")
        if result.verdict in _FAILING:
            raise CaseFailed(f"{result.verdict}: {result.reason}")
        if result.verdict is Verdict.ERROR:
            raise CaseFailed("\n".join([f"ERROR: {result.reason}", *result.evidence.notes]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The reason alone; a traceback through the runner helps nobody."""
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the case stands, and its id."""
        return self.path, None, self.case.id


class CasePlugin:
    """Collects the wanted cases and nothing else. done: takes each result, and says why the run has to stop, or None."""

    def __init__(self, wanted: Iterable[str], execute: Execute, done: Done, *, selected: Callable[[int], None]) -> None:
        self._wanted = frozenset(wanted)
        self._execute = execute
        self._done = done
        self._told = selected
        self.selected: list[str] = []
        self.complaint = ""

    @pytest.hookimpl(tryfirst=True, wrapper=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Module, name: str, obj: object
    ) -> Generator[None, Any, list[pytest.Item] | None]:
        """A case function becomes a CaseItem; whatever else stands in a case module is no test."""
        del name
        own = [case for case in CASES.values() if case.function is obj and case.id in self._wanted]
        if not own:
            yield
            return None
        yield
        return [
            CaseItem.from_parent(collector, name=case.id, case=case, execute=self._execute, done=self._done)
            for case in own
        ]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run in the order of the ids."""
        items.sort(key=lambda item: item.name)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember what -k left."""
        self.selected = [item.name for item in session.items]
        self._told(len(self.selected))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A case module that cannot be imported is a defect of ours; keep what it says."""
        if report.failed:
            self.complaint = report.longreprtext

    def pytest_internalerror(self, excrepr: object) -> None:
        """The runner itself broke."""
        self.complaint = str(excrepr)
