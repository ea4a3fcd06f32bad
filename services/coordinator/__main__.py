"""`python -m services.coordinator`."""

from services.coordinator.app import start
from services.shared.serving.process import service_command

if __name__ == "__main__":
    service_command("coordinator", start)()
