"""`python -m services.datatrax`."""

from services.datatrax.app import start
from services.shared.serving.process import service_command

main = service_command("datatrax", start)

if __name__ == "__main__":
    main()
