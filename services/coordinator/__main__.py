"""`python -m services.coordinator`."""

from services.coordinator.app import start
from services.shared.serving.process import service_command

main = service_command("coordinator", start)

if __name__ == "__main__":
    main()
