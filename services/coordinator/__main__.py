"""`python -m services.coordinator`."""

from services.coordinator.app import start
from services.shared.startup import service_command

if __name__ == "__main__":
    service_command("coordinator", start)()
