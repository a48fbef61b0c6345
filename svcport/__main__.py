"""`svcport` and `python -m svcport`: the same command."""

import gc
import signal


def main() -> None:
    """Run the command line of this process."""
    # until there is somebody to say something about it, Ctrl-C just ends the process
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is loaded for a command, 130,000 objects, all stays. By default it would be searched for
    # garbage 160 times meanwhile, which takes a tenth of the time.
    gc.set_threshold(200_000)
    from svcport.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
