"""Templates are indented for those who read them; browsers are not sent the indentation."""

from __future__ import annotations

import re

from django.template import Origin
from django.template.loaders import filesystem

_INDENTATION = re.compile(r"\n[ \t]+")


class Loader(filesystem.Loader):
    """Reads the templates of the project without the blanks that begin their lines.

    What a template nests deeply would else be a fifth to a half of a list's page. Line breaks stay,
    so that words stay apart and errors name the right line.
    """

    def get_contents(self, origin: Origin) -> str:
        """The text of a template.

        Args:
            origin: where it is.

        Raises:
            TemplateDoesNotExist: it is not there.
        """
        return _INDENTATION.sub("\n", super().get_contents(origin))
