"""`python -m app.channels.kit package.module:DESCRIPTION`: every check of one adapter, a line each."""

import asyncio
import sys
from importlib import import_module

from app.channels.kit import CHECKS, Description, Skipped, run


async def _all(description: Description) -> int:
    failed = 0
    for name in CHECKS:
        try:
            await run(name, description)
        except Skipped as reason:
            print(f"--    {name}: {reason}")
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {error if isinstance(error, AssertionError) else repr(error)}")
        else:
            print(f"ok    {name}")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Exit code 0 when everything holds, 1 when not, 2 when there is no such description."""
    module, colon, attribute = (arguments or [""])[0].partition(":")
    if not colon:
        print(__doc__)
        return 2
    found = getattr(import_module(module), attribute, None)
    if not isinstance(found, Description):
        print(f"{module} has no Description named {attribute!r}")
        return 2
    return asyncio.run(_all(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
