"""Passages in stock for simulated histories, by what they are wanted for.

A stock that is too thin is refused at once, by act and register, rather than met half-way through a million incidents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from stalkscreen.errors import DataError
from stalkscreen.synthesis.history_settings import HistorySettings
from stalkscreen.synthesis.passages import Passage

Pool = dict[str, list[Passage]]
"""One writer's passages in one register, by role."""


class Stock:
    """Passages by what they are wanted for.

    Args:
        passages: All of them.
        settings: Which acts and registers must be covered, and by how many.

    Attributes:
        by_act: Scene and benign passages by act.
        pools: All passages by writer and register, then by role.

    Raises:
        DataError: Too few passages of an act or a register; the message lists each.
    """

    def __init__(self, passages: Sequence[Passage], settings: HistorySettings) -> None:
        self.by_act: dict[str, list[Passage]] = defaultdict(list)
        self.pools: dict[tuple[str, str], Pool] = defaultdict(lambda: defaultdict(list))
        self.continuing = settings.labels.continuing_acts
        self._kept: dict[tuple[str, str, bool, bool], list[Passage]] = {}
        for p in passages:
            if settings.text.registers.get(p.row.source_type, 0.0) > 0:
                self.pools[p.row.writer, p.row.source_type][p.row.role].append(p)
                if p.row.role in ("scene", "benign"):
                    self.by_act[p.row.act].append(p)
        self._check(settings)

    def of_act(self, act: str, tie: str, *, again: bool, hidden: bool) -> list[Passage]:
        """Scene or benign passages of an act for a tie.

        Args:
            act: Act of the passage.
            tie: Relationship of the two people.
            again: Whether those that tell of repetition are wanted too.
            hidden: Whether those of continuing conduct are not wanted.
        """
        key = act, tie, again, hidden
        if key not in self._kept:
            self._kept[key] = [
                p
                for p in self.by_act[act]
                if p.fits(tie) and (again or not p.row.again) and not (hidden and p.present & self.continuing)
            ]
        return self._kept[key]

    def _check(self, settings: HistorySettings) -> None:
        thin = settings.text.thin
        wanted = {act for kind in settings.kinds.values() if not kind.stalking for act in kind.acts}
        wanted |= {act for phase in settings.phases.values() for act in phase}
        held = {act: len(found) for act, found in self.by_act.items()}
        problems = [
            f"act {act}: {held.get(act, 0)} passages, at least {thin['act']} are needed"
            for act in sorted(wanted)
            if held.get(act, 0) < thin["act"]
        ]
        counts: Counter[tuple[str, str]] = Counter(
            (p.row.source_type, p.row.role) for found in self.by_act.values() for p in found
        )
        for register, weight in settings.text.registers.items():
            for role, least in (("scene", thin["scenes"]), ("benign", thin["benign"])):
                if weight and counts[register, role] < least:
                    problems.append(
                        f"register {register}: {counts[register, role]} {role} passages, at least {least} are needed"
                    )
        if problems:
            raise DataError(
                "The passages are too thin for simulated histories:\n  " + "\n  ".join(problems) + "\nAdd passages, or "
                "take the act or register out of histories.toml.",
                problems=problems,
            )
