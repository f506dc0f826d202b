"""What every test takes for granted."""

import signal

from hypothesis import settings

# The examples are the same in each run, so that what passed here passes elsewhere. `make soak` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("wide", print_blob=True)
settings.load_profile("same")

# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and every program that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
