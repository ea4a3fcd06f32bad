"""Programs that measure; each prints one JSON line last. They use gRPC as the services do, which share the machine."""

import services as services  # sets gRPC up before anything here starts it
