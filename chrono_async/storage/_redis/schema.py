"""
The versions of what lies under a namespace, and the script that brings it from one to the next.

The first write notes in `meta` the version that it was made for. That of a store which has notes but no version is 1.
"""

from ...errors import StorageCorruptError, StorageError

STEPS = ["-- The keys and rows that `shared.lua` describes: there is nothing to be done."]
"""
Version n is what the first n of them make of an empty store: Lua, behind what `shared.lua` says. One that was released
is never changed: another follows. A script that fails is not undone, so a step must bear being begun again.
"""

_BEGINNING = """
local noted = redis.call('HGET', meta, 'schema')
local version = noted or (redis.call('HLEN', meta) > 0 and '1')
if not version then
    return false
end
if string.find(version, '^%d+$') and tonumber(version) > 0 then
    local found = tonumber(version)
"""
_STEP = """
    if found < {number} then
        {step}
        redis.call('HSET', meta, 'schema', '{number}')
    end
"""
_END = """
end
return version
"""


def migration() -> str:
    """Return a script, to be put behind `shared.lua`, that returns the version that it has found, if any."""
    later = (_STEP.format(number=number, step=step) for number, step in enumerate(STEPS[1:], start=2))
    return _BEGINNING + "".join(later) + _END


def check_version(found: bytes | None, prefix: str) -> None:
    """Refuse what an older library than the one that wrote it would break, and what none can have written."""
    if found is None:
        return
    text = found.decode(errors="backslashreplace")
    if not text.isdecimal() or int(text) < 1:
        raise StorageCorruptError(
            f"redis: the keys {prefix}* say that their version is {text!r}, which no version of this library says"
        )
    if int(text) > len(STEPS):
        raise StorageError(
            f"redis: the keys {prefix}* were made by a newer version of this library (format {text}): upgrade it"
        )
