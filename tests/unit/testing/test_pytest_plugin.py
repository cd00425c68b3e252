"""The fixture `sim`, in other people's test suites."""

import subprocess
import sys

import pytest

PLUGIN = 'pytest_plugins = ["chrono_async.testing.pytest_plugin"]'


@pytest.fixture
def mode():
    """The mode of pytest-asyncio."""
    return "auto"


@pytest.fixture
def suite(mode, pytester):
    """A test suite of somebody else, in which warnings are errors."""
    pytester.makeini(f"""
        [pytest]
        asyncio_mode = {mode}
        asyncio_default_fixture_loop_scope = function
        filterwarnings = error
    """)
    pytester.makeconftest(PLUGIN)
    return pytester


either_mode = pytest.mark.parametrize("mode", ["auto", "strict"])


@either_mode
def test_a_test_runs_on_the_loop_of_its_simulation(suite):
    suite.makepyfile("""
        import asyncio

        async def test_an_hour(sim):
            await asyncio.sleep(3600)
            assert asyncio.get_running_loop() is sim.loop
            assert sim.loop.time() == 3600
    """)
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_test_that_fails_is_seen_to_fail(suite):
    suite.makepyfile("""
        import asyncio

        async def test_wrong(sim):
            await asyncio.sleep(3600)
            assert sim.loop.time() == 1
    """)
    suite.runpytest_inprocess().assert_outcomes(failed=1)


@either_mode
def test_its_async_fixtures_run_on_the_same_loop(suite):
    """Set up in order, torn down in reverse, contexts shared, before the simulation ends."""
    suite.makepyfile("""
        import asyncio
        from contextvars import ContextVar

        import pytest
        import pytest_asyncio

        colour = ContextVar("colour")

        @pytest.fixture
        async def loop():
            colour.set("red")
            return asyncio.get_running_loop()

        @pytest_asyncio.fixture
        async def warmed_up(sim, loop):
            await sim.advance(10)
            yield sim.loop.time()
            await sim.advance(10)
            assert sim.loop.time() == 25

        class TestInAClass:
            @pytest.fixture(params=["a", "b"])
            async def me(self, request, warmed_up):
                yield self, request.param
                await asyncio.sleep(1)
                assert asyncio.get_running_loop().time() == 15

            async def test_me(self, me, sim, loop, warmed_up):
                assert me[0] is self and me[1] in "ab"
                assert loop is sim.loop
                assert warmed_up == 10
                assert colour.get() == "red"
                await asyncio.sleep(4)
    """)
    suite.runpytest_inprocess().assert_outcomes(passed=2)


def test_an_async_fixture_that_fails_on_its_way_out_is_seen(suite):
    suite.makepyfile("""
        import pytest

        @pytest.fixture
        async def fragile():
            yield
            raise LookupError

        @pytest.fixture
        async def twice():
            yield
            yield

        async def test_it(sim, fragile): ...
        async def test_that(sim, twice): ...
    """)
    suite.runpytest_inprocess().assert_outcomes(passed=2, errors=2)


@either_mode
def test_it_takes_no_part_in_other_tests(suite):
    suite.makepyfile("""
        import asyncio
        import pytest
        import pytest_asyncio
        from chrono_async.testing import VirtualTimeLoop

        @pytest_asyncio.fixture
        async def loop():
            return asyncio.get_running_loop()

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def shared_loop():
            return asyncio.get_running_loop()

        @pytest.mark.asyncio
        async def test_real_time(loop):
            assert asyncio.get_running_loop() is loop
            assert not isinstance(loop, VirtualTimeLoop)

        def test_without_a_loop(): ...

        def test_sync_with_a_simulation(sim):
            sim.run(sim.advance(5))
            assert sim.loop.time() == 5

        @pytest.mark.asyncio
        async def test_marked_twice(sim, loop, shared_loop):
            assert asyncio.get_running_loop() is loop is sim.loop
            assert not isinstance(shared_loop, VirtualTimeLoop)
    """)
    suite.runpytest_inprocess().assert_outcomes(passed=4)


def test_seeds_are_shown_in_the_id_of_the_test(suite):
    suite.makepyfile("""
        import pytest

        @pytest.mark.sim(seeds=range(3))
        @pytest.mark.parametrize("other", "xy")
        async def test_seeded(sim, other):
            assert sim.seed != 2

        @pytest.fixture
        def through_a_fixture(sim):
            return sim.seed

        @pytest.mark.sim([7])
        async def test_indirect(through_a_fixture):
            assert through_a_fixture == 7
    """)
    result = suite.runpytest_inprocess("-v")
    result.assert_outcomes(passed=5, failed=2)
    result.stdout.fnmatch_lines(["*FAILED*test_seeded*seed2*"])
    suite.runpytest_inprocess("-k", "seed1 or seed7").assert_outcomes(passed=3, deselected=4)


def test_a_test_that_brings_its_own_runner_is_left_alone(suite):
    """A decorator that makes a plain function of an async one knows what it does."""
    suite.makepyfile("""
        import asyncio
        import functools

        def with_asyncio_run(test):
            @functools.wraps(test)
            def wrapper(*args, **kwargs):
                asyncio.run(test(*args, **kwargs))
            return wrapper

        @with_asyncio_run
        async def test_it(sim):
            assert asyncio.get_running_loop() is not sim.loop
    """)
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_marker_without_seeds_is_an_error(suite):
    suite.makepyfile("""
        import pytest

        @pytest.mark.sim(seed=3)
        async def test_misspelt(sim): ...
    """)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unexpected keyword argument 'seed'*"])


def test_what_a_test_leaves_running_is_cancelled(suite):
    suite.makepyfile("""
        import asyncio

        log = []

        async def forever():
            try:
                await asyncio.Event().wait()
            finally:
                log.append("cancelled")

        async def test_leaves_a_task(sim):
            sim.loop.left = asyncio.create_task(forever())
            await sim.settle()
            assert log == []

        def test_it_is_gone():
            assert log == ["cancelled"]
    """)
    suite.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_deadlock_is_a_failed_test_and_the_next_one_runs(suite):
    suite.makepyfile("""
        import asyncio

        async def test_hangs(sim):
            await asyncio.Event().wait()

        async def test_next(sim):
            await asyncio.sleep(1)
    """)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_hangs (*.py:4)*"])


def test_no_other_plugin_is_needed(pytester):
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile("""
        import asyncio
        import pytest

        @pytest.fixture
        async def loop(sim):
            yield asyncio.get_running_loop()
            await sim.advance(1)

        async def test_alone(sim, loop):
            assert asyncio.get_running_loop() is loop
    """)
    pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:anyio").assert_outcomes(passed=1)


@pytest.mark.parametrize("module", ["chrono_async", "chrono_async.testing"])
def test_importing_the_library_does_not_import_pytest(module):
    code = f"import sys, {module}; sys.exit('pytest' in sys.modules or '_pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
