"""``hyperagent config show``: every setting, and where it comes from."""

from __future__ import annotations

from hyperagent.cli import output
from hyperagent.cli.options import AsJson, ConfigFile


def show(config: ConfigFile = None, json: AsJson = False) -> int:
    """Show every setting, its value and where that comes from. Keys are never shown."""
    from hyperagent.cli import settings

    resolved = settings.resolve(file=config)
    rows = {
        # A SecretStr shows itself as stars.
        key: (getattr(resolved.values, key), resolved.origins[key])
        for key in settings.Settings.model_fields
    }
    if json:
        output.json_result(
            {k: {"value": value, "from": place} for k, (value, place) in rows.items()}
        )
        return output.OK
    lines = [
        (key, "-" if value is None else str(value), place) for key, (value, place) in rows.items()
    ]
    for line in output.columns([("key", "value", "from"), *lines]):
        output.result(line)
    output.remark(
        f"\nFiles read: {', '.join(resolved.files) or 'none'}. "
        f"Looked for: {settings.FILE_NAME} here, {settings.user_file()}."
    )
    return output.OK
