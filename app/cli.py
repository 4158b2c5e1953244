"""`roundtrip serve | demo | migrate | doctor`: thin; what a command needs is imported when it runs."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app import log
from app.settings import Settings, SettingsError, load

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Port = Annotated[int | None, typer.Option(help="HTTP and WebSocket port (default 8000)")]
Host = Annotated[str | None, typer.Option(help="address to listen on (default 127.0.0.1)")]
DataDir = Annotated[Path | None, typer.Option(help="embedded database and attachments (default ./data)")]
SmtpPort = Annotated[int | None, typer.Option(help="mail receiver, 0 = off")]
Workers = Annotated[int | None, typer.Option(help="server processes")]


def _settings(**flags: Any) -> Settings:
    settings = load(**flags)
    log.configure(settings.log_level, settings.log_format)
    return settings


@cli.command()
def serve(
    port: Port = None, host: Host = None, data_dir: DataDir = None, smtp_port: SmtpPort = None, workers: Workers = None
) -> None:
    """Serve; without DATABASE_URL on an embedded Postgres in the data directory."""
    from app import server

    settings = _settings(port=port, host=host, data_dir=data_dir, smtp_port=smtp_port, workers=workers)
    raise typer.Exit(server.serve(settings))


@cli.command(hidden=True)
def worker(listen_fd: int = typer.Option(), smtp_fd: int | None = typer.Option(None)) -> None:
    """One server process on sockets that the launcher bound."""
    from app import server

    mail = socket.socket(fileno=smtp_fd) if smtp_fd is not None else None
    raise typer.Exit(server.run_worker(_settings(), socket.socket(fileno=listen_fd), mail))


@cli.command()
def demo(
    port: Port = None,
    data_dir: DataDir = None,
    smtp_port: SmtpPort = None,
    seconds: Annotated[float | None, typer.Option("--for", help="stop after this many seconds")] = None,
) -> None:
    """Serve with sample channels, simulated customers and agents; prints a live transcript."""
    from app.demo import run

    raise typer.Exit(run(port=port, data_dir=data_dir, smtp_port=smtp_port, seconds=seconds))


@cli.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to this version without serving."""
    from app import doctor

    raise typer.Exit(doctor.migrate(_settings(data_dir=data_dir)))


@cli.command()
def doctor(data_dir: DataDir = None) -> None:
    """Check settings, database, migrations, key and channels; says what is wrong and what to do."""
    from app import doctor as checks

    raise typer.Exit(checks.run(_settings(data_dir=data_dir)))


def main() -> None:
    try:
        cli(prog_name="roundtrip")
    except SettingsError as error:
        sys.exit(f"roundtrip: {error}")
    except Exception as error:
        if type(error).__name__ == "EmbeddedError":
            sys.exit(f"roundtrip: {error}")
        raise


if __name__ == "__main__":
    main()
