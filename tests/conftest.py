"""What every test can ask for: `sim`, and the means to test a pytest plugin."""

pytest_plugins = ["chrono_async.testing.pytest_plugin", "pytester"]
