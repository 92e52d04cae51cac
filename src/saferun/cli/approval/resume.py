"""`saferun approval resume`: make the call that waited, from the command line."""

import importlib
import sys
from typing import Annotated, Any

import typer

from saferun.cli.approval.look import whole
from saferun.cli.options import CannotError, JsonOption, settings
from saferun.cli.screen import ALLOWED, document, screen, shown, told
from saferun.config import sqlite_path


def resume(
    request: Annotated[str, typer.Argument(metavar="ID", help="A request's id, or its beginning.")],
    tool: Annotated[
        str, typer.Argument(metavar="MODULE:TOOL", help="The guarded tool, as Python finds it.")
    ],
    as_json: JsonOption = False,
) -> int:
    """Make the call that waited for people, once they have said yes.

    Imports the module from the working folder, so its code runs. Exits 0 where the call has run,
    now or before, 1 where it may not run, and 2 where nobody has answered yet.
    """
    import saferun
    from saferun.guard import AwaitedError

    found = _found(tool)
    path = sqlite_path(settings(None).store)
    request = whole(path, request) if path.exists() else request
    try:
        try:
            result = saferun.resume(request, found)
        except AwaitedError:
            import asyncio

            result = asyncio.run(saferun.aresume(request, found))
    except saferun.ApprovalPending as waits:
        return _said(None, str(waits), 2, as_json=as_json)
    except saferun.Denied as denied:
        return _said(None, denied.for_model, 1, as_json=as_json)
    except TypeError as problem:
        raise CannotError(f"{problem}") from None
    return _said(result, None, 0, as_json=as_json)


def _said(result: Any, why: str | None, code: int, *, as_json: bool) -> int:
    from saferun.plain import encode_result

    if as_json:
        import json

        value = None if code else json.loads(encode_result(result))
        document({"ran": code == 0, "result": value, "why": why})
    elif why is not None:
        told(why)
    else:
        import json

        said = shown(json.loads(encode_result(result)), 2_000)
        screen().print(f"{ALLOWED.icon} {said}", soft_wrap=True)
    return code


def _found(named: str) -> Any:
    module, _, path = named.partition(":")
    if not module or not path:
        raise CannotError(
            f"Name the tool as MODULE:TOOL, such as shop.tools:refund; not {named!r}."
        )
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for step in path.split("."):
            found = getattr(found, step)
    except (ImportError, AttributeError) as problem:
        raise CannotError(f"{named} cannot be imported: {problem}.") from None
    return found
