"""What more than one service needs: settings, serving, errors, the host file, log records, file chunks."""
