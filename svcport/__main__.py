"""`svcport` and `python -m svcport`: the same command."""

import signal


def main() -> None:
    """Run the command line of this process."""
    # until there is somebody to say something about it, Ctrl-C just ends the process
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from svcport.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
