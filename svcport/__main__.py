"""`svcport` and `python -m svcport`: the same command."""

import gc
import sys


def main() -> None:
    """Run the command line of this process."""
    sys.excepthook = _tell_unless_stopped
    # loaded only now, so that Ctrl-C finds the hook whenever it comes
    import signal

    # until there is somebody to say something about it, Ctrl-C just ends the process
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is loaded for a command, 130,000 objects, all stays. By default it would be searched for
    # garbage 160 times meanwhile, which takes a tenth of the time.
    gc.set_threshold(200_000)
    from svcport.cli.main import main as run

    run()


def _tell_unless_stopped(
    kind: type[BaseException], error: BaseException, _trace: object = None
) -> None:
    """What nobody has caught; Python itself ends by the signal after KeyboardInterrupt (130)."""
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, error.__traceback__)


if __name__ == "__main__":
    main()
