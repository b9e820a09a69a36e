"""Our own import-linter contract: some rooms of an app are its own and no other app may import them.

A plain `forbidden` contract cannot say "every app but the room's own", and would have to be written anew for
each new app.
"""

from __future__ import annotations

from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class PrivateRoomsContract(Contract):
    """Forbids `container.A...` to import `container.B.ROOM...` when A is not B."""

    container = fields.StringField()
    rooms = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Look at every direct import once."""
        broken = [
            {"importer": importer, "imported": imported}
            for imported in sorted(graph.modules)
            if self._room_owner(imported) is not None
            for importer in sorted(graph.find_modules_that_directly_import(imported))
            if self._app(importer) not in (None, self._room_owner(imported))
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each import that is not allowed, and what to do instead."""
        for line in check.metadata["broken"]:
            output.print_error(f"{line['importer']} imports {line['imported']}", bold=True)
        output.print(
            "Ask that app's services.py or queries.py, or let it register itself with a lower floor."
        )

    def _app(self, module: str) -> str | None:
        parts = module.split(".")
        return parts[1] if len(parts) > 1 and parts[0] == str(self.container) else None

    def _room_owner(self, module: str) -> str | None:
        parts = module.split(".")
        rooms = cast("list[str]", self.rooms)  # fields become plain values in an instance
        private = len(parts) > 2 and parts[0] == str(self.container) and parts[2] in rooms
        return parts[1] if private else None
