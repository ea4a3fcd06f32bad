"""`python -m services.console`."""

from services.console.app import start
from services.shared.serving.process import service_command

main = service_command("console", start)

if __name__ == "__main__":
    main()
