"""
The grammar of cron expressions: text in, bit masks out.

A field becomes an integer whose bit `n` says that `n` matches. Anything odd is refused, never guessed, and a refusal
names the field and the value; where the extended dialect would take what the standard one refuses, it says so. The
length of an expression is limited, so that reading one takes a bounded time whatever it holds.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from ..errors import InvalidCronExprError

Dialect = Literal["standard", "extended"]

# Every value of all five fields written out, the names in full, takes some 450 characters.
MAX_LENGTH = 1000

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class Field(NamedTuple):
    """One of the columns of an expression: its name and range, and what is looked up instead of read."""

    name: str
    low: int
    high: int
    values: dict[str, int]
    """Each way to write a value."""
    masks: dict[str, int]
    """The masks of a star and of each value."""

    @property
    def full(self) -> int:
        """The mask of all values."""
        return self.masks["*"]


def _field(name: str, low: int, high: int, names: str = "") -> Field:
    values = {str(n): n for n in range(low, high + 1)} | {f"{n:02}": n for n in range(low, min(high, 9) + 1)}
    values |= {word: n for n, word in enumerate(names.split(), low)}
    return Field(name, low, high, values, {text: 1 << n for text, n in values.items()} | {"*": span(low, high)})


def span(low: int, high: int, step: int = 1) -> int:
    """Return the mask of every `step`-th value from `low` to `high`, in a few multiplications whatever the range."""
    count = (high - low) // step + 1
    return ((1 << step * count) - 1) // ((1 << step) - 1) << low


SECOND = _field("second", 0, 59)
MINUTE = _field("minute", 0, 59)
HOUR = _field("hour", 0, 23)
DAY = _field("day-of-month", 1, 31)
MONTH = _field("month", 1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
WEEKDAY = _field("day-of-week", 0, 6, "SUN MON TUE WED THU FRI SAT")

_SUNDAY_TOO = WEEKDAY._replace(high=7, values=WEEKDAY.values | {"7": 7, "07": 7})
_EXTENDED_FIELDS = (SECOND, MINUTE, HOUR, DAY, MONTH, _SUNDAY_TOO)

# The days that a hashed slot may fall on: those that every month has.
_HASHED_DAYS = DAY._replace(high=28)


@dataclass(frozen=True, slots=True)
class MovingDays:
    """The days of the extended dialect whose date depends on the month."""

    last: bool = False
    last_workday: bool = False
    near_workday: int = 0
    nth_weekdays: tuple[tuple[int, int], ...] = ()
    last_weekdays: int = 0

    def __or__(self, other: "MovingDays") -> "MovingDays":
        return MovingDays(
            self.last or other.last,
            self.last_workday or other.last_workday,
            self.near_workday | other.near_workday,
            self.nth_weekdays + other.nth_weekdays,
            self.last_weekdays | other.last_weekdays,
        )


NO_MOVING_DAYS = MovingDays()


class Columns(NamedTuple):
    """A cron expression as it was read: a mask for each field, and what no mask can say."""

    seconds: int
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    stars: tuple[bool, bool, bool, bool]
    """Whether minute, hour, day-of-month and day-of-week begin with a star."""
    moving: tuple[MovingDays, MovingDays] | None = None
    """What of day-of-month and of day-of-week depends on the month."""


def parse(expression: str, dialect: Dialect = "standard", spread: str = "") -> Columns:
    """Read `expression`; an `H` in it falls on a slot hashed from `spread`. `InvalidCronExprError` if it is none."""
    if dialect == "extended":
        return _Extended(expression, spread).columns(split(expression, dialect))
    try:
        return _standard(expression, split(expression))
    except InvalidCronExprError as error:
        raise _advised(error, expression) from None


def _advised(error: InvalidCronExprError, expression: str) -> InvalidCronExprError:
    """Return `error`, saying so when the other dialect would have taken the expression."""
    try:
        parse(expression, "extended")
    except InvalidCronExprError:
        return error
    return InvalidCronExprError(expression, error.field, f"{error.problem}; dialect='extended' reads it")


def _standard(expression: str, texts: list[str]) -> Columns:
    minute, hour, day, month, weekday = texts
    return Columns(
        1,
        MINUTE.masks.get(minute) or _mask(expression, MINUTE, minute),
        HOUR.masks.get(hour) or _mask(expression, HOUR, hour),
        DAY.masks.get(day) or _mask(expression, DAY, day),
        MONTH.masks.get(month) or _mask(expression, MONTH, month),
        WEEKDAY.masks.get(weekday) or _mask(expression, WEEKDAY, weekday),
        (minute[0] == "*", hour[0] == "*", day[0] == "*", weekday[0] == "*"),
    )


def split(expression: str, dialect: Dialect = "standard") -> list[str]:
    """Return the texts of the fields, a macro written out."""
    if len(expression) > MAX_LENGTH:
        problem = f"is {len(expression)} characters long; at most {MAX_LENGTH} are read"
        raise InvalidCronExprError(expression[:40] + "...", "", problem)
    if not expression.isascii() or not expression.isprintable():
        _check_characters(expression)
    texts = expression.split()
    if texts and texts[0][0] == "@":
        return _macro(expression, texts).split()
    if len(texts) != 5 and (dialect == "standard" or len(texts) != 6):
        wanted = "5 fields" if dialect == "standard" else "5 or 6 fields"
        raise InvalidCronExprError(expression, "", f"must have {wanted}, not {len(texts)}")
    return texts


def _check_characters(expression: str) -> None:
    for character in expression:
        if character != "\t" and not (character.isascii() and character.isprintable()):
            raise InvalidCronExprError(expression, "", f"the character {character!r} has no place in an expression")


def _macro(expression: str, texts: list[str]) -> str:
    if len(texts) > 1:
        raise InvalidCronExprError(expression, "", "a macro stands alone")
    try:
        return MACROS[texts[0].lower()]
    except KeyError:
        raise InvalidCronExprError(expression, "", f"no such macro; there are {' '.join(MACROS)}") from None


def _mask(expression: str, field: Field, text: str) -> int:
    """Return the mask of one field of the standard dialect."""
    mask = 0
    for item in text.split(","):
        mask |= field.masks.get(item) or _item(expression, field, item)
    return mask


def _item(expression: str, field: Field, item: str) -> int:
    """Return the mask of `*`, `n`, `n-m`, each of them with `/s` or without."""
    body, slash, step_text = item.partition("/")
    if body == "*":
        low, high = field.low, field.high
    elif "-" in body:
        low, high = _range(expression, field, body)
    elif slash:
        _refuse_lone_step(expression, field, item, body, step_text)
    else:
        return 1 << _value(expression, field, body, item)
    return span(low, high, _step(expression, field, item, step_text) if slash else 1)


def _range(expression: str, field: Field, body: str) -> tuple[int, int]:
    first, _, last = body.partition("-")
    low, high = _value(expression, field, first, body), _value(expression, field, last, body)
    if low > high:
        advice = f"write {low}-{field.high},{field.low}-{high}"
        raise InvalidCronExprError(expression, field.name, f"the range {body} runs backwards; {advice}")
    return low, high


def _step(expression: str, field: Field, item: str, text: str) -> int:
    if not text.isdigit():
        raise InvalidCronExprError(expression, field.name, f"the step of {item!r} is not a number")
    if not (step := int(text)):
        raise InvalidCronExprError(expression, field.name, f"the step of {item!r} is zero")
    # A longer step than the range leaves its first value, and a mask must not grow with a number in the text.
    return min(step, field.high + 1)


def _value(expression: str, field: Field, text: str, item: str) -> int:
    value = field.values.get(text.upper())
    if value is None and text.isdigit():
        value = field.values.get(text.lstrip("0") or "0")
    if value is None:
        _refuse_value(expression, field, text, item)
    return value


def _refuse_lone_step(expression: str, field: Field, item: str, body: str, step: str) -> NoReturn:
    value = _value(expression, field, body, item)
    _step(expression, field, item, step)
    advice = f"write {value}-{field.high}/{step}"
    raise InvalidCronExprError(expression, field.name, f"{item} has a step without a range; {advice}")


def _refuse_value(expression: str, field: Field, text: str, item: str) -> NoReturn:
    if not item:
        problem = "an item of the list is empty"
    elif not text:
        problem = f"{item!r} lacks a value"
    elif text.isdigit():
        problem = f"{text} is not in {field.low}-{field.high}"
    else:
        problem = f"{text!r} is not a value"
    raise InvalidCronExprError(expression, field.name, problem)


class _Extended:
    """The reader of one expression of the extended dialect."""

    def __init__(self, expression: str, spread: str) -> None:
        self._expression, self._spread = expression, spread
        self._moving = {DAY.name: NO_MOVING_DAYS, WEEKDAY.name: NO_MOVING_DAYS}

    def columns(self, texts: list[str]) -> Columns:
        """Return the six masks of the fields, and the moving days of two of them."""
        six = texts if len(texts) == 6 else ["0", *texts]
        second, minute, hour, day, month, weekday = map(self._field, _EXTENDED_FIELDS, six)
        weekday = weekday & WEEKDAY.full | weekday >> 7
        days, weekdays = self._moving[DAY.name], self._moving[WEEKDAY.name]
        moving = None if days == weekdays == NO_MOVING_DAYS else (days, weekdays)
        return Columns(second, minute, hour, day, month, weekday, _stars(six), moving)

    def _field(self, field: Field, text: str) -> int:
        if text == "?" and field.name in self._moving:
            return field.full
        mask = 0
        for item in text.upper().split(","):
            mask |= self._item(field, item)
        return mask

    def _item(self, field: Field, item: str) -> int:
        if item[:1] == "H" and item[1:2] in {"", "/"}:
            return self._hashed(field, item)
        if field.name == DAY.name and self._takes_moving_day(item):
            return 0
        if field.name == WEEKDAY.name and self._takes_moving_weekday(field, item):
            return 0
        return _item(self._expression, field, self._with_range(field, item))

    def _with_range(self, field: Field, item: str) -> str:
        """Read `n/s` as `n-max/s`."""
        body, slash, step = item.partition("/")
        last = WEEKDAY.high if field.name == WEEKDAY.name else field.high
        is_lone = slash and body != "*" and "-" not in body
        return f"{body}-{last}/{step}" if is_lone else item

    def _hashed(self, field: Field, item: str) -> int:
        """`H` is one slot of the field, `H/s` every `s`-th from a slot below `s`."""
        field = {DAY.name: _HASHED_DAYS, WEEKDAY.name: WEEKDAY}.get(field.name, field)
        width = field.high - field.low + 1
        if item == "H":
            return 1 << field.low + self._slot(field, width)
        step = _step(self._expression, field, item, item[2:])
        return span(field.low + self._slot(field, min(step, width)), field.high, step)

    def _slot(self, field: Field, width: int) -> int:
        # Python's own hash() differs from process to process; instances have to agree.
        digest = hashlib.blake2b(f"{field.name}\0{self._spread}".encode("utf-8", "surrogatepass"), digest_size=8)
        return int.from_bytes(digest.digest(), "big") % width

    def _takes_moving_day(self, item: str) -> bool:
        """`L`, `LW` and `nW`."""
        if item == "L":
            return self._note(DAY, MovingDays(last=True))
        if item == "LW":
            return self._note(DAY, MovingDays(last_workday=True))
        if item[-1:] == "W" and item[:-1].isdigit():
            return self._note(DAY, MovingDays(near_workday=1 << _value(self._expression, DAY, item[:-1], item)))
        return False

    def _takes_moving_weekday(self, field: Field, item: str) -> bool:
        """`n#k` and `nL`."""
        word, hash_sign, count = item.partition("#")
        if hash_sign:
            nth = self._weekday(field, word, item), self._week(item, count)
            return self._note(WEEKDAY, MovingDays(nth_weekdays=(nth,)))
        if item[-1:] == "L" and len(item) > 1:
            return self._note(WEEKDAY, MovingDays(last_weekdays=self._weekday(field, item[:-1], item)))
        return False

    def _weekday(self, field: Field, word: str, item: str) -> int:
        return 1 << _value(self._expression, field, word, item) % 7

    def _week(self, item: str, count: str) -> int:
        """Return the mask of the days that can be a month's `count`-th of some weekday."""
        if count not in {"1", "2", "3", "4", "5"}:
            problem = f"{item!r}: a month has the 1st to the 5th of a weekday"
            raise InvalidCronExprError(self._expression, WEEKDAY.name, problem)
        return span(7 * int(count) - 6, min(7 * int(count), 31))

    def _note(self, field: Field, days: MovingDays) -> bool:
        self._moving[field.name] |= days
        return True


def _stars(six: list[str]) -> tuple[bool, bool, bool, bool]:
    # `?` says as little as a star, and `H/s` is a star with a step and a hashed start.
    minute, hour, day, weekday = (six[n][0] in "*?" or six[n][:2].upper() == "H/" for n in (1, 2, 3, 5))
    return minute, hour, day, weekday
