"""
The command line for who has no scripts on the path: `python -m chrono_async.cli`.
"""

from . import main

main()
