"""A runbook's definition: YAML to dataclasses, every complaint at once. Pure, but for the kinds that are registered.

    name: restart-and-see          letters, digits, hyphens; the same for ever
    title, about, tags             for people, and for the search
    inputs:                        name, label, type (text, integer, boolean, choice, version), required, default,
                                   min, max, choices
    steps:                         title, do, with, seconds or minutes, health, when, on_failure (stop, continue)

`do` is a kind of operation on an instance, or `roll_back`, `wait`, `check`. A value `$name` is that input's.
`when: {health: [...], input: {name: value}}` runs the step only while all of it holds; else it is skipped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from apps.fleet.choices import Health
from apps.operations import kinds

MAX_BYTES, MAX_STEPS, MAX_INPUTS = 20_000, 20, 12
MAX_SECONDS = 3_600
TYPES = ("text", "integer", "boolean", "choice", "version")
OWN = ("wait", "check", "roll_back")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Malformed(ValueError):
    """The definition makes no sense; `complaints` says where, and what is expected."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(" ".join(complaints))
        self.complaints = complaints


@dataclass(frozen=True, slots=True)
class Input:
    """Something that is asked for before a run."""

    name: str
    label: str
    type: str = "text"
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    min: int | None = None
    max: int | None = None

    def clean(self, value: Any) -> Any:
        """The value as its type says; its default for none. Raises ValueError in words."""
        if value in (None, ""):
            if self.default is None and self.required:
                raise ValueError(f"{self.label} is needed.")
            value = self.default
        if value is None:
            return False if self.type == "boolean" else ""
        return getattr(self, f"_{self.type}")(value)

    def _text(self, value: Any) -> str:
        text = str(value)
        if len(text) > 200 or "\x00" in text:
            raise ValueError(f"{self.label}: at most 200 characters of text.")
        return text

    def _integer(self, value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,9}", str(value)):
            raise ValueError(f"{self.label}: a whole number is expected.")
        number = int(value)
        if (self.min is not None and number < self.min) or (self.max is not None and number > self.max):
            raise ValueError(f"{self.label}: between {self.min} and {self.max}.")
        return number

    def _boolean(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false", "on", "yes", "no", "1", "0"):
            raise ValueError(f"{self.label}: yes or no.")
        return str(value).lower() in ("true", "on", "yes", "1")

    def _choice(self, value: Any) -> str:
        if str(value) not in self.choices:
            raise ValueError(f"{self.label}: one of {', '.join(self.choices)}.")
        return str(value)

    def _version(self, value: Any) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._+-]{1,40}", str(value)):
            raise ValueError(f"{self.label}: a version such as 4.12.3.")
        return str(value)


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step as it was written."""

    title: str
    do: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seconds: Any = None
    minutes: Any = None
    health: tuple[str, ...] = ()
    when_health: tuple[str, ...] = ()
    when_input: Mapping[str, Any] = field(default_factory=dict)
    goes_on: bool = False

    @property
    def condition(self) -> str:
        """When it is run, in words; "" for always."""
        parts = [f"health is {' or '.join(self.when_health)}"] if self.when_health else []
        parts += [f"{name} is {_said(value)}" for name, value in self.when_input.items()]
        return " and ".join(parts)

    @property
    def words(self) -> str:
        """What it does, in words."""
        return self.said_with({})

    def said_with(self, inputs: Mapping[str, Any]) -> str:
        """What it does, in words, with the inputs of a run in their places."""
        if self.do == "wait":
            unit, value = ("min", self.minutes) if self.minutes is not None else ("s", self.seconds)
            return f"wait {_shown(value, inputs)} {unit}"
        if self.do == "check":
            return f"check: {' or '.join(self.health)} within {_shown(self.seconds, inputs)} s"
        return " ".join(
            [self.do.replace("_", " "), *(f"{k} {_shown(v, inputs)}" for k, v in self.params.items())]
        )


def _shown(value: Any, inputs: Mapping[str, Any]) -> str:
    """A value, or “(the input's name)” where it is not given yet."""
    if isinstance(value, str) and value.startswith("$"):
        return str(inputs[value[1:]]) if value[1:] in inputs else f"({value[1:].replace('_', ' ')})"
    return str(value)


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole runbook."""

    name: str
    title: str
    about: str
    tags: tuple[str, ...]
    inputs: tuple[Input, ...]
    steps: tuple[StepDefinition, ...]

    def clean(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All inputs, cleaned. Raises Malformed with every complaint."""
        complaints, cleaned = [], {}
        if extra := set(given) - {i.name for i in self.inputs}:
            complaints.append(f"It does not ask for {', '.join(sorted(extra))}.")
        for one in self.inputs:
            try:
                cleaned[one.name] = one.clean(given.get(one.name))
            except ValueError as error:
                complaints.append(str(error))
        complaints += self._times(cleaned)
        if complaints:
            raise Malformed(complaints)
        return cleaned

    def _times(self, cleaned: Mapping[str, Any]) -> list[str]:
        """What stands against inputs that say how long a step takes: a text may be anything."""
        named = [(s.title, v) for s in self.steps for v in (s.seconds, s.minutes) if str(v).startswith("$")]
        return [
            f"“{value[1:]}” says how long “{title}” takes, in whole numbers; it is “{cleaned[value[1:]]!s:.40}”."
            for title, value in named
            if value[1:] in cleaned and not str(cleaned[value[1:]] or 0).isdecimal()
        ]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of operations that a run may ask for."""
        names = (
            "deploy" if s.do == "roll_back" else s.do for s in self.steps if s.do not in ("wait", "check")
        )
        return tuple(dict.fromkeys(names))


def value_of(value: Any, inputs: Mapping[str, Any]) -> Any:
    """A value as written, or the input that it names."""
    return inputs.get(value[1:]) if isinstance(value, str) and value.startswith("$") else value


# --- Reading -------------------------------------------------------------------------------------


def read(text: str) -> Definition:
    """The definition that a text holds. Raises Malformed."""
    data = _load(text)
    extra = set(map(str, data)) - {"name", "title", "about", "tags", "inputs", "steps"}
    complaints = [f"“{key}” is not known." for key in sorted(extra)]
    name, title = str(data.get("name") or ""), str(data.get("title") or "").strip()
    if not _NAME.fullmatch(name) or len(name) > 60:
        complaints.append("“name” must have small letters, digits and hyphens, at most 60.")
    if not 3 <= len(title) <= 120:
        complaints.append("“title” must have 3 to 120 characters.")
    inputs = _list(data, "inputs", _input, MAX_INPUTS, complaints)
    asked = {i.name for i in inputs}
    steps = _list(data, "steps", lambda d: _step(d, asked), MAX_STEPS, complaints)
    if not steps and not complaints:
        complaints.append("“steps” must have at least one step.")
    if len(asked) < len(inputs):
        complaints.append("Two inputs have the same name.")
    tags = data.get("tags") or []
    if not isinstance(tags, list) or len(tags) > 12:
        complaints.append("“tags” must be a list of at most 12 words.")
        tags = []
    if complaints:
        raise Malformed(complaints)
    about = str(data.get("about") or "")[:1_000]
    return Definition(name, title, about, tuple(str(t)[:30] for t in tags), tuple(inputs), tuple(steps))


def _load(text: str) -> dict[str, Any]:
    if len(text.encode()) > MAX_BYTES or "\x00" in text:
        raise Malformed([f"A definition has at most {MAX_BYTES:,} bytes of text."])
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise Malformed(["Anchors and aliases are not taken; write it out."])
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed([f"It is no YAML: {' '.join(str(error).split())[:200]}"]) from error
    if not isinstance(data, dict):
        raise Malformed(["It must be a mapping with name, title and steps."])
    return data


def _list(data: Mapping[str, Any], key: str, read_one: Any, most: int, complaints: list[str]) -> list[Any]:
    rows = data.get(key) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        complaints.append(f"“{key}” must be a list of mappings.")
        return []
    if len(rows) > most:
        complaints.append(f"“{key}” has {len(rows)} entries; at most {most} are taken.")
        return []
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(read_one(row))
        except (ValueError, TypeError, KeyError) as error:
            complaints.append(f"{key.removesuffix('s').capitalize()} {number}: {error}")
    return found


def _input(row: Mapping[str, Any]) -> Input:
    _known(row, {"name", "label", "type", "required", "default", "choices", "min", "max"})
    name, type_ = str(row.get("name") or ""), str(row.get("type") or "text")
    if not _WORD.fullmatch(name):
        raise ValueError("“name” must be a word of small letters, digits and underscores.")
    if type_ not in TYPES:
        raise ValueError(f"“type” must be one of {', '.join(TYPES)}.")
    choices = tuple(str(c) for c in row.get("choices") or ())
    if (type_ == "choice") != bool(choices):
        raise ValueError("“choices” belong to the type choice, which needs them.")
    limits = [row.get("min"), row.get("max")]
    if any(limit is not None and (not isinstance(limit, int) or type_ != "integer") for limit in limits):
        raise ValueError("“min” and “max” are whole numbers, for the type integer.")
    low, high = limits
    if low is not None and high is not None and low > high:
        raise ValueError("“min” is above “max”: nothing would fit.")
    made = Input(
        name,
        str(row.get("label") or name)[:120],
        type_,
        row.get("required") is True,
        row.get("default"),
        choices,
        *limits,
    )
    if made.default is not None:
        made.clean(made.default)
    return made


def _step(row: Mapping[str, Any], asked: set[str]) -> StepDefinition:
    _known(row, {"title", "do", "with", "seconds", "minutes", "health", "when", "on_failure"})
    do = str(row.get("do") or "")
    operations = [k.name for k in kinds.kinds("instance")]
    if do not in (*OWN, *operations):
        raise ValueError(f"“do” must be one of {', '.join((*OWN, *sorted(operations)))}.")
    params, when = row.get("with") or {}, row.get("when") or {}
    if not isinstance(params, dict) or not isinstance(when, dict):
        raise ValueError("“with” and “when” must be mappings.")
    _known(when, {"health", "input"})
    made = StepDefinition(
        str(row.get("title") or do)[:120], do, params, row.get("seconds"), row.get("minutes"),
        _healths(row.get("health")), _healths(when.get("health")), dict(when.get("input") or {}),
        _on_failure(row.get("on_failure")),
    )  # fmt: skip
    named = [*params.values(), made.seconds, made.minutes]
    lacking = {v[1:] for v in named if isinstance(v, str) and v.startswith("$")} | set(made.when_input)
    if lacking - asked:
        raise ValueError(f"there is no input {', '.join(sorted(lacking - asked))}.")
    _check_do(made)
    return made


def _check_do(step: StepDefinition) -> None:
    if step.do == "wait" and (step.seconds is None) == (step.minutes is None):
        raise ValueError("a wait has “seconds” or “minutes”.")
    if step.do == "check" and (not step.health or step.seconds is None):
        raise ValueError("a check has “health”, and “seconds” within which it has to be so.")
    for value, most in ((step.seconds, MAX_SECONDS), (step.minutes, MAX_SECONDS // 60)):
        is_ok = value is None or str(value).startswith("$") or (type(value) is int and 0 <= value <= most)
        if not is_ok:
            raise ValueError(f"its time must be a whole number up to {MAX_SECONDS} s.")
    if step.do in OWN and step.params:
        raise ValueError(f"“{step.do}” takes nothing “with” it.")
    if step.do not in OWN and not any(str(v).startswith("$") for v in step.params.values()):
        kinds.find_kind(step.do).check_params(step.params)


def _healths(value: Any) -> tuple[str, ...]:
    rows = [value] if isinstance(value, str) else value or []
    if not isinstance(rows, list) or not set(rows) <= set(Health.values):
        raise ValueError(f"“health” must be of {', '.join(Health.values)}.")
    return tuple(rows)


def _on_failure(value: Any) -> bool:
    if value not in (None, "stop", "continue"):
        raise ValueError("“on_failure” must be stop or continue.")
    return bool(value == "continue")


def _known(row: Mapping[str, Any], keys: set[str]) -> None:
    if extra := sorted(set(map(str, row)) - keys):
        raise ValueError(f"“{extra[0]}” is not known; there are {', '.join(sorted(keys))}.")
