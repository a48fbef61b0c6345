"""`python -m svcport`: the same command as `svcport`."""

from svcport.cli.main import main

if __name__ == "__main__":
    main()
