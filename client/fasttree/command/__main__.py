"""`python -m fasttree.command`."""

from fasttree.command.main import main

if __name__ == "__main__":
    main()
