"""The small JSON files of a checkpoint folder; the engine reads them too."""

from engine import is_present, read_json_object, read_optional_json_object

__all__ = ["is_present", "read_json_object", "read_optional_json_object"]
