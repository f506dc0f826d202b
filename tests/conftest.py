"""What every test takes for granted."""

import signal

# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and every program that they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
