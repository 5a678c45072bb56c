"""Template loader that strips indentation from templates."""

from __future__ import annotations

import re

from django.template import Origin
from django.template.loaders import filesystem

_INDENTATION = re.compile(r"\n[ \t]+")


class Loader(filesystem.Loader):
    """Load the project's templates without leading whitespace.

    Indentation makes up a fifth to a half of a list page. Line breaks are kept, so that words stay
    separate and errors report the correct line.
    """

    def get_contents(self, origin: Origin) -> str:
        """Return the source of a template without indentation.

        Args:
            origin: location of the template.

        Raises:
            TemplateDoesNotExist: the template does not exist.
        """
        return _INDENTATION.sub("\n", super().get_contents(origin))
