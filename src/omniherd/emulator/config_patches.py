"""Judges machine configuration patches as the server does: by the rules of templates, which are the same."""

from __future__ import annotations

__all__ = ["judge_config_patch"]


def judge_config_patch(text: str) -> list[str]:
    """Return what is wrong with a patch, one text for each fault; nothing when it is fine.

    Args:
        text: YAML documents.
    """
    from omniherd.template import check_config_patch

    wrong = check_config_patch(text)
    if wrong is None:
        return []
    return [str(one) for one in wrong.inner] or [str(wrong)]
