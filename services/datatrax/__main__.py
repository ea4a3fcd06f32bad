"""`python -m services.datatrax`."""

from services.datatrax.app import start
from services.shared.serving.process import service_command

main = service_command(
    "datatrax",
    start,
    {
        "cbldatatrax": "CBLDATATRAX, by whose [FastTree] the service goes.",
        "environment": "Whose cluster of that file it is, such as live.",
        "root": "A folder that stands for / in the paths of that file.",
    },
)

if __name__ == "__main__":
    main()
