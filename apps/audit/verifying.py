"""Does the chain hold, and if not, at which row does it break first? Pure: entries and seals in, an answer out."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .canonical import FIRST, LEAF, Seal, canonical, digest_of, hash_of, unpack
from .keys import is_signed
from .retirements import Retirement, Terms, terms

Entry = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain breaks first. `entry` is None where a seal itself is wrong."""

    what: str
    seal: int | None
    entry: int | None
    why: str

    def __str__(self) -> str:
        where = f"entry {self.entry}" if self.entry is not None else f"seal #{self.seal}"
        return f"{where}: {self.what} — {self.why}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `unsealed` entries stand after the last seal and are not covered yet."""

    seals: int
    entries: int
    unsealed: int
    last_hash: str
    broken: Break | None = None
    first_seal: int = 1

    @property
    def holds(self) -> bool:
        return self.broken is None


class _Broken(Exception):
    def __init__(self, found: Break) -> None:
        self.found = found


def verify(
    seals: Iterable[Seal],
    entries: Iterable[Entry],
    keys: Mapping[str, Ed25519PublicKey],
    *,
    checkpoints: Mapping[int, str] | None = None,
    retirements: Sequence[Retirement] = (),
    is_whole: bool = False,
) -> Verdict:
    """Walk seals (by number) and entries (by id, as canonical lines) together; stop at the first break.

    `is_whole`: this is the trail itself and no part of it, so it begins with seal #1; retention keeps every seal.

    `checkpoints`: hashes by seal number that the reader kept from before; a chain that was cut or written anew
    cannot have them. `retirements`: what retention let go, as it signed for; those entries are not asked for.
    """
    found = terms(retirements, keys)
    walk = _Walk(entries, keys, checkpoints or {}, found, is_whole)
    broken = None
    try:
        walk.check_terms(len(retirements))
        for seal in seals:
            walk.seal(seal)
        walk.end()
    except _Broken as error:
        broken = error.found
    return Verdict(walk.seals, walk.count, walk.unsealed, walk.hash, broken, walk.first_seal)


class _Walk:
    def __init__(
        self,
        entries: Iterable[Entry],
        keys: Mapping[str, Ed25519PublicKey],
        checkpoints: Mapping[int, str],
        terms: Terms,
        is_whole: bool,
    ) -> None:
        self.keys, self.checkpoints, self.terms, self.is_whole = keys, dict(checkpoints), terms, is_whole
        self.seals = self.count = self.unsealed = self.number = self.up_to = 0
        self.first_seal, self.hash = 1, FIRST
        self._entries: Iterator[Entry] = iter(entries)
        self._seen = -(2**63)
        self._next: Entry | None = None

    def check_terms(self, count: int) -> None:
        """Begin, unless a retention checkpoint is not what was signed, or is not of this chain."""
        if self.terms.wrong:
            self._fail("retention", self.terms.wrong, seal=self.terms.seal)
        if count and self.terms.seal:
            kept = self.checkpoints.setdefault(self.terms.seal, self.terms.seal_hash)
            if kept != self.terms.seal_hash:
                why = "a checkpoint kept from before names another hash than the retention checkpoint"
                self._fail("retention", why, seal=self.terms.seal)
        self._advance(None)

    def _fail(self, what: str, why: str, *, seal: int | None = None, entry: int | None = None) -> None:
        raise _Broken(Break(what, seal, entry, why))

    def _advance(self, seal: int | None) -> None:
        self._next = next(self._entries, None)
        if self._next is None:
            return
        if self._next[0] <= self._seen:
            self._fail("re-ordered", f"it stands after entry {self._seen}", seal=seal, entry=self._next[0])
        self._seen = self._next[0]

    def seal(self, seal: Seal) -> None:
        self._check_link(seal)
        if seal.number > self.terms.seal:
            self._check_entries(seal)
        elif self._next is not None and self._next[0] <= int(seal.header["up_to"]):
            self._not_sealed(self._next[0], seal.number)
        self.seals, self.number, self.hash = self.seals + 1, seal.number, seal.hash
        self.up_to = int(seal.header["up_to"])

    def _check_link(self, seal: Seal) -> None:
        """The seal by itself, its place in the chain, and its signature."""
        header, number = seal.header, seal.number
        if self.seals == 0:
            if self.is_whole and number != 1:
                self._fail("missing", f"the trail begins with #{number}", seal=1)
            self.first_seal = number
            self.number, self.up_to = number - 1, int(header["after"])
            self.hash = self.checkpoints.pop(number - 1, header["previous"]) if number > 1 else FIRST
        if number != self.number + 1:
            self._fail("missing", f"after #{self.number} comes #{number}", seal=self.number + 1)
        key = self.keys.get(header["key"])
        ids = [pk for pk, _ in unpack(seal.digests)]
        tests = [
            (hash_of(header) == seal.hash, "changed", "its hash is not that of its header"),
            (
                header["previous"] == self.hash,
                "changed",
                f"it does not follow #{self.number}: another hash before it",
            ),
            (key is not None, "signature wrong", f"its key {header['key']} is not one that is trusted"),
            (
                key is not None and is_signed(key, seal.signature, canonical(header)),
                "signature wrong",
                "the signature is not of this key over this header",
            ),
            (
                hashlib.sha256(seal.digests).hexdigest() == header["rows"] and len(seal.digests) % LEAF == 0,
                "changed",
                "its list of digests is not the one that was sealed",
            ),
            (
                int(header["after"]) == self.up_to,
                "changed",
                f"it begins after entry {header['after']}, not {self.up_to}",
            ),
            (
                len(ids) == header["count"] and ids == sorted(set(ids)),
                "changed",
                "its list of entries is not in order",
            ),
            (
                self.checkpoints.pop(number, seal.hash) == seal.hash,
                "changed",
                "a checkpoint kept from before names another hash: the chain was written anew",
            ),
        ]
        for holds, what, why in tests:
            if not holds:
                self._fail(what, why, seal=number)

    def _check_entries(self, seal: Seal) -> None:
        number, up_to = seal.number, int(seal.header["up_to"])
        for pk, digest in unpack(seal.digests):
            found = self._next
            if pk in self.terms.gone and (found is None or found[0] > pk):
                continue
            if found is None or found[0] > pk:
                self._fail("deleted", f"seal #{number} covers it and it is not there", seal=number, entry=pk)
            elif found[0] < pk:
                self._not_sealed(found[0], number)
            elif digest_of(found[1]) != digest:
                self._changed(seal, pk, found[1])
            self.count += 1
            self._advance(number)
        if self._next is not None and self._next[0] <= up_to:
            self._not_sealed(self._next[0], number)

    def _not_sealed(self, pk: int, number: int) -> None:
        self._fail(
            "inserted",
            f"it lies among the entries of seal #{number}, which does not cover it",
            seal=number,
            entry=pk,
        )

    def _changed(self, seal: Seal, pk: int, line: bytes) -> None:
        """Of a row that is not as sealed, say whether it is another sealed row in its place."""
        try:
            content = json.loads(line)
        except ValueError:
            content = {}
        for other, digest in unpack(seal.digests):
            if other != pk and digest_of(canonical({**content, "id": other})) == digest:
                why = f"what stands there was sealed as entry {other}"
                self._fail("re-ordered", why, seal=seal.number, entry=pk)
        self._fail("changed", f"it is not what seal #{seal.number} covers", seal=seal.number, entry=pk)

    def end(self) -> None:
        """What stands after the last seal; checkpoints of seals that are gone."""
        while self._next is not None:
            self.unsealed += 1
            self._advance(None)
        later = [number for number in self.checkpoints if number > self.number]
        if later:
            why = f"a checkpoint kept from before names it, and the chain ends at #{self.number}"
            self._fail("missing", why, seal=min(later))
