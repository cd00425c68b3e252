"""
Pytest's door to virtual time: the fixture `sim`.

A test that asks for `sim` runs on a virtual loop, and so do its function-scoped async fixtures; every other test is
left to whoever runs it today. No other plugin is needed; pytest-asyncio is welcome in both of its modes (1.1 or newer,
where async fixtures are to use `sim`). Loaded by
`pytest_plugins = ["chrono_async.testing.pytest_plugin"]` in a conftest.

    @pytest.mark.sim(seeds=range(20))
    async def test_nobody_is_forgotten(sim): ...

runs twenty times, each time with the callbacks in another order; the seed is in the test's id.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any

import pytest

from .simulation import Simulation

_FIXTURE = "sim"
_ASYNC_TEST = pytest.StashKey[Callable[..., Coroutine[Any, Any, object]]]()


@pytest.fixture(name=_FIXTURE)
def _sim(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """Virtual time: `sim.clock`, `sim.loop`, `sim.now`, `await sim.advance(...)`, `.until(...)`, `.settle()`."""
    with Simulation(seed=getattr(request, "param", None)) as simulation:
        yield simulation


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "sim(seeds): run the test in virtual time once for each seed of the shuffle")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each seed."""
    marker = metafunc.definition.get_closest_marker(_FIXTURE)
    if marker is not None and _FIXTURE in metafunc.fixturenames:
        seeds = _seeds(*marker.args, **marker.kwargs)
        metafunc.parametrize(_FIXTURE, seeds, indirect=True, ids=[f"seed{seed}" for seed in seeds])


def _seeds(seeds: Iterable[int]) -> list[int]:
    return list(seeds)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Note which function the test is, before another plugin makes a plain function of it."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.stash[_ASYNC_TEST] = item.obj


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that has a simulation on its loop."""
    simulation = pyfuncitem.funcargs.get(_FIXTURE)
    test = pyfuncitem.stash.get(_ASYNC_TEST, None)
    if not isinstance(simulation, Simulation) or test is None:
        return None
    wanted = inspect.signature(test).parameters
    simulation.run(test(**{name: value for name, value in pyfuncitem.funcargs.items() if name in wanted}))
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Run the async fixtures of a test that has a simulation on the same loop as the test."""
    if not _belongs_to_a_simulation(fixturedef, request):
        return (yield)
    simulation = request.getfixturevalue(_FIXTURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixturedef, "func", _synchronous(_bound(fixturedef.func, request), simulation, request))
        return (yield)


def _belongs_to_a_simulation(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    return (
        fixturedef.scope == "function"
        and (inspect.iscoroutinefunction(fixturedef.func) or inspect.isasyncgenfunction(fixturedef.func))
        and _FIXTURE in request.fixturenames
    )


def _bound(function: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a test class's own fixture bound to the instance that the test runs on."""
    owner = getattr(function, "__self__", None)
    if owner is None or not isinstance(request.instance, type(owner)):
        return function
    bound: Callable[..., Any] = function.__func__.__get__(request.instance)  # type: ignore[attr-defined] # it is a method
    return bound


def _synchronous(
    function: Callable[..., Any], simulation: Simulation, request: pytest.FixtureRequest
) -> Callable[..., object]:
    # None of the fixture's own attributes goes with it: pytest-asyncio would run it on a loop of its own.
    def fixture(**arguments: object) -> object:
        if inspect.iscoroutinefunction(function):
            return simulation.run(function(**arguments))
        generator = function(**arguments)
        request.addfinalizer(lambda: simulation.run(_finish(generator)))
        return simulation.run(anext(generator))

    return fixture


async def _finish(generator: AsyncGenerator[object, None]) -> None:
    async for _ in generator:
        raise ValueError("an async fixture must yield only once")
